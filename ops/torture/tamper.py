"""`evenkeel torture audit`: the audit is changed in every way that its tables allow, and each change must be found.

Whoever tampers has the whole database and the files' texts, and not the key: they may work out every hash anew and put
any seal that they have seen, or one of a key of their own, wherever they like. What they can not change is a head that
was published and is kept elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from server.ids import new_id
from server.store.audit import AuditRow, HeadRow, check, heads_of, rows_of
from server.store.batch import audit_hash
from server.store.heads import publish, read_published, sign_head
from server.store.migrate import TEST, prepare_database
from server.store.seals import AuditKey
from server.store.store import open_store
from server.store.unit import AuditEntry

_COLUMNS: Final = AuditRow._fields
_HEAD_COLUMNS: Final = HeadRow._fields
EXAMPLES: Final = 5
WRITERS: Final = 3
ROWS: Final = 12


@dataclass(frozen=True, slots=True)
class Tampered:
    """Rows and heads after a tampering. `what` was done, for whoever has to repeat it."""

    rows: list[AuditRow]
    heads: list[HeadRow]
    what: str


@dataclass(slots=True)
class TamperCampaign:
    """What was done, and what was not found."""

    seed: int
    tamperings: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        done = sum(self.tamperings.values())
        return {
            "campaign": "audit",
            "seed": self.seed,
            "tamperings": self.tamperings,
            "detected": done - len(self.missed),
            "missed": len(self.missed),
            "examples": [{"rule": "not found", "what": what} for what in self.missed[:EXAMPLES]],
            "ok": done > 0 and not self.missed,
        }


Rows = list[AuditRow]
Change = Callable[[Rows, random.Random], tuple[Rows, str]]


def _change(rows: Rows, chance: random.Random) -> tuple[Rows, str]:
    place, name = chance.randrange(len(rows)), chance.choice(_COLUMNS)
    value = _other(getattr(rows[place], name), chance)
    rows[place] = rows[place]._replace(**{name: value})
    return sorted(rows, key=lambda r: (str(r.writer), str(r.n).zfill(20))), f"{name} of row {place}"


def _other(value: Any, chance: random.Random) -> Any:
    """Another value of the kind that was there, or one that does not belong there at all."""
    if value is None:
        return new_id()
    kinds: list[Any] = [None, chance.choice([b"", "", "x", -1])]
    if isinstance(value, bytes):
        at = chance.randrange(len(value))
        kinds.append(value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :])
    elif isinstance(value, int):
        kinds.append(value + chance.choice([-1, 1, 1_000_000]))
    else:
        kinds.append(f"{value}x")
    return chance.choice([kind for kind in kinds if kind != value])


def _delete(rows: Rows, chance: random.Random) -> tuple[Rows, str]:
    at = chance.randrange(len(rows))
    many = chance.choice([1, 1, 3])
    return rows[:at] + rows[at + many :], f"rows {at} to {at + many} gone"


def _insert(rows: Rows, chance: random.Random) -> tuple[Rows, str]:
    at = chance.randrange(len(rows))
    made = rows[at]._replace(subject=new_id(), n=rows[at].n + 1)
    moved = [r._replace(n=r.n + 1) if r.writer == made.writer and r.n > rows[at].n else r for r in rows[at + 1 :]]
    return [*rows[: at + 1], made, *moved], f"a row behind {at}"


def _new_chain(rows: Rows, chance: random.Random) -> tuple[Rows, str]:
    made = chance.choice(rows)._replace(writer=f"z{new_id()}", n=1, prev=bytes(32))
    return [*rows, made], "a row of a writer who never was"


def _swap(rows: Rows, chance: random.Random) -> tuple[Rows, str]:
    one, other = chance.sample(range(len(rows)), 2)
    place = ("writer", "n", *chance.choice([(), ("prev",), ("prev", "hash"), ("prev", "hash", "seal")]))
    first, second = rows[one], rows[other]
    rows[one] = second._replace(**{name: getattr(first, name) for name in place})
    rows[other] = first._replace(**{name: getattr(second, name) for name in place})
    return rows, f"rows {one} and {other} changed over but for {', '.join(place)}"


def _truncate(rows: Rows, chance: random.Random) -> tuple[Rows, str]:
    last = chance.choice(rows)
    kept = [row for row in rows if row.writer != last.writer or row.n < last.n]
    return kept, f"{last.writer} cut off before {last.n}"


_ROWS: Final[dict[str, Change]] = {
    "change": _change,
    "delete": _delete,
    "insert": _insert,
    "new_chain": _new_chain,
    "swap": _swap,
    "truncate": _truncate,
}


def _anew(rows: Rows, chance: random.Random) -> Rows:
    """Work out every place, link and hash again, as whoever has the database can; with such seals as they have."""
    seals = [row.seal for row in rows if isinstance(row.seal, bytes)]
    theirs = AuditKey(chance.randbytes(32))
    which = chance.choice(["kept", "seen", "own"])
    ends: dict[str, tuple[int, bytes]] = {}
    made: Rows = []
    for row in rows:
        n, prev = ends.get(row.writer, (0, bytes(32)))
        entry = AuditEntry(row.act, row.subject_kind, row.subject, row.request_id, row.actor, row.detail)
        try:
            digest = audit_hash(prev, row.writer, n + 1, row.at, entry)
        except TypeError:  # bytes where a word was: there is no such hash
            digest = row.hash
        ends[row.writer] = (n + 1, digest)
        seal = row.seal
        if digest != row.hash and which != "kept":
            seal = chance.choice(seals) if which == "seen" else theirs.seal_row(digest)
        made.append(row._replace(n=n + 1, prev=prev, hash=digest, seal=seal))
    return made


def _heads(heads: Sequence[HeadRow], chance: random.Random) -> tuple[list[HeadRow], str]:
    found, at = list(heads), chance.randrange(len(heads))
    match chance.choice(["change", "delete", "truncate", "insert", "swap"]):
        case "change":
            name = chance.choice(_HEAD_COLUMNS)
            found[at] = found[at]._replace(**{name: _other(getattr(found[at], name), chance)})
            return found, f"{name} of head {at + 1}"
        case "delete":
            del found[at]
            return found, f"head {at + 1} gone"
        case "insert":
            found.append(found[at]._replace(n=len(found) + 1))
            return found, f"head {at + 1} once more"
        case "swap":
            one, other = chance.sample(range(len(heads)), 2)
            found[one], found[other] = heads[other]._replace(n=heads[one].n), heads[one]._replace(n=heads[other].n)
            return found, f"heads {one + 1} and {other + 1} changed over"
        case _:
            return found[:at], f"heads from {at + 1} gone"


def _all_behind(rows: Rows, heads: Sequence[HeadRow], chance: random.Random) -> Tampered:
    """The database as it was at some moment before the last head: its rows and its heads, whole."""
    until = chance.choice([row.at for row in rows])
    kept = [row for row in rows if row.at < until]
    return Tampered(kept, [head for head in heads if head.at < until], f"as it was before {until}")


KINDS: Final = (*_ROWS, *(f"{name}_and_hash" for name in _ROWS), "heads", "set_back")


def tampered(rows: Sequence[AuditRow], heads: Sequence[HeadRow], kind: str, seed: int) -> Tampered:
    """One tampering of a kind; `seed` chooses where and how. What was given stays as it was."""
    chance = random.Random(f"{kind} {seed}")  # noqa: S311 - choices that can be repeated
    if kind == "heads":
        changed, what = _heads(heads, chance)
        return Tampered(list(rows), changed, what)
    if kind == "set_back":
        return _all_behind(list(rows), heads, chance)
    name = kind.removesuffix("_and_hash")
    while True:
        made, what = _ROWS[name](list(rows), chance)
        if name != kind:
            made, what = _anew(made, chance), f"{what}, hashes anew"
        if made != list(rows):  # a hash that was changed and worked out anew is the one that was there
            return Tampered(made, list(heads), what)


async def run_tampering(
    folder: Path, *, tamperings: int, seed: int, progress: Callable[[int, str], None] = lambda done, what: None
) -> TamperCampaign:
    """Fill a database as three processes and three nights leave it, and tamper with it; each must be found.

    Raises:
        AssertionError: what nobody has tampered with does not hold.
    """
    url, wrapping_key = f"sqlite:///{folder / 'audit.db'}", random.Random(seed).randbytes(32)  # noqa: S311
    await prepare_database(url, TEST)
    key, published = AuditKey(wrapping_key), folder / "heads"
    for _ in range(WRITERS):
        store = await open_store(url, wrapping_key, kind=TEST)
        try:
            await _live(store.write, published, key)
        finally:
            await store.close()
    store = await open_store(url, wrapping_key, kind=TEST)
    try:
        rows, heads = await store.read(lambda conn: (list(rows_of(conn)), heads_of(conn)))
    finally:
        await store.close()
    kept = read_published(published)
    assert not check(rows, heads, key.public, kept).breaks
    done = TamperCampaign(seed)
    for n in range(tamperings):
        kind = KINDS[n % len(KINDS)]
        there = tampered(rows, heads, kind, seed + n)
        done.tamperings[kind] = done.tamperings.get(kind, 0) + 1
        if not check(there.rows, there.heads, key.public, kept).breaks:
            done.missed.append(f"{kind}, seed {seed + n}: {there.what}")
        if n % 100 == 99:
            progress(n + 1, f"{len(done.missed)} not found")
    return done


async def _live(write: Callable[..., Any], published: Path, key: AuditKey) -> None:
    """What one process leaves: decisions and reads, and a head at the end."""
    for n in range(ROWS):
        entry = AuditEntry(f"act_{n % 5}", "case", new_id(), new_id(), new_id() if n % 3 else None, "x" * (n % 2))
        await write(lambda tx, entry=entry: tx.audit(entry))
    head: HeadRow = await write(lambda tx: sign_head(tx, key))
    publish(published, head)
