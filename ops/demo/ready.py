"""What the demonstration's server tells its starter: the only thing that both processes have to agree on."""

from __future__ import annotations

from typing import Final

import msgspec

# Exit status of a server whose set-up is wrong; its one line on standard error says what to do.
MISCONFIGURED: Final = 2


class Ready(msgspec.Struct, frozen=True):
    """It listens. `feeds`: the feed of each room by its key in `people.ROOMS`; `pid`: the server's process;
    `tokens`: a session for each of `people.PROGRAMS` by name.
    """

    url: str
    port: int
    pid: int
    password: str
    feeds: dict[str, str]
    tokens: dict[str, str]

    def __repr__(self) -> str:
        return f"Ready(url={self.url!r})"
