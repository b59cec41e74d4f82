"""Whether lists are fit for service: they compile, find every canary, and say nothing of most harmless messages.

What is refused here was never in force and never will be; the person who asked is told file, line and what to do.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Final

from moderation.canaries import Canary, load_canaries, missed
from server.actions.wordlists.documents import Documents, Faulty, compiled
from watchwords.labelled import Labelled, load_corpus
from watchwords.matcher import Matcher

# An entry found in one of a hundred messages that need nobody is no sign of anything: "a", "the", "mum".
BROAD_SHARE: Final = 0.01


@functools.cache
def canaries() -> tuple[Canary, ...]:
    """The phrases that may never stop being found."""
    return load_canaries()


@functools.cache
def corpus() -> tuple[Labelled, ...]:
    """The labelled messages that come with the program."""
    return load_corpus()


def checked(documents: Documents, live: Matcher | None) -> Matcher:
    """The matcher of lists that may come into force. Takes seconds: not for the loop.

    Args:
        live: what is in force; only entries that it does not have in the same words are judged for breadth. None
            judges none.

    Raises:
        Faulty: with file, line and advice.
    """
    matcher = compiled(documents)
    check_canaries(matcher)
    if live is not None:
        _narrow_enough(matcher, live)
    return matcher


def check_canaries(matcher: Matcher) -> None:
    """Refuse lists that do not find every canary. Raises Faulty, which names those that are missed by their places."""
    lost = missed(canaries(), matcher.find)
    if lost:
        places = ", ".join(canary.where for canary in lost)
        raise Faulty(f"These lists no longer find what they must always find ({places}); put back what found it.")


def _narrow_enough(matcher: Matcher, live: Matcher) -> None:
    before = {entry.id: (entry.phrases, entry.pattern, entry.level) for entry in live.lexicon.entries}
    new = {
        entry.id: entry.where.rpartition("/")[2]
        for entry in matcher.lexicon.entries
        if entry.level and before.get(entry.id) != (entry.phrases, entry.pattern, entry.level)
    }
    if not new:
        return
    harmless = [message.text for message in corpus() if not message.level]
    found: Counter[str] = Counter()
    for text in harmless:
        found.update({match.entry_id for match in matcher.find(text)} & new.keys())
    for name, times in found.most_common(1):
        if times > len(harmless) * BROAD_SHARE:
            raise Faulty(
                f"{new[name]}: {name}: found in {times} of {len(harmless)} messages that need nobody; narrow the "
                "entry or add exceptions"
            )
