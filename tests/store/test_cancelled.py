"""A question that is given up leaves its connection clean: nobody is handed the answer to somebody else's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from sqlalchemy import Connection, text

from server.actions.services import Services


def asking(number: int) -> Callable[[Connection], int]:
    def read(conn: Connection) -> int:
        return int(conn.execute(text("SELECT CAST(:number AS INTEGER)"), {"number": number}).scalar_one())

    return read


async def test_an_answer_never_goes_to_another_question(services: Services) -> None:
    """Of a thousand questions to few connections, half given up at any moment, each answer is to its own question."""
    rng = random.Random(7)
    answered = 0

    async def ask(number: int) -> None:
        nonlocal answered
        question = asyncio.create_task(services.store.read(asking(number)))
        if number % 2:
            await asyncio.sleep(rng.random() * 0.003)
            question.cancel()
        try:
            assert await question == number
            answered += 1
        except asyncio.CancelledError:
            assert number % 2

    for start in range(0, 1_000, 50):
        await asyncio.gather(*(ask(number) for number in range(start, start + 50)))
    assert 500 <= answered < 1_000
