"""A worrying message beside those before it: whether it is one of a run, or of what spreads in its room.

Asked within the unit that stores the message, from rows, so that it is the same on every process and after a crash.
Only messages in which something was found are asked about: what it costs, clean messages do not pay.
"""

from __future__ import annotations

from moderation.attention import AttentionPolicy, is_run, is_spreading, themes
from moderation.ladders import Side
from moderation.types import Verdict
from server.store.attention import spoken_of, worries
from server.store.unit import Tx

# The acts that a case's history names.
RUN, SPREAD = "run", "spread"


def signs(
    tx: Tx, policy: AttentionPolicy, *, author: str, side: Side, feed: str, message: str, verdict: Verdict
) -> tuple[str, ...]:
    """Why a message in which something was found is more than itself: RUN, SPREAD, both or neither.

    Args:
        feed: its room, which the unit has named.
        message: its id; an edit is not beside its own earlier text.
    """
    found = []
    earlier = worries(tx.conn, author, side, tx.now - policy.person.baseline, message)
    if is_run(policy.person, earlier, tx.now):
        found.append(RUN)
    mine = themes(policy.room, verdict)
    if mine:
        after = tx.head(feed).seq - policy.room.messages
        others = spoken_of(tx.conn, feed, after, tx.now - policy.room.window, author)
        if is_spreading(policy.room, mine, {who: policy.room.themes_of(said) for who, said in others.items()}):
            found.append(SPREAD)
    return tuple(found)
