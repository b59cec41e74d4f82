"""One verdict on one text: the lists' findings and the model's weight become a level, a score, categories and reasons.

Decided here: how lists and model make a level together. What a list says stands: the model may raise a text, and never
lowers one, so no list entry can be silenced by numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from watchwords.features import rules_of
from watchwords.lexicon import CATEGORIES
from watchwords.matcher import Match, Matcher, Reading
from watchwords.model import CONCERN, GREY, URGENT, Answer, Model, Weighed
from watchwords.normalise import View

MOST_REASONS = 4
# Entries whose ids begin so are hints.
HINT = "hint-"
# The punctuation of a text apart: what the base view says already, to a reader of words.
_SAME_AS_BASE = "words"
_CONTACT = "P"
# What a list found is what a text is about, unless the model is sure of something else.
_FAVOUR = 1.5

# What a category is called in a reason.
ABOUT = {
    "S": "suicide",
    "H": "self-harm",
    "O": "an overdose or medicine",
    "V": "harm to others",
    "A": "abuse",
    "E": "an eating disorder",
    "C": "a crisis",
    "G": "grooming",
    "P": "meeting outside the service",
    "X": "harassment",
}


@dataclass(frozen=True, slots=True)
class Because:
    """One thing that weighed: a rule by its name, or words by their half-open offsets in the original text.

    `weight` is in log odds of the concern; `start` and `end` are both 0 for a rule.
    """

    feature: str
    weight: float
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: a match of a list, or the model's own, which has the entry id `model:` and its version.

    `start` and `end` are half-open offsets into the original text. `reason` is in plain words for moderators and holds
    nothing of the text. `adjustments` are codes of what lowered the level.
    """

    entry_id: str
    category: str
    level: int
    start: int
    end: int
    view: str
    reason: str
    adjustments: tuple[str, ...] = ()
    because: tuple[Because, ...] = ()


@dataclass(frozen=True, slots=True)
class Screened:
    """What is to be said of a text. `score` orders texts within and across levels: the level is its whole part.

    `cats` holds letters of CATEGORIES, the main one first; empty at level 0. `is_cut_short`: strange words were left
    as they are because the allowance of one text was used up, so that what they hide is not in the rest.
    """

    level: int
    score: float
    cats: tuple[str, ...]
    findings: tuple[Found, ...]
    is_cut_short: bool = False


