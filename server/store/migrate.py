"""Bring a database to the schema of this program: forward only, one numbered step after the other.

Old and new code must be able to run side by side on every step, so a step only adds; what is no longer used is taken
away a release later.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, insert, inspect, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from server.errors import Misconfigured
from server.ids import STAFF_FEEDS
from server.store.engine import sqlite_path, sync_url
from server.store.schema import feed, instance

PRODUCTION, DEMO, TEST = "production", "demo", "test"


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The revision that this program expects."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise Misconfigured("This installation carries no migrations; install Evenkeel again.")
    return revision


def upgrade(connection: Connection) -> None:
    """Migrate the database of `connection` to the newest revision."""
    command.upgrade(_config(connection), "head")


def check(connection: Connection) -> None:
    """Raise Misconfigured unless the database is at exactly the revision of this program."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found != newest():
        raise Misconfigured(
            f"The database is at revision {found or 'none'}, this program needs {newest()}. Run `evenkeel migrate`.",
            code="migration_needed",
        )


def _prepare(connection: Connection, kind: str) -> None:
    found = _kind(connection)
    if found is not None and found != kind:
        raise Misconfigured(f"This is a {found} database; it can not become a {kind} one.", code="wrong_kind")
    upgrade(connection)
    if found is None:
        connection.execute(insert(instance).values(key="kind", value=kind))
        for name in STAFF_FEEDS:
            connection.execute(insert(feed).values(id=name, epoch=1, seq=0, version=1))
    connection.commit()


def _kind(connection: Connection) -> str | None:
    """What the database says that it is for; None if it is empty. Looked at before anything is changed."""
    if not inspect(connection).has_table(instance.name):
        return None
    found: str | None = connection.execute(
        select(instance.c.value).where(instance.c.key == "kind")
    ).scalar_one_or_none()
    return found


async def prepare_database(database_url: str, kind: str) -> None:
    """Create what is missing of the database, migrate it, and mark it as `kind` (production, demo or test).

    Safe to repeat. Raises Misconfigured if the database is of another kind.
    """
    url = sync_url(database_url)
    if url.get_backend_name() == "sqlite":
        sqlite_path(url).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                _prepare(connection, kind)
        finally:
            engine.dispose()
        return
    async_engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with async_engine.connect() as async_connection:
            await async_connection.run_sync(_prepare, kind)
    finally:
        await async_engine.dispose()
