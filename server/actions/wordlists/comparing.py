"""Two sets of lists on the same texts: what each found. Also the process of low priority in which a back-test runs.

Run as `python -m server.actions.wordlists.comparing`: it reads lines of JSON, first the two sets of lists, then texts
in pages, and answers each page with what was found. It is given no key, no database and no file, and writes nothing but
ids and levels.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

import msgspec

from server.actions.wordlists.documents import Documents, compiled
from watchwords.matcher import Matcher

# (entry, category, level of the live lists, level of the proposed ones); 0: not found.
Found = tuple[str, str, int, int]
Compare = Callable[[Sequence[str]], Awaitable[list[list[Found]]]]

_ANSWER: Final = msgspec.json.Decoder(list[list[Found]])
_NICE: Final = 10
# On a machine that is busy with what goes first, compiling takes minutes.
_READY_S: Final = 600.0
_PAGE_S: Final = 300.0
_LINE_BYTES: Final = 64 * 1024 * 1024


def compared(live: Matcher, proposed: Matcher, text: str) -> list[Found]:
    """Every entry that either of the two found in the text, at its highest level, in the order of their ids."""
    levels: dict[tuple[str, str], list[int]] = {}
    for place, matcher in enumerate((live, proposed)):
        for match in matcher.find(text):
            both = levels.setdefault((match.entry_id, match.category), [0, 0])
            both[place] = max(both[place], match.level)
    return [(entry, category, both[0], both[1]) for (entry, category), both in sorted(levels.items())]


class ComparingFailed(Exception):
    """The process ended, or did not answer in time; it says nothing of why, since that might quote a text."""


@contextlib.asynccontextmanager
async def comparing(live: Documents, proposed: Documents) -> AsyncIterator[Compare]:
    """A process of its own that compares, a page of texts at a time; it is ended at the end, whatever it does.

    Raises:
        ComparingFailed: it did not begin, or a page was not answered.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=_LINE_BYTES
    )

    async def ask(given: object, within_s: float) -> list[list[Found]]:
        if child.stdin is None or child.stdout is None:
            raise ComparingFailed
        try:
            async with asyncio.timeout(within_s):
                child.stdin.write(json.dumps(given).encode() + b"\n")
                await child.stdin.drain()
                line = await child.stdout.readline()
            return _ANSWER.decode(line)
        except (TimeoutError, OSError, msgspec.MsgspecError) as error:
            raise ComparingFailed from error

    async def compare(texts: Sequence[str]) -> list[list[Found]]:
        return await ask(list(texts), _PAGE_S)

    try:
        await ask({"live": dict(live), "proposed": dict(proposed)}, _READY_S)
        yield compare
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


def main() -> None:
    """Answer until the input ends."""
    os.nice(_NICE)
    lists = json.loads(sys.stdin.buffer.readline())
    live, proposed = compiled(lists["live"]), compiled(lists["proposed"])
    _say([])
    for line in sys.stdin.buffer:
        _say([compared(live, proposed, text) for text in json.loads(line)])


def _say(found: list[list[Found]]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
