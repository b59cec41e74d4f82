"""The log of a worker and of a supervisor: it may be lost, and takes nothing with it; a silent supervisor is in it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from server.clock import from_us, real_us
from server.ids import new_id
from server.notify import Delivery, Notice, TerminalNotifier
from server.supervisor.alarm import Alarm
from server.worker import UNREAD_BEATS, Beats, Lines

FULL = "/dev/full"


@pytest.fixture
def full() -> Iterator[int]:
    """A place that has no room for a single byte."""
    handle = os.open(FULL, os.O_WRONLY)
    yield handle
    os.close(handle)


@contextlib.contextmanager
def logging_to(handle: int) -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=lambda *_: Lines(handle),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def call() -> Notice:
    return Notice(
        id=new_id(), case=new_id(), obligation=new_id(), recipient=new_id(), level=3, rung="fallback",
        due_at=from_us(real_us()), attempt=1, late=False,
    )  # fmt: skip


def test_a_line_that_can_not_be_written_is_lost_and_nothing_else(full: int) -> None:
    """Where there is no room a line says that it was not written, and raises nothing; where there is, it is there."""
    assert Lines(full).msg("a line") is False
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as heard:
        assert Lines(writer).critical("another \ud800") is True
        os.close(writer)
        assert heard.read() == b"another \\ud800\n"


async def test_a_call_whose_line_was_not_written_is_not_counted_as_made(full: int) -> None:
    """The channel that writes calls to the log has failed where the log is full, so that they are made again."""
    with logging_to(full):
        assert await TerminalNotifier().send(call()) is Delivery.FAILED
    reader, writer = os.pipe()
    with logging_to(writer):
        assert await TerminalNotifier().send(call()) is Delivery.SENT
    os.close(writer)
    os.close(reader)


def test_an_alarm_is_sounded_where_no_line_can_be_written(tmp_path: Path, full: int) -> None:
    """With a full log the supervisor goes on, and the operator's command is started all the same."""
    told = tmp_path / "told"
    alarm = Alarm([sys.executable, "-c", f"open({str(told)!r}, 'w').close()"])
    kept = os.dup(2)
    os.dup2(full, 2)
    try:
        alarm.sound("worker_stalled", pid=1)
        alarm.say("serving")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    alarm.close(30.0)
    assert told.exists()


def test_a_supervisor_that_reads_no_beats_is_said() -> None:
    """Twenty beats that nobody has read are a critical line, and a number; one that reads is nothing to speak of."""
    reader, writer = os.pipe()
    beat = Beats(writer)
    with capture_logs() as said:
        for _ in range(UNREAD_BEATS * 2):
            beat()
            assert REGISTRY.get_sample_value("evenkeel_supervisor_unread_beats") == 1
            os.read(reader, 64)
        assert said == []
        for _ in range(UNREAD_BEATS):
            beat()
    assert REGISTRY.get_sample_value("evenkeel_supervisor_unread_beats") == UNREAD_BEATS
    assert [(line["event"], line["log_level"], line["unread"]) for line in said] == [
        ("supervisor_silent", "critical", UNREAD_BEATS)
    ]
    os.close(reader)
    os.close(writer)
