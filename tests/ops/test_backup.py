"""Backup and restore: nothing acknowledged before is missing, nothing open is forgotten, nothing erased comes back."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from clients.sdk.client import Client
from clients.sdk.connection import Timing
from ops.backup import back_up, restore
from server.actions.accounts import SignedIn, sign_in
from server.actions.auditing import keep_heads, sign_head_now
from server.actions.escalation import climb
from server.actions.feeds import follow
from server.actions.reports import ask_for_help
from server.actions.services import Services
from server.actions.sessions import authenticate
from server.clock import real_us
from server.errors import NotSignedIn, ServiceError
from server.ids import new_id
from server.protocol.frames import Ack, Help, MessageItem, PageItem, Position, Shown
from server.settings import Settings, make_key
from server.store import cases, leases
from server.store.audit import verify
from server.store.engine import only_writer
from server.store.erasures import Erasure, append_erasures, make_ledger, read_erasures
from server.store.heads import read_published
from server.store.schema import account, audit, audit_head, data_key
from server.store.unit import Tx
from tests import harness
from tests.path.scene import CLEAN, URGENT, Scene, belong, make_scene, on_shift
from tests.serve.support import evenkeel, served
from tests.servers import PostgresServer

pytestmark = pytest.mark.timeout(120)
QUICK = Timing(uniform=lambda low, high: 0.05)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The key of the harness's services, as a file, with an empty ledger of erasures beside it."""
    path = tmp_path / "e.key"
    path.touch(mode=0o600)
    path.write_bytes(harness.WRAPPING_KEY)
    make_ledger(path.with_suffix(".erasures"))
    return path


@pytest.fixture
def elsewhere(database_url: str, tmp_path: Path, postgres_server: PostgresServer) -> Iterator[str]:
    """Where to restore: a database that is not there yet or has nothing in it, of the other kind than the service's."""
    if database_url.startswith("postgres"):
        yield f"sqlite:///{tmp_path / 'new' / 'restored.db'}"
        return
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


def settings_for(url: str, key_file: Path) -> Settings:
    return Settings.model_validate({"database_url": url, "key_file": key_file, "kind": "test"})


async def take(services: Services, key_file: Path, place: Path) -> None:
    await asyncio.to_thread(back_up, settings_for(services.settings.database_url, key_file), place)


async def is_refused(url: str, key_file: Path, place: Path) -> str:
    """The code with which a restore is refused."""
    with pytest.raises(ServiceError) as refusal:
        await asyncio.to_thread(restore, settings_for(url, key_file), place)
    return refusal.value.error_code


async def bodies(services: Services, who: SignedIn, feed: str) -> list[str]:
    """What somebody is shown of a room."""
    joined = (await follow(services, who.requester, feed, None)).joined
    items = [placed.item for placed in joined.items]
    return [item.view.body for item in items if isinstance(item, MessageItem) and isinstance(item.view, Shown)]


async def back_in(services: Services, name: str) -> SignedIn:
    return await sign_in(services, harness.origin(), name, harness.PASSWORD)


