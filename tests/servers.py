"""The real PostgreSQL of the tests, which the kill campaign starts too."""

from __future__ import annotations

from ops.setup.postgres import PostgresServer, run_apart, running_postgres
from ops.setup.redis import RedisServer, running_redis

__all__ = ["PostgresServer", "RedisServer", "run_apart", "running_postgres", "running_redis"]
