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
        return list(real(submission, text))

    return check


pipeline.watchwords_check = watchwords_check

if __name__ == "__main__":
    sys.exit(worker.main())