async def test_what_was_acknowledged_before_a_backup_under_load_is_served_after_it(
    edge: harness.Edge, tmp_path: Path, key_file: Path, elsewhere: str
) -> None:
    """While people send, a backup is made; elsewhere it is served with everything acknowledged before it began.

    Sends go on being acknowledged meanwhile, old sessions are over, and an old position is answered anew.
    """
    scene = await make_scene(edge.services)
    person = await harness.registered(edge.services, "Fern")
    await belong(edge.services, scene.feed, person.requester)
    backup = tmp_path / "one.backup"
    acks: list[Ack] = []
    under_way = asyncio.Event()
    async with Client(edge.url, token=person.token, timing=QUICK) as client:
        feed = await client.join(scene.feed)

        async def talk() -> None:
            while True:
                acks.append(await feed.send(f"{CLEAN}, {len(acks)}"))
                if len(acks) == 5:
                    under_way.set()

        talking = asyncio.create_task(talk())
        await under_way.wait()
        before = len(acks)
        await take(edge.services, key_file, backup)
        during = len(acks) - before
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        assert feed.view.epoch is not None
        held = Position(feed.view.epoch, feed.view.last)
    assert during > 0

    done = await asyncio.to_thread(restore, settings_for(elsewhere, key_file), backup)
    assert done.reconciled.sessions == 4
    assert done.reconciled.audit.breaks == ()
    async with harness.serving(elsewhere) as again:
        with pytest.raises(NotSignedIn):
            await authenticate(again.services, person.token)
        fern = await back_in(again.services, "Fern")
        assert (await bodies(again.services, fern, scene.feed))[:before] == [f"{CLEAN}, {n}" for n in range(before)]
        resumed = (await follow(again.services, fern.requester, scene.feed, held)).joined
        assert (resumed.recovered, resumed.reason) == (False, "epoch")
        assert resumed.epoch > held.epoch
        async with Client(again.url, token=fern.token, timing=QUICK) as client:
            ack = await (await client.join(scene.feed)).send(CLEAN)
        assert (ack.epoch, ack.seq) == (resumed.epoch, resumed.seq + 1)
        public = again.services.store.audit_key.public
        assert (await again.services.store.read(lambda conn: verify(conn, public))).breaks == ()


async def close(scene: Scene, case: str) -> None:
    await scene.act(scene.sam, case, "claim")
    await scene.act(scene.sam, case, "close", outcome="no_concern", body="Looked at, nothing more to do")


async def test_an_open_case_calls_people_again_and_a_closed_one_stays_closed(
    services: Services, tmp_path: Path, key_file: Path, elsewhere: str
) -> None:
    """After a restore every open duty is nobody's, unverified and due at once, also one that somebody had taken."""
    scene = await make_scene(services)
    await on_shift(services, scene.sam)
    await ask_for_help(services, scene.wren, Help(client_id=new_id()), new_id())
    (over,) = await scene.queue()
    await close(scene, over.id)
    await scene.say(scene.robin, URGENT)
    await climb(services)
    (taken,) = await scene.queue()
    await scene.act(scene.sam, taken.id, "claim")
    await take(services, key_file, tmp_path / "one.backup")

    done = await asyncio.to_thread(restore, settings_for(elsewhere, key_file), tmp_path / "one.backup")
    assert done.reconciled.raised == (taken.id,)
    assert done.reconciled.closed_before == (over.id,)
    async with harness.open_services(elsewhere) as again:
        sam = (await back_in(again, "Sam")).requester
        duty = await again.store.read(lambda conn: cases.obligation_of(conn, taken.id))
        assert duty is not None
        assert (duty.state, duty.next_rung, duty.acknowledged_by) == ("running", 0, None)
        assert duty.due_at <= again.clock.now()
        history = await again.store.read(lambda conn: cases.history(conn, taken.id))
        assert history[-1].act == "unverified"
        await climb(again)
        inbox = (await follow(again, sam, "inbox", None)).joined.items
        rings = [placed.item.case for placed in inbox if isinstance(placed.item, PageItem)]
        assert rings == [taken.id]
        stays = await again.store.read(lambda conn: cases.case_by_id(conn, over.id))
        assert stays is not None
        assert stays.state == "closed"
        assert len(await harness.audited(again, "restore")) == 1


