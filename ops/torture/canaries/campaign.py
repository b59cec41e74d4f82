"""`evenkeel torture canaries`: words that nobody else says, sent down every path, and looked for where none may be.

Two services in turn, one on SQLite and one on PostgreSQL and Redis, each logging all that it can, with handlers and a
channel that fail with the words in their errors (`ops.torture.loud`). People sign up, talk, edit, report, call for help
and answer, by socket, by HTTP and by the forms of a browser without scripts; they do it wrongly too; the database goes
away under them. Afterwards each word, password, code, token and cookie is looked for in everything that the service
wrote, in its numbers, in every error that it answered, in what it said to its operator, in the files of its database
as bytes, and in all that passed through Redis.

A name is the exception: it is stored as it is (`account.name`, `account.name_key`) and told to others; in a log, a
number or an error it is not. There is no search in this service, and a draft never leaves the browser.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

from ops.torture.canaries.cage import Cage, CanaryCampaign
from ops.torture.canaries.house import House
from ops.torture.canaries.paths import say_everything
from ops.torture.canaries.places import Place
from ops.torture.cluster import Cluster
from ops.torture.loud import LOUD
from ops.torture.people import settings_of
from ops.trial import make_trial


async def run_canaries(
    folder: Path, *, canaries: int, seed: int, progress: Callable[[int, str], None] = lambda done, what: None
) -> CanaryCampaign:
    """Send at least so many words, half of them on each kind of database, and look for all of them."""
    campaign = CanaryCampaign(seed)
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be kept secret
    began = time.monotonic()
    for kind, share in (("sqlite", (canaries + 1) // 2), ("scaled", canaries)):
        here = folder / kind
        here.mkdir()
        with contextlib.ExitStack() as stack:
            place = Place(stack, here, kind)
            trial = await make_trial(here, place.database_url, rooms=1, per_room=2, moderators=1)
            cage = Cage(campaign, rng)
            environ = {**trial.environ, **place.environ, LOUD: cage.word(f"{kind}: an error of a channel")}
            async with Cluster(1, environ, here) as cluster:
                house = House(cluster.urls[0], trial, cage, settings_of(trial), here)
                rounds = 0
                while len(campaign.canaries) < share or not rounds:
                    await say_everything(house)
                    await place.fail_under(house)
                    rounds += 1
                    progress(len(campaign.canaries), kind)
                numbers = await house.http("GET", "/metrics")
                cage.heard["numbers"] += numbers.body
                await cluster.stop(0)
            cage.heard["log"] += cluster.log.read_bytes()
            for name, data in place.held().items():
                cage.heard[name] += data
            cage.search()
    campaign.duration_s = time.monotonic() - began
    return campaign
