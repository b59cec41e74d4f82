"""`evenkeel bench filter`: what the word filter costs a message, beside a bare scan of the same phrases.

Everyday messages of the corpus (level 0, of about sixty characters) against the lists that ship and against made-up
lists of growing size, with their words already met, as in a room that has been talking for a while; codes, numbers and
Latin that nobody met before; and ten kilobytes of every hostile kind that we know, at its worst.

A made-up list grows as ours do: each entry is a phrase with alternatives, written out. Building and memory are taken in
a process of their own for each size. Building and hostile texts are told in processor time: they are long enough for a
busy machine to put something else between.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import ahocorasick_rs

from ops.bench.hostile import BYTES, hostile_texts
from server.errors import Misconfigured
from server.main import load_second
from watchwords.common import load_common_words
from watchwords.labelled import load_corpus
from watchwords.lexicon import Entry, Lexicon
from watchwords.matcher import Matcher
from watchwords.normalise import fold
from watchwords.slots import compile_slots

SIZES: Final = (1_000, 10_000, 100_000)
SLOTS: Final = 500
ROUNDS: Final = 5
NOT_MEASURED: Final = "not measured"
# Goals of the filter (ops/decisions/0003), at 10,000 phrases and 500 slots.
GOAL_P50_US, GOAL_P99_US, GOAL_GROWTH, GOAL_BUILD_S, GOAL_MB, GOAL_HOSTILE_MS = 30.0, 150.0, 2.5, 1.0, 120.0, 5.0


def bench_filter(
    *, rounds: int = ROUNDS, sizes: Sequence[int] = SIZES, progress: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Run the bench and return the figures; times in microseconds, except where a name says otherwise."""
    texts = everyday_texts()
    progress(f"{len(texts)} messages of {statistics.mean(map(len, texts)):.0f} characters on average")
    shipped = Matcher.load()
    figures: dict[str, Any] = {"messages": len(texts), "shipped": _messages(shipped, texts, rounds)}
    progress(f"the lists that ship: {figures['shipped']}")
    figures["never_met"] = _first_time(shipped)
    figures["by_phrases"] = {}
    for phrases in sizes:
        figures["by_phrases"][str(phrases)] = found = _of_size(phrases, texts, rounds)
        progress(f"{phrases:,} phrases and {SLOTS} slots: {found}")
    figures["hostile_ms"] = hostile = _hostile(shipped)
    worst = max(hostile, key=lambda kind: hostile[kind])
    progress(f"{len(hostile)} hostile kinds, the worst {worst}: {hostile[worst]} ms")
    figures["second_stage_texts_s"] = _second_stage(texts)
    progress(f"the second stage, texts a second of one core: {figures['second_stage_texts_s']}")
    figures["goals"] = _goals(figures)
    figures["measured_at"] = time.strftime("%Y-%m-%d", time.gmtime())
    return figures


def everyday_texts() -> list[str]:
    """Messages of the corpus that concern nobody, of the length of chat."""
    return [message.text for message in load_corpus() if not message.level and 30 <= len(message.text) <= 120]


def made_up(phrases: int, slots: int = SLOTS) -> Lexicon:
    """A lexicon of that many phrases and slot patterns, of everyday words; the same for the same numbers."""
    rng = random.Random(phrases)  # noqa: S311 - nothing secret
    words = sorted(
        word for word, price in load_common_words().items() if price is not None and price < 9 and len(word) > 2
    )
    entries: list[Entry] = []
    left = phrases
    while left > 0:
        parts = [rng.sample(words, number) for number in (3, 2, 3, 3)]
        written = tuple(" ".join(chosen) for chosen in itertools.product(*parts))[:left]
        left -= len(written)
        entries.append(_entry(f"p{len(entries)}", written, ""))
    for number in range(slots):
        first, second = rng.sample(words, 3), rng.sample(words, 3)
        pattern = compile_slots(f"{{{'|'.join(first)}}} ... {{{'|'.join(second)}}} within 4")
        entries.append(_entry(f"s{number}", (), pattern))
    return Lexicon((), tuple(entries), f"made-up-{phrases}")


def _entry(name: str, phrases: tuple[str, ...], pattern: str) -> Entry:
    return Entry(name, "S", 2, "made up", "made up", phrases, pattern, (), (), (), "")


def _messages(matcher: Matcher, texts: Sequence[str], rounds: int) -> dict[str, float]:
    return _spread([_median_us(matcher.read, text, rounds) for text in texts])


def _median_us(call: Callable[[str], object], text: str, rounds: int) -> float:
    """The middle one of so many calls, after one that does not count."""
    call(text)
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        call(text)
        taken.append(time.perf_counter_ns() - begun)
    return statistics.median(taken) / 1e3