async def test_what_was_erased_after_the_backup_is_erased_again(
    services: Services, tmp_path: Path, key_file: Path, elsewhere: str
) -> None:
    """A restore destroys every key that the ledger names, and does nothing without a ledger as new as the backup."""
    scene = await make_scene(services)
    ledger = key_file.with_suffix(".erasures")
    await scene.say(scene.robin, CLEAN)
    await scene.say(scene.wren, f"{CLEAN} too")
    append_erasures(ledger, [Erasure(new_id(), real_us())])
    await take(services, key_file, tmp_path / "one.backup")
    robins = select(data_key.c.id).where(data_key.c.subject == scene.robin.account)
    key = await services.store.read(lambda conn: conn.execute(robins).scalar_one())
    append_erasures(ledger, [Erasure(key, real_us())])

    newest = ledger.read_bytes()
    ledger.write_bytes(b"")
    assert await is_refused(elsewhere, key_file, tmp_path / "one.backup") == "old_ledger"
    ledger.unlink()
    assert await is_refused(elsewhere, key_file, tmp_path / "one.backup") == "no_ledger"
    ledger.write_bytes(newest)
    done = await asyncio.to_thread(restore, settings_for(elsewhere, key_file), tmp_path / "one.backup")
    assert done.reconciled.erased == 1
    async with harness.open_services(elsewhere) as again:
        assert await bodies(again, await back_in(again, "Wren"), scene.feed) == [f"{CLEAN} too"]


