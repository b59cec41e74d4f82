"""A worker that says all that it can, and in which handlers fail with the words that they were given in the error.

For the canaries: what a library would log at its most talkative, and what an exception of ours might quote one day.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from server.actions import dispatch
from server.notify import Delivery, Notice, TerminalNotifier

# Given in the environment of a server: the word that the error of a failing notifier holds.
LOUD: Final = "TORTURE_LOUD"
# A text that holds it makes the handler fail.
BREAKS: Final = "brkhndlr"
_HANDLERS: Final = ("post_message", "edit_message", "report_message", "ask_for_help", "act_on_case")


def make_loud(word: str) -> None:
    """Log everything of every library at DEBUG; let handlers and every third call by the outside channel fail."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
    for name in (
        "uvicorn",
        "uvicorn.error",
        "uvicorn.access",
        "websockets",
        "asyncio",
        "redis",
        "aiosqlite",
        "asyncpg",
    ):
        logging.getLogger(name).setLevel(logging.DEBUG)
    for name in _HANDLERS:
        setattr(dispatch, name, _failing(getattr(dispatch, name)))
    send = TerminalNotifier.send
    calls = 0

    async def fail(self: TerminalNotifier, call: Notice) -> Delivery:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise RuntimeError(f"the channel would not take {word}")
        return await send(self, call)

    setattr(TerminalNotifier, "send", fail)  # noqa: B010 - what is replaced is a method


def _failing(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def handle(services: Any, requester: Any, command: Any, *more: Any) -> Any:
        if BREAKS in getattr(command, "body", ""):
            raise RuntimeError(f"{requester.name} said {command.body!r} in {command!r}")
        return await handler(services, requester, command, *more)

    return handle
