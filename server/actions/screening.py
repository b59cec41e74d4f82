"""The one gate to the filter: every text that a person writes comes through `Screening.screen`, whoever wrote it.

Also here: the defence against a text that stalls a check for ever. Before each screening a digest of the text is laid
in memory that the supervisor shares; if it has to kill this process, the digest tells the next one which text it was. A
text that stalled twice is not tried again: it is answered with an unchecked verdict, which policy never reads as clean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import structlog

from moderation.pipeline import Pipeline
from moderation.types import Role, RoomKind, Submission, TextKind, Verdict
from watchwords.matcher import Matcher

log = structlog.get_logger()
DIGEST_BYTES: Final = 16
STALLS_ALLOWED: Final = 1


def digest(text: str) -> bytes:
    """A short digest that names a text without holding it."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


class Screening:
    """Turns a text into a verdict, synchronously and in microseconds; it never raises, and a fault is never "clean".

    Args:
        pipeline: the checks and the policy.
        mark: called with a digest before a screening and with None after it (the supervisor's window).
        stalled: how often the text of a digest stalled a process; asked before each screening.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        mark: Callable[[bytes | None], None] | None = None,
        stalled: Callable[[bytes], int] = lambda digest: 0,
    ) -> None:
        self._pipeline = pipeline
        self._mark = mark
        self._stalled = stalled
        self._doubt = ""

    @property
    def list_version(self) -> str:
        return self._pipeline.list_version

    @property
    def matcher(self) -> Matcher:
        """The lists that are in use."""
        return self._pipeline.matcher

    def as_if(self, matcher: Matcher, text: str) -> Verdict:
        """What would be said of a member's message in a community room if these lists were in use."""
        submission = Submission(text, TextKind.MESSAGE, RoomKind.COMMUNITY, Role.MEMBER)
        return self._pipeline.with_lists(matcher).screen(submission, self._doubt)

    def use(self, matcher: Matcher) -> None:
        """Screen with these lists from the next text on; they are exchanged whole."""
        self._pipeline = self._pipeline.with_lists(matcher)

    def distrust(self, reason: str) -> None:
        """Call no text checked from now on, for this reason, until told "" again."""
        self._doubt = reason

    def screen(self, text: str, text_kind: TextKind, room_kind: RoomKind | None, author_role: Role) -> Verdict:
        """The verdict on `text`. What follows from it is in `verdict.disposition`."""
        submission = Submission(text, text_kind, room_kind, author_role)
        try:
            return self._screened(submission)
        except Exception as error:
            # Outside of the checks, which answer for themselves. The text is named by nothing: it may be what failed.
            log.critical("screening_failed", error=type(error).__name__)
            return self._pipeline.unchecked(submission, "screening_failed")

    def _screened(self, submission: Submission) -> Verdict:
        if self._mark is None:
            return self._pipeline.screen(submission, self._doubt)
        name = digest(submission.text)
        if self._stalled(name) > STALLS_ALLOWED:
            return self._pipeline.unchecked(submission, "stalled_before")
        self._mark(name)
        try:
            return self._pipeline.screen(submission, self._doubt)
        finally:
            self._mark(None)