class Screener:
    """Lists and a model together. Immutable as far as anybody can see: new lists or numbers are a new screener."""

    def __init__(self, matcher: Matcher, model: Model | None = None) -> None:
        """`model`: None leaves each text with what the lists say of it."""
        self.matcher = matcher
        self.model = model
        self.version = matcher.version if model is None else f"{matcher.version}+{model.version}"

    @classmethod
    def load(cls) -> "Screener":
        """The lists and the model that come with the program.

        Raises:
            LexiconError: the lists can not be used.
            ModelError: the model can not be used.
        """
        return cls(Matcher.load(), Model.load())

    def screen(self, text: str) -> Screened:
        """The verdict on a text. Never raises for any text; time is linear in the text."""
        reading = self.matcher.read(text)
        said = self._said(reading)
        return replace(said, is_cut_short=True) if reading.work.is_cut_short else said

    def _said(self, reading: Reading) -> Screened:
        # Hints teach the model and say nothing by themselves: "beans" is a word for cuts, and beans.
        matches = tuple(match for match in reading.matches if not match.entry_id.startswith(HINT))
        if self.model is None:
            return self._by_lists(matches)
        model, limits = self.model, self.model.thresholds
        view = reading.views[0]
        best = model.weigh(view.text)
        for other in reading.views[1:]:
            if other.name != _SAME_AS_BASE and (weighed := model.weigh(other.text)).concern > best.concern:
                view, best = other, weighed
        if not reading.matches and best.concern < limits.gate:
            return Screened(0, round(model.probability(best.concern), 4), (), ())
        rules = rules_of(reading.matches)
        answer = model.answer(view.text, best, rules)
        answers = answer.odds
        top = max((match.level for match in matches), default=0)
        level = self._level(answers, top)
        within = answers[URGENT] if level == 3 else model.probability(answers[CONCERN])
        within = 1 / (1 + math.exp(-max(-30.0, min(30.0, within)))) if level == 3 else within
        score = round(level + 0.9999 * within, 4)
        if not level:
            return Screened(0, score, (), ())
        cats = _cats(answers, matches, limits.category)
        findings = [self._found(match) for match in matches]
        if level > top:
            because = self._because(view, answer, rules)
            findings.insert(0, self._own(view, best, cats[0], level, because))
        return Screened(level, score, cats, tuple(findings))

    def _level(self, answers: Mapping[str, float], top: int) -> int:
        """The level of a text in which the lists found `top`: the model raises, and never lowers what a list says."""
        model = self.model
        assert model is not None
        limits = model.thresholds
        level = 1 if top == 1 or answers[GREY] >= limits.grey or answers[CONCERN] >= limits.near else 0
        if max(top, 2 * (answers[CONCERN] >= limits.flag)) >= 2:
            level = 3 if answers[URGENT] >= limits.urgent else 2
        return max(level, top)

    def _by_lists(self, matches: Sequence[Match]) -> Screened:
        if not matches:
            return Screened(0, 0.0, (), ())
        level = max(match.level for match in matches)
        by_level = sorted(matches, key=lambda match: -match.level)
        cats = tuple(dict.fromkeys(match.category for match in by_level))
        findings = tuple(map(self._found, matches))
        return Screened(level, level + min(0.9, 0.1 * len(matches)), cats, findings)

    def _found(self, match: Match) -> Found:
        reason = self.matcher.reason(match.entry_id)
        place = match.start, match.end, match.view
        return Found(match.entry_id, match.category, match.level, *place, reason, match.adjustments)

    def _own(self, view: View, weighed: Weighed, category: str, level: int, because: tuple[Because, ...]) -> Found:
        spans = [(one.start, one.end) for one in because if one.end]
        if category == _CONTACT or not spans:
            # What is masked is the whole of what was weighed: no single word is the contact.
            spans = [_span(view, weighed.first, weighed.last)]
        start, end = min(start for start, _ in spans), max(end for _, end in spans)
        assert self.model is not None
        reason = f"Taken together, the words read like a message about {ABOUT[category]}."
        return Found(f"model:{self.model.version}", category, level, start, end, view.name, reason, (), because)

    def _because(self, view: View, answer: Answer, rules: Sequence[str]) -> tuple[Because, ...]:
        """What weighed most, heaviest first."""
        model = self.model
        assert model is not None
        reasons = [Because(name, round(model.share_of_rule(name), 3)) for name in rules]
        for share in answer.shares(MOST_REASONS):
            reasons.append(Because("words", round(share.weight, 3), *_span(view, share.first, share.last)))
        reasons = [reason for reason in reasons if reason.weight > 0]
        return tuple(sorted(reasons, key=lambda reason: -reason.weight)[:MOST_REASONS])


def _cats(answers: Mapping[str, float], matches: Sequence[Match], least: float) -> tuple[str, ...]:
    """Every category that a list or the model names, the likeliest first; at least one."""
    likely = dict.fromkeys((category for category in CATEGORIES if answers[category] >= least), 0.0)
    for match in matches:
        likely[match.category] = max(likely.get(match.category, 0.0), _FAVOUR if match.level > 1 else _FAVOUR / 2)
    if not likely:
        likely = {max(CATEGORIES, key=lambda category: answers[category]): 0.0}
    return tuple(sorted(likely, key=lambda category: -answers[category] - likely[category]))


def _span(view: View, first: int, last: int) -> tuple[int, int]:
    """The half-open span of the original text that a half-open, non-empty range of the view's tokens came from."""
    start = end = place = 0
    for number, token in enumerate(view.text.split()):
        at = view.text.index(token, place)
        place = at + len(token)
        if number == first:
            start = at
        if number == last - 1:
            end = place
            break
    return view.span(start, end) if end > start else (0, 0)
