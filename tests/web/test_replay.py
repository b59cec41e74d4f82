"""The replay page: what was known of a case at an instant, for leads on their own side of the wall."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from sqlalchemy import select, update

from moderation.replay import Happened, instants
from moderation.types import Role, RoomKind
from server.actions.escalation import climb
from server.actions.messages import edit_message
from server.actions.replaying import Replay, replay_case
from server.actions.rooms import make_room
from server.auth.requester import Requester
from server.errors import NotFound, Refused
from server.ids import new_id
from server.protocol.frames import Edit
from server.store.schema import data_key, review_case
from server.store.unit import Tx
from tests import harness
from tests.path.scene import CLEAN, URGENT, Scene, belong, client_id, on_shift
from tests.web.conftest import Site
from tests.web.reading import read


class Incident:
    """A case from a message to its closing, with the lead who looks back at it."""

    def __init__(self, site: Site, scene: Scene, lead: Requester, case: str) -> None:
        self.site, self.scene, self.lead, self.case = site, scene, lead, case

    async def replay(self, who: Requester | None = None) -> Replay:
        return await replay_case(self.site.services, who or self.lead, self.case, new_id())


@pytest.fixture
async def incident(site: Site) -> Incident:
    services = site.services
    fern = await harness.member(services, "Fern")
    sam = (await harness.sign_in(services, harness.origin(), "Sam", harness.PASSWORD)).requester
    await on_shift(services, sam)
    entered = await harness.staff_signed_in(services, "Lena", Role.MODERATOR_LEAD)
    site.tokens["Lena"] = entered.token
    scene = Scene(services, f"room:{site.room}", fern, fern, sam, [])
    await belong(services, scene.feed, fern)
    said = await scene.say(fern, URGENT)
    await climb(services)
    (case,) = await scene.queue()
    await scene.act(sam, case, "claim")
    edit = Edit(client_id=client_id(), feed=scene.feed, message=said.message, body=f"{CLEAN}, sorry")
    await edit_message(services, fern, edit)
    await scene.act(sam, case, "reply", body="Hello Fern, this is Sam. I have read what you wrote.")
    await scene.act(sam, case, "release_message", message=said.message)
    await scene.act(sam, case, "close", outcome="supported", body="Talked for a while.")
    return Incident(site, scene, entered.requester, case.id)


def moment_of(replay: Replay, act: str) -> str:
    line = next(event for event in replay.events if isinstance(event, Happened) and event.act == act)
    return line.at.isoformat()


async def test_the_page_shows_what_was_known_at_the_end_and_before(incident: Incident) -> None:
    """At the end: closed, the edited text, the answer, who was called. Before it was taken: none of that."""
    replay = await incident.replay()
    address = f"/staff/cases/{incident.case}/replay"
    async with incident.site.client("Lena") as lena:
        last = read((await lena.get(address)).text)
        early = read((await lena.get(address, params={"at": moment_of(replay, "rung")})).text)
    assert f"{CLEAN}, sorry" in last.text
    assert "this is Sam. I have read" in last.text
    assert "Talked for a while." in last.text
    assert "Spoke with the person and they feel supported, Sam" in last.text
    assert "Made, not answered" not in last.text
    assert URGENT not in last.text
    shown = early.text.split("Everything that happened")[0]
    assert URGENT in shown
    assert "Open, and nobody had taken it" in shown
    assert "People were being called" in shown
    assert "this is Sam" not in shown
    assert "Talked for a while." not in shown
    assert "supported" not in shown
    verdict = next(e for e in replay.events if getattr(e, "screened", None)).screened  # type: ignore[union-attr]
    assert f"lists {verdict.list_version}, policy {verdict.policy_version}" in shown


async def test_every_instant_of_the_page_opens(incident: Incident) -> None:
    """Each time in the list leads to the page as of then."""
    replay = await incident.replay()
    async with incident.site.client("Lena") as lena:
        page = (await lena.get(f"/staff/cases/{incident.case}/replay")).text
        links = {given["href"] for tag, given in read(page).tags if tag == "a" and "?at=" in given.get("href", "")}
        assert len(links) >= len(instants(replay.events))
        for link in sorted(links)[:4]:
            assert (await lena.get(link)).status_code == HTTPStatus.OK
        for wrong in ("yesterday", "2026-11-24T03:00:00"):
            refused = await lena.get(f"/staff/cases/{incident.case}/replay", params={"at": wrong})
            assert refused.status_code == HTTPStatus.BAD_REQUEST


async def test_only_leads_replay(incident: Incident) -> None:
    """A moderator and a clinician are refused, and find no link on the case's page."""
    for name in ("Sam", "Dr Osei"):
        async with incident.site.client(name) as client:
            assert (await client.get(f"/staff/cases/{incident.case}/replay")).status_code == HTTPStatus.FORBIDDEN
            assert "/replay" not in (await client.get(f"/staff/cases/{incident.case}")).text
    async with incident.site.client("Lena") as lena:
        assert f"/staff/cases/{incident.case}/replay" in (await lena.get(f"/staff/cases/{incident.case}")).text
    with pytest.raises(Refused):
        await incident.replay(incident.scene.sam)


async def test_the_wall_stands_in_a_replay(incident: Incident) -> None:
    """A therapy matter is replayed by the clinical lead and is not there for the moderators' lead."""
    services = incident.site.services
    wren = await harness.member(services, "Wren")
    feed = await make_room(services, RoomKind.THERAPY, "Session", "1:1", wren.account)
    clinical = await harness.staff(services, "Lea", Role.CLINICAL_LEAD)
    await incident.scene.say(wren, URGENT, feed=feed)
    query = select(review_case.c.id).where(review_case.c.side == "care")
    care = str(await services.store.read(lambda conn: conn.execute(query).scalar_one()))
    with pytest.raises(NotFound):
        await replay_case(services, incident.lead, care, new_id())
    assert (await replay_case(services, clinical, care, new_id())).bodies
    read_by = [actor for actor, subject, _ in await harness.audited(services, "case_replayed") if subject == care]
    assert read_by == [clinical.account]


async def test_a_message_that_was_erased_leaves_no_words(incident: Incident) -> None:
    """Where the key is gone the replay still says what happened, and no text."""
    services = incident.site.services
    assert any((await incident.replay()).bodies.values())
    keys = await services.store.read(lambda conn: list(conn.execute(select(data_key.c.id)).scalars()))

    def destroy(tx: Tx) -> None:
        tx.conn.execute(update(data_key).values(wrapped=None))

    await services.store.write(destroy)
    for key in keys:
        services.store.keys.forget(key)
    replay = await incident.replay()
    assert replay.bodies
    assert set(replay.bodies.values()) == {None}
    async with incident.site.client("Lena") as lena:
        page = (await lena.get(f"/staff/cases/{incident.case}/replay")).text
    assert CLEAN not in page