def _spread(taken_us: Sequence[float]) -> dict[str, float]:
    ordered = sorted(taken_us)
    return {
        "p50": round(ordered[len(ordered) // 2], 1),
        "p99": round(ordered[int(len(ordered) * 0.99)], 1),
        "mean": round(statistics.mean(ordered), 1),
    }


def _first_time(matcher: Matcher) -> dict[str, dict[str, float]]:
    """Messages whose strange words nobody wrote before, each read once: nothing of them is remembered."""
    rng = random.Random(7)  # noqa: S311 - nothing secret
    latin = [
        a + b
        for a in ("dol", "ips", "con", "sec", "adip", "eli", "tem", "lab")
        for b in ("or", "um", "ectet", "iscing")
    ]
    made: dict[str, list[str]] = {
        "hexadecimal": [f"my order {rng.getrandbits(64):016x} never came did it" for _ in range(300)],
        "reference": [
            f"quote ref {rng.randrange(10**6)}{chr(rng.randrange(65, 91))}{rng.randrange(99)}" for _ in range(300)
        ],
        "latin": [" ".join(rng.choice(latin) + rng.choice("aeiou") for _ in range(8)) for _ in range(300)],
    }
    return {kind: _spread([_once_us(matcher, text) for text in texts]) for kind, texts in made.items()}


def _once_us(matcher: Matcher, text: str) -> float:
    begun = time.perf_counter_ns()
    matcher.read(text)
    return (time.perf_counter_ns() - begun) / 1e3


def _of_size(phrases: int, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    lexicon = made_up(phrases)
    matcher = Matcher(lexicon)
    written = [phrase for entry in lexicon.entries for phrase in entry.phrases]
    automaton = ahocorasick_rs.AhoCorasick(written, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
    folded = [fold(text) for text in texts]
    return {
        "filter": _messages(matcher, texts, rounds),
        "bare_ahocorasick": _spread([_median_us(automaton.find_matches_as_indexes, text, rounds) for text in folded]),
        "bare_hyperscan": _bare_hyperscan(written, folded, rounds),
        **_apart(phrases),
    }


def _bare_hyperscan(phrases: Sequence[str], texts: Sequence[str], rounds: int) -> dict[str, float] | str:
    """The same with hyperscan, which is no dependency of ours: where somebody installed it."""
    if importlib.util.find_spec("hyperscan") is None:
        return NOT_MEASURED
    hyperscan: Any = importlib.import_module("hyperscan")
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=[phrase.encode() for phrase in phrases], literal=True)
    found: list[int] = []

    def scan(text: str) -> None:
        database.scan(text.encode(), match_event_handler=lambda number, *_: found.append(number))

    return _spread([_median_us(scan, text, rounds) for text in texts])


def _second_stage(texts: Sequence[str]) -> float | str:
    """Texts a second of processor time, sixteen at once, where the extra `second` is installed."""
    try:
        stage = load_second()
    except Misconfigured:
        return NOT_MEASURED
    some = [(text, 0) for text in texts[:128]]
    begun = time.process_time()
    for at in range(0, len(some), 16):
        stage.raises_all(some[at : at + 16])
    return round(len(some) / (time.process_time() - begun), 1)


def _apart(phrases: int) -> dict[str, float]:
    """Seconds to build a matcher of that size, and the memory that it takes, in a process of its own."""
    answer = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "ops.bench.filter", str(phrases)], check=True, capture_output=True, text=True
    )
    figures: dict[str, float] = json.loads(answer.stdout)
    return figures


def _build(phrases: int) -> dict[str, float]:
    lexicon = made_up(phrases)
    before, begun = _resident_mb(), time.process_time()
    matcher = Matcher(lexicon)
    taken = time.process_time() - begun
    matcher.read("one text, so that what is built late is built")
    return {"build_s": round(taken, 2), "memory_mb": round(_resident_mb() - before, 1)}


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _hostile(matcher: Matcher) -> dict[str, float]:
    """Milliseconds for ten kilobytes of each hostile kind, met for the first time; the best of three texts of a kind,
    because a machine with something else to do only ever makes them slower.
    """
    vocabulary = sorted(
        {word for entry in matcher.lexicon.entries for phrase in entry.phrases for word in phrase.split()}
    )
    kinds = [hostile_texts(vocabulary, BYTES, seed) for seed in range(3)]
    return {kind: round(min(_used_ms(matcher, texts[kind]) for texts in kinds), 2) for kind in kinds[0]}


def _used_ms(matcher: Matcher, text: str) -> float:
    begun = time.process_time_ns()
    matcher.read(text)
    return (time.process_time_ns() - begun) / 1e6


def _goals(figures: dict[str, Any]) -> dict[str, Any]:
    sizes = figures["by_phrases"]
    smallest, largest = min(sizes, key=int), max(sizes, key=int)
    middle = sizes[sorted(sizes, key=int)[len(sizes) // 2]]
    return {
        "p50_us": _goal(middle["filter"]["p50"], GOAL_P50_US),
        "p99_us": _goal(middle["filter"]["p99"], GOAL_P99_US),
        "growth": _goal(round(sizes[largest]["filter"]["mean"] / sizes[smallest]["filter"]["mean"], 2), GOAL_GROWTH),
        "build_s": _goal(sizes[largest]["build_s"], GOAL_BUILD_S),
        "memory_mb": _goal(sizes[largest]["memory_mb"], GOAL_MB),
        "hostile_ms": _goal(max(figures["hostile_ms"].values()), GOAL_HOSTILE_MS),
    }


def _goal(value: float, at_most: float) -> dict[str, Any]:
    return {"value": value, "at_most": at_most, "met": value <= at_most}


if __name__ == "__main__":
    print(json.dumps(_build(int(sys.argv[1]))))
