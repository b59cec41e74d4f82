"""What is wrong with lists as a whole: ids that come twice, rules that undo one another, entries that find half of all
talk, and examples that are not answered as they say. Every problem is told, not only the first.
"""

from collections.abc import Sequence
from datetime import date
from itertools import islice
from pathlib import Path

from watchwords.common import load_common_words
from watchwords.keys import bare
from watchwords.lexicon import LISTS, Entry, Lexicon, LexiconError, compiled, content_version, parse_lists
from watchwords.matcher import Matcher
from watchwords.prepared import parts_of

# An everyday word at this price or below is in half of all messages; an entry that is no more than one finds nothing.
_TOO_COMMON = 2.5
_SHORTEST_ALONE = 3


def lint(path: Path = LISTS) -> tuple[LexiconError, ...]:
    """Every problem of the lists in a directory or of one file, by file and line; empty if all is well."""
    parsed = parse_lists(path)
    return (*parsed.problems, *find_problems(parsed.entries))


def overdue(path: Path, today: date) -> tuple[str, ...]:
    """Each entry whose review date has passed, as `file:line: ...`. No reason to stop a filter: a reason to look."""
    return tuple(
        f"{entry.where}: {entry.id}: was to be reviewed by {entry.review_date}; ask {entry.reviewer}"
        for entry in parse_lists(path).entries
        if entry.review_date is not None and entry.review_date < today
    )


def load_matcher(path: Path = LISTS) -> Matcher:
    """The matcher of a directory's lists, or of one file's, on which every example was tried.

    Raises:
        LexiconError: anything is wrong with the lists, an example or there is no entry at all.
    """
    parsed = parse_lists(path)
    problems = parsed.problems or _as_a_whole(parsed.entries)
    if not problems:
        matcher = Matcher(Lexicon(tuple(parsed.headers), tuple(parsed.entries), content_version(parsed.entries)))
        if not (problems := _examples(matcher)):
            return matcher
    raise LexiconError(str(problems[0]), tuple(problems[1:]))


def find_problems(entries: Sequence[Entry]) -> list[LexiconError]:
    """Every problem of entries that are each well-formed."""
    return _as_a_whole(entries) or _examples(Matcher(Lexicon((), tuple(entries), "")))


def _as_a_whole(entries: Sequence[Entry]) -> list[LexiconError]:
    """What can be judged without trying them."""
    return [*_twice(entries), *_cycles(entries), *_too_broad(entries), *_self_excepted(entries)]


def _twice(entries: Sequence[Entry]) -> list[LexiconError]:
    seen: dict[str, str] = {}
    return [
        LexiconError(f"{entry.where}: the id {entry.id!r} is also at {seen[entry.id]}; rename one")
        for entry in entries
        if seen.setdefault(entry.id, entry.where) != entry.where
    ]


def _cycles(entries: Sequence[Entry]) -> list[LexiconError]:
    """Entries that give way to one another in a circle, so that none of them would ever be found; and unknown ids."""
    gives_way = {entry.id: entry.unless for entry in entries}
    problems = []
    for entry in entries:
        for other in entry.unless:
            if other not in gives_way:
                problems.append(
                    LexiconError(f"{entry.where}: {entry.id}: no entry is called {other!r}; correct or remove it")
                )
        todo, seen = list(entry.unless), set[str]()
        while todo:
            other = todo.pop()
            if other == entry.id:
                problems.append(
                    LexiconError(f"{entry.where}: {entry.id}: gives way to itself in a circle; remove one `unless`")
                )
                break
            if other not in seen:
                seen.add(other)
                todo += gives_way.get(other, ())
    return problems


def _too_broad(entries: Sequence[Entry]) -> list[LexiconError]:
    common = [word for word, price in load_common_words().items() if price is not None and price <= _TOO_COMMON]
    broad = frozenset(common) | {"i", "a"}
    talk = " ".join(sorted(broad)).encode("ascii")
    bare_talk = bare(talk)
    problems = []
    for entry in entries:
        found = [p for p in entry.phrases if p in broad or (len(p) < _SHORTEST_ALONE and p.isascii() and p.isalpha())]
        for part in parts_of(entry.pattern) if entry.pattern and not found else ():
            # Of most the keys are seldom, and there is no need to have them compiled.
            if part.keys is None or any(key in bare_talk for key in part.keys.first):
                found += [place.group().decode("ascii") for place in islice(compiled(part.written).finditer(talk), 1)]
        if found:
            problems.append(
                LexiconError(
                    f"{entry.where}: {entry.id}: {found[0]!r} is in much of what anybody says; add the words around it"
                )
            )
    return problems


def _self_excepted(entries: Sequence[Entry]) -> list[LexiconError]:
    """Entries all of whose phrases hold one of their own exceptions."""
    return [
        LexiconError(f"{entry.where}: {entry.id}: every phrase holds an exception, so none is ever found; remove one")
        for entry in entries
        if entry.exceptions
        and entry.phrases
        and not entry.pattern
        and all(any(f" {e} " in f" {phrase} " for e in entry.exceptions) for phrase in entry.phrases)
    ]


def _examples(matcher: Matcher) -> list[LexiconError]:
    """Examples that are found and should not be, or the other way round; counted from 1."""
    problems = []
    for entry in matcher.lexicon.entries:
        for number, example in enumerate(entry.match, 1):
            if entry.id not in matcher.entries_in(example):
                advice = "correct the phrase, pattern or example"
                problems.append((entry, f"match example {number} is not found; {advice}"))
        for number, example in enumerate(entry.no_match, 1):
            if entry.id in matcher.entries_in(example):
                problems.append((entry, f"no_match example {number} is found; narrow the entry or add an exception"))
    return [LexiconError(f"{entry.where}: {entry.id}: {problem}") for entry, problem in problems]
