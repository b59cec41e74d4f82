"""The real worker, but for a check that never returns for one text."""

from __future__ import annotations

import sys

from moderation import pipeline
from moderation.checks import Check
from moderation.types import Finding, Submission
from server import worker
from watchwords.screening import Screener

ENDLESS = "the tide comes in and the tide goes out and comes in"

_real = pipeline.watchwords_check


def watchwords_check(screener: Screener) -> Check:
    real = _real(screener)

    def check(submission: Submission, text: str) -> list[Finding]:
        while text == ENDLESS:
            pass
        return real(submission, text)

    return check


# Not on import: what imports this for its words, such as a test, must not screen by it.
if __name__ == "__main__":
    pipeline.watchwords_check = watchwords_check
    sys.exit(worker.main())
