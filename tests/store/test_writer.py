"""A writer that breaks: nobody waits for an answer that can not come, and the process does not go on without one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from server.clock import Clock
from server.errors import Unavailable
from server.main import bind, serve_edges
from server.store.clock import db_now
from server.store.engine import open_database
from server.store.unit import Tx, Unit
from server.store.writer import TaskWriter, ThreadWriter
from tests import harness
from tests.servers import PostgresServer


def nothing(tx: Tx) -> None:
    del tx


async def test_a_thread_that_can_not_connect_answers_everybody(tmp_path: Path) -> None:
    """Where the writer's thread ends before it began, who waits and who comes later are both refused."""
    engine = create_engine(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    writer = ThreadWriter(engine, db_now(Clock()), bytes)
    waiting = [asyncio.create_task(writer.write(Unit(nothing, ()))) for _ in range(3)]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        await writer.ended.wait()
        with pytest.raises(Unavailable):
            await writer.write(Unit(nothing, ()))
        await writer.close()
    assert [type(answer) for answer in answers] == [Unavailable] * 3


async def test_an_error_of_the_driver_itself_does_not_end_the_task(postgres_server: PostgresServer) -> None:
    """A server that refuses the connection is an answer to each unit; the writer lives to try again."""
    url = postgres_server.url.set(database="there_is_no_such_database")
    writer = TaskWriter(create_async_engine(url), db_now(Clock()), bytes)
    async with asyncio.timeout(20):
        for _ in range(2):
            with pytest.raises(Unavailable):
                await writer.write(Unit(nothing, ()))
        assert not writer.ended.is_set()
        await writer.close()


async def test_a_connection_that_was_killed_is_made_anew(postgres_server: PostgresServer) -> None:
    """After the server ended the writer's connection, units are stored again, at the second attempt at the latest."""
    url = postgres_server.create_database()
    database = open_database(url, db_now(Clock()), bytes)
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    def own_connection(tx: Tx) -> int:
        return int(tx.conn.execute(text("SELECT pg_backend_pid()")).scalar_one())

    try:
        async with asyncio.timeout(30):
            before = await database.writer.write(Unit(own_connection, ()))
            killer = await asyncpg.connect(plain, timeout=10)
            assert await killer.fetchval("SELECT pg_terminate_backend($1)", before)
            await killer.close()
            try:
                after = await database.writer.write(Unit(own_connection, ()))
            except Unavailable:
                after = await database.writer.write(Unit(own_connection, ()))
            assert after != before
            await database.close()
    finally:
        postgres_server.drop_database(url)


async def test_a_server_that_does_not_answer_is_given_up(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement without any answer is ended by the client, every unit of its batch is refused, and the next is kept.

    The statement outlasts the client's time (the server's own limit is put off); no unit waits in vain after it.
    """
    monkeypatch.setattr("server.store.engine.STATEMENT_TIMEOUT_MS", 0)
    monkeypatch.setattr("server.store.engine.COMMAND_TIMEOUT_S", 0.5)
    url = postgres_server.create_database()
    database = open_database(url, db_now(Clock()), bytes)

    def stuck(tx: Tx) -> None:
        tx.conn.execute(text("SELECT pg_sleep(60)"))

    try:
        async with asyncio.timeout(20):
            stuck_units = [asyncio.create_task(database.writer.write(Unit(stuck, ()))) for _ in range(20)]
            answers = await asyncio.gather(*stuck_units, return_exceptions=True)
            assert [type(answer) for answer in answers] == [Unavailable] * 20
            await database.writer.write(Unit(nothing, ()))
            await database.close()
    finally:
        postgres_server.drop_database(url)


async def test_the_edges_stop_when_the_writer_has_ended(tmp_path: Path) -> None:
    """A process that can keep nothing any more ends its service, so that its supervisor starts another."""
    harness.copy_sqlite_template(tmp_path / "e.db")
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]

    def fatal(tx: Tx) -> None:
        raise SystemExit

    try:
        async with asyncio.timeout(20), harness.open_services(f"sqlite:///{tmp_path / 'e.db'}", port=port) as services:
            # What a first start keeps is kept: what follows is not about that.
            await services.lists.start()
            edges = asyncio.create_task(serve_edges(services, listener, asyncio.Event(), drain_s=0.1))
            with pytest.raises(Unavailable):
                await services.store.write(fatal)
            await edges
    finally:
        listener.close()
