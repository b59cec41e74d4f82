"""The real PostgreSQL of the tests, which the kill campaign starts too."""

from __future__ import annotations

from ops.setup.postgres import PostgresServer, run_apart, running_postgres

__all__ = ["PostgresServer", "run_apart", "running_postgres"]
