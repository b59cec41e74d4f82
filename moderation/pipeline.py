"""From a text to one verdict: every check runs, and whatever goes wrong is said, never read as clean.

Decided here: the order, the deadline, and what a failing check becomes. Not decided here: what happens to the text
(policy).
"""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta

from moderation.checks import Check, Weighed, flooding_check, invisible_check, language_check, watchwords_check
from moderation.policy import DispositionPolicy
from moderation.types import Category, Finding, Level, Role, RoomKind, Submission, TextKind, Verdict
from watchwords.matcher import Matcher
from watchwords.model import Model
from watchwords.screening import Screener

# For each DEADLINE_CHARS begun. Everyday messages take 0.04 ms and the worst of the corpus 4; four thousand characters
# of nothing but worry take 60, and whoever writes so much is not to be kept waiting for it.
DEADLINE = timedelta(milliseconds=5)
DEADLINE_CHARS = 250


class Pipeline:
    """All checks against one set of lists and one policy. Immutable: new lists are a new pipeline, swapped in whole."""

    def __init__(
        self,
        matcher: Matcher,
        policy: DispositionPolicy,
        clock_ns: Callable[[], int],
        *,
        deadline: timedelta = DEADLINE,
        checks: Sequence[tuple[str, Check]] | None = None,
        model: Model | None = None,
    ) -> None:
        """
        Args:
            matcher: the lists, compiled.
            policy: what follows from a finding.
            clock_ns: nanoseconds that this thread has worked, for the deadline only.
            deadline: after this, for each DEADLINE_CHARS begun, no further check begins; a check is never interrupted
                (the supervisor does that).
            checks: named checks in order; None means the usual ones.
            model: weighs what the lists find and what they do not; None leaves it to the lists.
        """
        self._matcher = matcher
        self._screener = Screener(matcher, model)
        self._policy = policy
        self._clock_ns = clock_ns
        self._deadline_ns = round(deadline.total_seconds() * 1e9)
        usual: tuple[tuple[str, Check], ...] = (
            ("watchwords", watchwords_check(self._screener)),
            ("language", language_check),
            ("invisible", invisible_check),
            ("flooding", flooding_check),
        )
        self._checks = usual if checks is None else tuple(checks)
        self._given = checks
        self._model = model
        self._clean_verdicts: dict[tuple[TextKind, RoomKind | None, Role, float], Verdict] = {}

    @property
    def matcher(self) -> Matcher:
        """The lists, compiled."""
        return self._matcher

    def with_lists(self, matcher: Matcher) -> "Pipeline":
        """The same pipeline over other lists."""
        deadline = timedelta(microseconds=self._deadline_ns / 1000)
        return Pipeline(matcher, self._policy, self._clock_ns, deadline=deadline, checks=self._given, model=self._model)

    @property
    def list_version(self) -> str:
        """The version of the lists, and of the model if there is one, that verdicts of this pipeline name."""
        return self._screener.version

    @property
    def policy_version(self) -> str:
        """The version of the policy that verdicts of this pipeline name."""
        return self._policy.version

    def screen(self, submission: Submission, doubt: str = "") -> Verdict:
        """Everything that all checks find in the text, and what is to happen to it. Never raises for any text.

        A check that raises becomes a finding `check_failed`; one that ends after the deadline, or can not begin
        before it,
        `over_time`; lists with nothing in them, `empty_list`. Each of these makes the verdict incomplete.

        Args:
            doubt: why the lists are not to be trusted just now: a finding too, so that nothing is read as clean.
        """
        findings: list[Finding] = []
        complete = True
        score = 0.0
        if not self._matcher.entry_count:
            findings.append(_fault("watchwords", "empty_list"))
            complete = False
        if doubt:
            findings.append(_fault("watchwords", doubt))
            complete = False
        allowed = self._deadline_ns * (1 + len(submission.text) // DEADLINE_CHARS)
        start = self._clock_ns()
        for name, check in self._checks:
            if self._clock_ns() - start > allowed:
                findings.append(_fault(name, "over_time"))
                complete = False
                continue
            try:
                noticed = check(submission, submission.text)
                findings += noticed
                if isinstance(noticed, Weighed):
                    score = _hundredths(noticed.score)
            except Exception:
                findings.append(_fault(name, "check_failed"))
                complete = False
        if complete and self._clock_ns() - start > allowed:
            findings.append(_fault(self._checks[-1][0], "over_time"))
            complete = False
        if complete and not findings:
            return self._clean(submission, score)
        return self._verdict(submission, findings, complete, score)

    def unchecked(self, submission: Submission, reason: str) -> Verdict:
        """The verdict on a text that must not be screened again, such as one the supervisor saw stall: incomplete."""
        return self._verdict(submission, [_fault("pipeline", reason)], complete=False, score=0.0)

    def _clean(self, submission: Submission, score: float) -> Verdict:
        """The verdict on a text in which nothing was found: one value for each place and each hundredth of a score."""
        place = (submission.text_kind, submission.room_kind, submission.author_role, score)
        known = self._clean_verdicts.get(place)
        if known is None:
            known = self._clean_verdicts[place] = self._verdict(submission, [], complete=True, score=score)
        return known

    def _verdict(self, submission: Submission, findings: list[Finding], complete: bool, score: float) -> Verdict:
        # Stable: equal levels keep the order of the checks, and within one check that of the text.
        findings.sort(key=lambda finding: -finding.level)
        categories: dict[Category, None] = {f.category: None for f in findings if f.category is not None}
        return Verdict(
            level=findings[0].level if findings else Level.NONE,
            categories=tuple(categories),
            findings=tuple(findings),
            disposition=self._policy.disposition(submission, findings, complete),
            list_version=self._screener.version,
            policy_version=self._policy.version,
            complete=complete,
            score=score,
        )


def _hundredths(score: float) -> float:
    """The score as verdicts keep it: so coarse that nearly all verdicts are one of a few, and never over a line."""
    return math.floor(score * 100 + 1e-6) / 100


def _fault(check: str, reason: str) -> Finding:
    """A finding about the screening itself; the text is not blamed, so it has no category and no level."""
    return Finding(check, None, Level.NONE, "", 0, 0, reason)
