"""In the demonstration a change of the words goes all its way in two minutes: tried, in shadow, signed, undone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest

from ops.demo.people import VISITOR
from ops.demo.words import SAID
from server.protocol.frames import CaseItem
from server.store.wordlists import FIRST
from tests.demo.support import Running, running
from tests.web.reading import read

pytestmark = pytest.mark.timeout(240)

HERE = "/staff/watchwords"
WITHIN_S = 120.0
T = TypeVar("T")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("demo")) as run:
        yield run


class Desk:
    """One of the two leads, at the pages."""

    def __init__(self, demo: Running, door: str) -> None:
        self._demo, self._token = demo, demo.enter(door)

    def see(self, path: str) -> str:
        return self._demo.page(path, self._token)

    def do(self, path: str, act: str, **fields: str) -> str:
        """Fill in and send the form of a page whose act, or address, is that."""
        form = next(form for form in read(self.see(path)).forms if act in (form.fields.get("act"), form.action))
        return self._demo.post(form.action, self._token, {**form.fields, **fields})


async def until(find: Callable[[], T | None], what: str) -> T:
    deadline = time.monotonic() + WITHIN_S
    while (found := await asyncio.to_thread(find)) is None:
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.2)
    return found


async def test_a_proposal_goes_all_its_way_in_two_minutes(demo: Running) -> None:
    """Tried on a phrase and on two days of talk, in shadow, signed by two, heard, and undone, by forms alone."""
    began = time.monotonic()
    jo, adeyemi = Desk(demo, "moderator_lead"), Desk(demo, "clinical_lead")

    def waiting() -> str | None:
        found = re.search(rf'<h3[^>]*><a href="({HERE}/versions/[^"]+)', jo.see(HERE))
        return None if found is None else found[1]

    page = await until(waiting, "a proposal that waits")
    tried = read(jo.do(page, f"{HERE}/try", text=SAID))
    assert "c-awake" in tried.text
    assert "Can not sleep, and says so to the room." in tried.text

    jo.do(page, "stored", span="2")
    forecast = await until(lambda: jo.see(page) if "A night shift" in jo.see(page) else None, "a forecast")
    assert re.search(r"A night shift: \+[\d.]+ \([\d.]+ to [\d.]+\) alerts", forecast)

    jo.do(page, "shadow", span="1")
    shadow = re.search(rf'href="({HERE}/trials/[^"]+)">New messages, in shadow', jo.see(page))
    assert shadow is not None
    found = re.search(r"/rooms/([0-9A-Z]+)", demo.page("/rooms", demo.enter("member")))
    assert found is not None
    async with demo.client("member") as bluebell, demo.client("moderator") as sam:
        room = await bluebell.join(f"room:{found[1]}")
        queue = await sam.join("staff:moderation")
        await room.send(SAID)
        await until(lambda: re.search(r"New flags: <strong>[1-9]", jo.see(shadow[1])), "a shadow that has heard it")
        assert not of_visitor(queue.view.others.values())

        jo.do(page, "sign")
        adeyemi.do(page, "sign")
        assert "<strong>In force</strong>" in adeyemi.see(page)
        await room.send(SAID)
        async with asyncio.timeout(20):
            async for item in queue.events():
                if of_visitor([item]):
                    break

    adeyemi.do(f"{HERE}/versions/{FIRST}", "roll_back", reason="Tired people are called about.")
    assert "Gone back to, Dr Adeyemi" in adeyemi.see(HERE)
    assert "Nothing on the lists." in jo.do(HERE, f"{HERE}/try", text=SAID)
    assert time.monotonic() - began < WITHIN_S


def of_visitor(items: Iterable[object]) -> list[CaseItem]:
    return [item for item in items if isinstance(item, CaseItem) and item.subject.name == VISITOR]
