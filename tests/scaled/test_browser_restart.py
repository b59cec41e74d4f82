"""A rolling restart as a member sees it: the page stays, and every message is there once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from playwright.async_api import Browser

from clients.sdk.client import Client
from clients.sdk.connection import Timing
from ops.torture.clients import CLEAN
from ops.trial import make_trial
from tests.serve.support import supervisor
from tests.servers import PostgresServer, run_apart, running_redis

pytestmark = pytest.mark.timeout(180)
WORKERS = 3
EVERY_S = 0.15
QUICK = Timing(uniform=lambda low, high: low)


async def test_a_page_outlives_every_worker(tmp_path: Path, postgres_server: PostgresServer, browser: Browser) -> None:
    """While three workers are told to end in turn, what others say and what is typed here comes once, in order."""
    url = postgres_server.create_database()
    with running_redis() as redis:
        trial = run_apart(lambda: make_trial(tmp_path, url, rooms=1, per_room=2))
        given = {**trial.environ, "REDIS_URL": redis.url, "EVENKEEL_WORKERS": str(WORKERS)}
        with supervisor(tmp_path, given) as running:
            await asyncio.to_thread(running.said, "serving", WORKERS)
            origin = f"http://127.0.0.1:{running.port}"
            (room,), (talker, reader) = trial.rooms, trial.members[0]
            context = await browser.new_context()
            await context.add_cookies([{"name": "evenkeel", "value": reader.token, "url": origin}])
            page = await context.new_page()
            await page.goto(f"{origin}/rooms/{room.removeprefix('room:')}")
            await page.wait_for_selector("[data-announce=urgent]", state="attached")
            said: list[str] = []
            restarted = asyncio.Event()

            async def talk() -> None:
                async with Client(origin, token=talker.token, timing=QUICK) as client:
                    feed = await client.join(room)
                    while not restarted.is_set():
                        text = f"{CLEAN[0]} {len(said)}"
                        await feed.send(text)
                        said.append(text)
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(restarted.wait(), EVERY_S)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(talk())
                for n in range(WORKERS):
                    first = {line["worker"]: line["pid"] for line in running.lines("serving")}
                    os.kill(first[n], signal.SIGTERM)
                    await page.fill("#body", f"From the page, {n}.")
                    await page.keyboard.press("Enter")
                    await asyncio.to_thread(running.said, "serving", WORKERS + n + 1)
                    await page.get_by_text(f"From the page, {n}.").wait_for()
                restarted.set()
            await page.get_by_text(said[-1], exact=True).wait_for()
            shown = await page.locator(".ek-row__body").all_inner_texts()
            assert [text for text in shown if text.startswith(CLEAN[0])] == said
            assert [text for text in shown if text.startswith("From the page")] == [
                f"From the page, {n}." for n in range(WORKERS)
            ]
            await context.close()
            assert running.stop() == 0
    postgres_server.drop_database(url)