async def test_a_damaged_or_foreign_file_changes_nothing(
    services: Services, tmp_path: Path, key_file: Path, elsewhere: str
) -> None:
    """A flipped bit anywhere, a cut, something behind the end, or another key: a clear refusal, and nothing is made."""
    scene = await make_scene(services)
    await scene.say(scene.robin, CLEAN)
    backup = tmp_path / "one.backup"
    await take(services, key_file, backup)
    whole = backup.read_bytes()
    assert scene.robin.account.encode() not in whole
    spoilt = tmp_path / "spoilt.backup"
    for place in (30, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        spoilt.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert await is_refused(elsewhere, key_file, spoilt) == "damaged", place
    for cut in (100, len(whole) // 2, len(whole) - 1):
        spoilt.write_bytes(whole[:cut])
        assert await is_refused(elsewhere, key_file, spoilt) == "damaged", cut
    spoilt.write_bytes(whole + b"more")
    assert await is_refused(elsewhere, key_file, spoilt) == "damaged"
    spoilt.write_bytes(b"PK\x03\x04 something else")
    assert await is_refused(elsewhere, key_file, spoilt) == "not_a_backup"
    other = tmp_path / "other.key"
    make_key(other)
    make_ledger(other.with_suffix(".erasures"))
    assert await is_refused(elsewhere, other, backup) == "wrong_key"
    assert not (tmp_path / "new").exists()


async def test_a_database_that_is_used_is_not_restored_into(services: Services, tmp_path: Path, key_file: Path) -> None:
    """Neither into rows that are there, nor under a running service, nor over a backup that exists."""
    scene = await make_scene(services)
    backup = tmp_path / "one.backup"
    await take(services, key_file, backup)
    url = services.settings.database_url
    assert await is_refused(url, key_file, backup) in ("not_empty", "database_in_use")
    with pytest.raises(ServiceError) as refusal:
        await take(services, key_file, backup)
    assert refusal.value.error_code == "file_exists"
    names = await services.store.read(lambda conn: conn.execute(select(func.count()).select_from(account)).scalar_one())
    assert names == 3
    assert (await scene.join(scene.robin)).seq == 0


async def test_an_empty_database_that_somebody_serves_is_left_alone(
    tmp_path: Path, key_file: Path, postgres_server: PostgresServer
) -> None:
    """A service that runs on a database without anybody in it is noticed: by its lock, or by its lease."""
    source = postgres_server.create_database(harness.postgres_template(postgres_server))
    empty = postgres_server.create_database(harness.postgres_template(postgres_server))
    backup = tmp_path / "one.backup"
    try:
        async with harness.open_services(source) as services:
            await make_scene(services)
            await take(services, key_file, backup)
        async with harness.open_services(empty) as running:
            assert await leases.take(running.store, "company", "somebody", timedelta(seconds=60))
            assert await is_refused(empty, key_file, backup) == "database_in_use"
            await leases.hand_over(running.store, "company", "somebody")
        await asyncio.to_thread(restore, settings_for(empty, key_file), backup)
    finally:
        postgres_server.drop_database(source)
        postgres_server.drop_database(empty)
    file = tmp_path / "empty.db"
    harness.copy_sqlite_template(file)
    with only_writer(file):
        assert await is_refused(f"sqlite:///{file}", key_file, backup) == "database_in_use"


def test_a_torn_ledger_is_mended_and_a_damaged_one_refused(tmp_path: Path) -> None:
    """A line that was never finished was never acted upon; any other line that can not be read stops a restore."""
    ledger = tmp_path / "e.erasures"
    append_erasures(ledger, [Erasure("K1", 1), Erasure("K2", 2)])
    with ledger.open("ab") as file:
        file.write(b'{"key":"K3","at_')
    assert [erasure.key for erasure in read_erasures(ledger)] == ["K1", "K2"]
    append_erasures(ledger, [Erasure("K4", 4)])
    assert [erasure.key for erasure in read_erasures(ledger)] == ["K1", "K2", "K4"]
    ledger.write_bytes(ledger.read_bytes().replace(b"K2", b'K"2'))
    with pytest.raises(ServiceError) as refusal:
        read_erasures(ledger)
    assert refusal.value.error_code == "damaged_ledger"
    assert "Line 2" in refusal.value.text


def test_the_commands_say_what_was_done_and_what_is_to_do(tmp_path: Path) -> None:
    """`backup` beside a running service and `restore` elsewhere answer in numbers, or in words that say what to do."""
    assert evenkeel(tmp_path, "init", "--admin", "Ada Lark", "--json").returncode == 0
    file = tmp_path / "one.backup"
    with served(tmp_path) as running:
        running.said("serving")
        made = evenkeel(tmp_path, "backup", str(file), "--json")
        assert made.returncode == 0, made.stderr
        assert running.stop() == 0
    assert json.loads(made.stdout)["rows"]["account"] == 1
    assert "account: 1 of 1 rows copied" in made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new = f"sqlite:///{tmp_path / 'new.db'}"
    done = evenkeel(tmp_path, "restore", str(file), url=new)
    assert done.returncode == 0, done.stderr
    assert "What you must do now" in done.stdout
    again = evenkeel(tmp_path, "restore", str(file), "--json", url=new)
    assert again.returncode == 2
    assert json.loads(again.stdout)["error"] == "not_empty"


async def test_heads_that_a_restore_lost_are_explained_by_it(
    services: Services, tmp_path: Path, key_file: Path, elsewhere: str
) -> None:
    """A head that was published after the backup is no break of the restored audit; a later loss still is one."""
    await make_scene(services)
    await keep_heads(services)
    backup = tmp_path / "one.backup"
    await take(services, key_file, backup)
    await sign_head_now(services, "operator:test", new_id())
    published = read_published(services.settings.heads_folder)
    await asyncio.to_thread(restore, settings_for(elsewhere, key_file), backup)
    async with harness.open_services(elsewhere) as again:
        public = again.store.audit_key.public
        found = await again.store.read(lambda conn: verify(conn, public, published))
        assert (found.breaks, found.excused) == ((), (2,))
        await sign_head_now(again, "operator:test", new_id())
        later = {**published, **read_published(again.settings.heads_folder)}

        def cut(tx: Tx) -> None:
            tx.conn.execute(delete(audit_head).where(audit_head.c.n > 1))
            tx.conn.execute(
                delete(audit).where(audit.c.act.in_(["audit_head", "audit_head_asked"]), audit.c.at > since)
            )

        since = await again.store.read(lambda conn: conn.execute(select(audit_head.c.at)).scalars().first())
        await again.store.write(cut)
        found = await again.store.read(lambda conn: verify(conn, public, later))
        assert [b.what for b in found.breaks] == ["unknown"]
