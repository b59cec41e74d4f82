"""A slice of the frame fuzz against a real worker, and what its judge and its generator promise."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ops.torture.frames import read_log, run_frames
from ops.torture.mutate import Mutator
from server.protocol.codec import Codec
from server.protocol.codes import ProtocolError

pytestmark = pytest.mark.timeout(120)


async def test_broken_frames_break_nothing(tmp_path: Path) -> None:
    """Some thousand mutated frames before and after hello: nothing ends, fails, grows or is noticed by a member."""
    run = await run_frames(tmp_path, count=4_000, seed=7)
    assert run.broken == {}, run.facts()
    assert min(run.frames) > 1_000
    assert run.witnessed > 0
    # The frames came through to what they were meant for: framing, codec, session and the verbs.
    assert {"1002", "1007"} <= run.closes.keys()
    assert {"malformed", "bad_field", "unknown_field", "hello_first", "not_found"} <= run.answers.keys()


@pytest.mark.parametrize("codec", list(Codec))
def test_many_mutated_payloads_are_refused_and_some_are_not(codec: Codec) -> None:
    """A fuzz of which everything or nothing decodes would try only half of the server; the seed decides alone."""
    refused = 0
    mutator = Mutator(random.Random(3), codec, "room:R1")
    payloads = [mutator.payload() for _ in range(1_000)]
    for payload in payloads:
        try:
            codec.decode_command(payload)
        except ProtocolError:
            refused += 1
    assert 500 < refused < 950
    again = Mutator(random.Random(3), codec, "room:R1")
    assert [again.payload() for _ in range(1_000)] == payloads


def test_the_log_is_read_strictly() -> None:
    """An error, and any line that is no event (a traceback), are found; a warning and a rightly loud alarm are not."""
    log = (
        '{"event": "command_failed", "severity": "error", "error": "KeyError", "at": "x.py:1"}\n'
        '{"event": "loop_late", "severity": "warning"}\n'
        '{"event": "nobody_to_call", "severity": "critical"}\n'
        "Invalid HTTP request received.\n"
        "Traceback (most recent call last):\n"
    )
    assert read_log(log) == {"logged command_failed KeyError x.py:1": 1, "a line in the log that is no event": 1}
