"""The crowd of a campaign: its bare wire beside a library's, and whether it says who has not read up."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.extensions import Extension
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side

from clients.sdk.client import Client
from ops.torture.clients import CLEAN
from ops.torture.cluster import Cluster
from ops.torture.crowd import wire
from ops.torture.crowd.crowd import Crowd
from ops.torture.crowd.story import Place
from ops.trial import make_trial

SIZES = (0, 1, 125, 126, 65_535)
NO_EXTENSIONS: list[Extension] = []


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_what_a_server_frames_is_taken_as_it_was_framed(piece: int) -> None:
    """In pieces of any size, each whole frame once and in order; what is not whole waits for the rest."""
    frames = [Frame(Opcode.BINARY, bytes(size)) for size in (*SIZES, 65_536)] + [Frame(Opcode.PING, b"8 bytes.")]
    data = b"".join(frame.serialize(mask=False, extensions=NO_EXTENSIONS) for frame in frames)
    buffer, taken = bytearray(), []
    for at in range(0, len(data), piece):
        buffer += data[at : at + piece]
        taken += wire.take_frames(buffer)
    assert [(first, payload) for first, payload in taken] == [
        (0x80 | frame.opcode, bytes(frame.data)) for frame in frames
    ]
    assert not buffer


@pytest.mark.parametrize("size", SIZES)
def test_a_server_reads_what_was_framed(size: int) -> None:
    """Each size that a client of a crowd may send is a masked frame by the rules of RFC 6455."""
    server = Protocol(Side.SERVER, state=OPEN)
    payload = bytes(n % 251 for n in range(size))
    server.receive_data(wire.framed(wire.BINARY, payload))
    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, bytes(frame.data)) == (Opcode.BINARY, payload)


def test_the_answer_to_an_upgrade_ends_where_frames_begin() -> None:
    """Half a head is none; of a whole one the status is told, and what came with it stays."""
    buffer = bytearray(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
    assert wire.take_status(buffer) is None
    buffer += b"\r\n\x82\x00"
    assert wire.take_status(buffer) == wire.SWITCHING
    assert wire.take_frames(buffer) == [(wire.BINARY, b"")]


@pytest.mark.timeout(120)
async def test_who_was_not_told_their_room_to_its_end_is_counted(tmp_path: Path) -> None:
    """Up to a place that was given out all have read in a moment; up to one that was not, nobody has, however long."""
    trial = await make_trial(tmp_path, f"sqlite:///{tmp_path / 'e.db'}", rooms=1, per_room=3)
    async with Cluster(1, trial.environ, tmp_path) as cluster:
        places = [Place(cluster.ports[0], who.account, who.token, trial.rooms[0]) for who in trial.members[0]]
        async with Crowd(places, 7) as crowd:
            assert await crowd.until_at(1, 0.0) == 3
            crowd.come()
            assert await crowd.until_live(3, 30.0)
            said = await say(cluster.urls[0], trial.members[0][0].token, trial.rooms[0])
            assert await crowd.until_at(said, 30.0) == 0
            assert await crowd.until_at(said + 1, 0.5) == 3
            assert [list(story.seqs) for story in await crowd.tell()] == [[said]] * 3


async def say(url: str, token: str, room: str) -> int:
    """Send one message; returns its place."""
    async with Client(url, token=token) as client:
        return (await (await client.join(room)).send(CLEAN[0])).seq
