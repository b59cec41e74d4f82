"""A word change is a clinical change: proposed, checked, signed by two, in force everywhere, undone in one step."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Row, select, update

from moderation.types import Disposition, Role, RoomKind, TextKind, Verdict
from server.actions.services import Services
from server.actions.wordlists import proposals, running, trials
from server.actions.wordlists.documents import Change, Kind, digest, pack, shipped, unpack
from server.auth.requester import Requester
from server.errors import BadRequest, Conflict, NotFound, Refused
from server.ids import new_id
from server.store import wordlists, wordtrials
from server.store.schema import message, word_activation, word_version
from server.store.unit import Tx
from server.store.wordlists import FIRST, NewVersion, Origin, State
from server.store.wordtrials import TrialKind, TrialState
from tests import harness
from tests.path.scene import client_id, make_scene
from watchwords.lexicon import Lexicon
from watchwords.matcher import Matcher

# Lists are compiled many times, and a back-test waits for its process to come up.
pytestmark = pytest.mark.timeout(120)

WORDS = "feeling like a squashed turnip"
ENTRY = f"""
id = "c-turnip"
category = "C"
level = 2
phrases = ["squashed turnip"]
reason = "How somebody in this room says that they are at their end."
source = "Written for this test"
match = ["{WORDS}"]
"""
HEAD = """[list]
name = "overdose"
version = 2
owner = "Clinical lead"
review_date = 2027-05-31

"""
ADD = Change(Kind.ADD, "crisis", text=ENTRY)


@dataclass
class Desk:
    """The people who look after the lists, and short ways to say what they do."""

    services: Services
    moderator: Requester
    lead: Requester
    clinical: Requester

    async def propose(self, who: Requester | None = None, change: Change = ADD) -> str:
        return await proposals.propose(
            self.services, who or self.moderator, client_id(), change, "Heard in rooms.", new_id()
        )

    async def row(self, version: str) -> Row[Any]:
        row = await self.services.store.read(lambda conn: wordlists.version_by_id(conn, version))
        assert row is not None
        return row

    async def sign(self, who: Requester, version: str, name: str | None = None) -> bool:
        row = await self.row(version)
        return await proposals.sign(self.services, who, client_id(), version, row.version, name or row.digest, new_id())

    async def sign_both(self, version: str) -> None:
        assert not await self.sign(self.lead, version)
        assert await self.sign(self.clinical, version)

    async def revise(self, who: Requester, version: str, change: Change | None) -> None:
        row = await self.row(version)
        await proposals.revise(self.services, who, client_id(), version, row.version, change, new_id())

    async def roll_back(self, who: Requester, version: str, reason: str = "Too many alarms.") -> None:
        live = await self.services.store.read(wordlists.live)
        assert live is not None
        await proposals.roll_back(self.services, who, client_id(), version, live.n, reason, new_id())

    async def try_on(self, kind: TrialKind, version: str, span: int = 1) -> str:
        row = await self.row(version)
        return await trials.begin(self.services, self.lead, client_id(), version, row.version, kind, span, new_id())

    async def trial(self, trial: str) -> Row[Any]:
        row = await self.services.store.read(lambda conn: wordtrials.trial_by_id(conn, trial))
        assert row is not None
        return row

    async def shadow_reads(self) -> None:
        """Let the shadow read all that was said: what was told is told before the next write is answered."""
        await self.services.store.write(lambda tx: None)
        await self.services.lists.shadow.read_on()

    async def live_rows(self) -> list[tuple[int, str, str]]:
        query = select(word_activation.c.n, word_activation.c.act, word_activation.c.word_version)
        rows = await self.services.store.read(lambda conn: conn.execute(query.order_by(word_activation.c.n)).all())
        return [(row.n, row.act, row.word_version) for row in rows]


@pytest.fixture
async def desk(services: Services) -> Desk:
    return await desk_of(services)


async def desk_of(services: Services) -> Desk:
    await services.lists.start()
    return Desk(
        services,
        await harness.staff(services, "Ben", Role.MODERATOR),
        await harness.staff(services, "Mo", Role.MODERATOR_LEAD),
        await harness.staff(services, "Lea", Role.CLINICAL_LEAD),
    )


def found(services: Services, text: str = WORDS) -> Verdict:
    return services.screening.screen(text, TextKind.MESSAGE, RoomKind.COMMUNITY, Role.MEMBER)


def ids(services: Services, text: str = WORDS) -> set[str]:
    return {finding.entry_id for finding in found(services, text).findings}


# --- versions ---


async def test_the_first_start_brings_the_shipped_lists_into_force(desk: Desk) -> None:
    """Version 1 is what comes with the program, whole and under its own digest; a second start adds nothing."""
    await desk.services.lists.start()
    live = desk.services.lists.live
    assert live is not None
    assert (live.n, live.version, live.digest) == (1, FIRST, digest(shipped()))
    content = await desk.services.store.read(lambda conn: wordlists.content(conn, FIRST))
    assert unpack(content) == dict(shipped())
    assert await desk.live_rows() == [(1, "start", FIRST)]
    assert live.list_version == found(desk.services).list_version.partition("+")[0]


async def test_a_newer_programs_lists_are_only_proposed(desk: Desk) -> None:
    """What a service runs is not replaced by a release: its lists arrive as a proposal, once."""
    await desk.services.store.write(
        lambda tx: tx.conn.execute(update(word_version).values(digest="0" * 64, state=State.LIVE))
    )
    for _ in range(2):
        await desk.services.lists._import()
    rows = await desk.services.store.read(lambda conn: wordlists.versions(conn, [State.PROPOSED], 9))
    assert [(row.origin, row.base, row.digest) for row in rows] == [(Origin.RELEASE, FIRST, digest(shipped()))]
    assert await desk.live_rows() == [(1, "start", FIRST)]


async def test_stored_lists_that_do_not_load_leave_the_shipped_ones_and_raise_an_alarm(
    desk: Desk,
) -> None:
    """A process that can not read the lists in force screens with those it came with, and says so to staff."""
    broken = {"crisis": "this is no list"}

    def put(tx: Tx) -> None:
        new = NewVersion(Origin.PROPOSAL, FIRST, "", pack(broken), digest(broken), "w0", "x", None)
        wordlists.activate(tx, wordlists.insert_version(tx, new), "signed", None, "x")

    await desk.services.store.write(put)
    await desk.services.lists.look()
    assert desk.services.lists.troubles == ("lists_not_loaded",)
    assert found(desk.services).list_version.partition("+")[0] == Matcher.load().version
    assert [subject for _, subject, _ in await harness.audited(desk.services, "words_lists_not_loaded")]
    await desk.roll_back(desk.lead, FIRST)
    assert desk.services.lists.troubles == ()


# --- proposals ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(Kind.ADD, "crisis", text=ENTRY.replace("level = 2", "level = 7")), "level must be 0, 1, 2 or 3"),
        (Change(Kind.ADD, "crisis", text=ENTRY.replace(WORDS, "something else")), "match example 1 is not found"),
        (
            Change(Kind.ADD, "crisis", text=ENTRY.replace("squashed turnip", "of the")),
            "that need nobody; narrow the entry",
        ),
        (Change(Kind.ADD, "crisis", text=ENTRY + "x = ["), "not valid TOML"),
        (Change(Kind.ADD, "nowhere", text=ENTRY), "no list called nowhere"),
        (Change(Kind.REMOVE, "crisis", entry="c-nothing"), "no entry 'c-nothing'"),
        (Change(Kind.DOCUMENT, "suicide", text=shipped()["idioms"].replace('"idioms"', '"suicide"')), "also at"),
        (
            Change(Kind.DOCUMENT, "overdose", text=f"{HEAD}[[entry]]{ENTRY}"),
            "no longer find what they must",
        ),
    ],
    ids=["level", "example", "broad", "toml", "list", "entry", "twice", "canary"],
)
async def test_a_change_that_would_harm_is_refused_with_its_place(desk: Desk, change: Change, words: str) -> None:
    """A bad entry, an over-broad one or the loss of a canary is refused with advice, and nothing is kept."""
    with pytest.raises(BadRequest) as caught:
        await desk.propose(change=change)
    assert words in caught.value.text
    assert "/" not in caught.value.text.partition(":")[0]
    rows = await desk.services.store.read(lambda conn: wordlists.versions(conn, list(State), 9))
    assert [row.id for row in rows] == [FIRST]
    assert await harness.audited(desk.services, "words_proposed") == []


async def test_a_proposal_changes_nothing_that_runs(desk: Desk) -> None:
    """Until it is signed a proposal is a row; who may not work on cases may not even propose."""
    version = await desk.propose()
    assert (await desk.row(version)).state == State.PROPOSED
    assert ids(desk.services) == set()
    robin = await harness.member(desk.services, "Robin")
    with pytest.raises(Refused):
        await desk.propose(robin)


async def test_the_same_command_proposes_once(desk: Desk) -> None:
    """A form that is sent twice makes one proposal."""
    name = client_id()
    made = [
        await proposals.propose(desk.services, desk.moderator, name, ADD, "Heard in rooms.", new_id()) for _ in range(2)
    ]
    assert made[0] == made[1]


# --- two signatures ---


async def test_two_people_sign_and_then_it_is_in_force(desk: Desk) -> None:
    """The second of the two signatures brings the lists into force at once; each step is an audit row."""
    version = await desk.propose()
    assert not await desk.sign(desk.clinical, version)
    assert ids(desk.services) == set()
    assert await desk.sign(desk.lead, version)
    assert ids(desk.services) == {"c-turnip"}
    row = await desk.row(version)
    assert found(desk.services).list_version.partition("+")[0] == row.list_version
    assert (row.state, (await desk.row(FIRST)).state) == (State.LIVE, State.RETIRED)
    assert await desk.live_rows() == [(1, "start", FIRST), (2, "signed", version)]
    signed = await harness.audited(desk.services, "words_signed")
    assert signed == [(who.account, version, row.digest[:40]) for who in (desk.clinical, desk.lead)]
    assert [subject for _, subject, _ in await harness.audited(desk.services, "words_live")] == [FIRST, version]


async def test_one_signature_is_not_enough(desk: Desk) -> None:
    """Whoever signs alone changes nothing, in whichever of the two roles."""
    for who in (desk.lead, desk.clinical):
        version = await desk.propose(
            change=Change(Kind.ADD, "crisis", text=ENTRY.replace("c-turnip", f"c-{who.name.lower()}"))
        )
        assert not await desk.sign(who, version)
        assert (await desk.row(version)).state == State.PROPOSED
    assert ids(desk.services) == set()
    assert await desk.live_rows() == [(1, "start", FIRST)]


async def test_nobody_signs_twice_not_even_in_another_role(desk: Desk) -> None:
    """One person is one signature, whatever their role has become since; nor do two people of one role make two."""
    version = await desk.propose(desk.lead)
    await desk.sign(desk.lead, version)
    with pytest.raises(Refused):
        await desk.sign(desk.lead, version)
    another = await harness.staff(desk.services, "Max", Role.MODERATOR_LEAD)
    with pytest.raises(Refused):
        await desk.sign(another, version)
    changed = Requester(desk.lead.account, desk.lead.name, Role.CLINICAL_LEAD, desk.lead.session)
    with pytest.raises(Refused):
        await desk.sign(changed, version)
    with pytest.raises(Refused):
        await desk.sign(desk.moderator, version)
    assert (await desk.row(version)).state == State.PROPOSED


async def test_a_change_after_a_signature_voids_it(desk: Desk) -> None:
    """A signature names the content it was given for; of other words it says nothing."""
    version = await desk.propose()
    first = (await desk.row(version)).digest
    await desk.sign(desk.lead, version)
    await desk.revise(desk.moderator, version, Change(Kind.ADD, "crisis", text=ENTRY.replace("level = 2", "level = 3")))
    assert not await desk.sign(desk.clinical, version)
    assert ids(desk.services) == set()
    with pytest.raises((Conflict, ValueError)):
        await desk.sign(desk.lead, version, first)
    assert await desk.sign(desk.lead, version)
    assert ids(desk.services) == {"c-turnip"}


async def test_a_proposal_written_for_older_lists_is_brought_up_to_date_first(desk: Desk) -> None:
    """Signed as it is, a late proposal would undo what came into force meanwhile; asked again, it keeps both."""
    late = await desk.propose()
    other = ENTRY.replace("c-turnip", "c-beetroot").replace("turnip", "beetroot")
    await desk.sign_both(await desk.propose(change=Change(Kind.ADD, "crisis", text=other)))
    with pytest.raises(Conflict, match="Bring it up to date"):
        await desk.sign(desk.lead, late)
    await desk.revise(desk.lead, late, None)
    await desk.sign_both(late)
    assert ids(desk.services, "a squashed turnip and a squashed beetroot") == {"c-turnip", "c-beetroot"}


async def test_an_act_on_what_has_changed_is_told_so(desk: Desk) -> None:
    """Every act is compared and set on the version's number; a decided proposal is decided."""
    version = await desk.propose()
    row = await desk.row(version)
    await desk.sign(desk.lead, version)
    with pytest.raises(Conflict):
        await proposals.refuse(desk.services, desk.clinical, client_id(), version, row.version, new_id())
    row = await desk.row(version)
    await proposals.refuse(desk.services, desk.clinical, client_id(), version, row.version, new_id())
    assert (await desk.row(version)).state == State.REFUSED
    with pytest.raises(Refused):
        await desk.sign(desk.clinical, version)


async def test_only_a_lead_or_its_author_ends_a_proposal(desk: Desk) -> None:
    """A moderator takes back what they proposed, and nothing of anybody else's."""
    version = await desk.propose(desk.clinical)
    row = await desk.row(version)
    with pytest.raises(Refused):
        await proposals.refuse(desk.services, desk.moderator, client_id(), version, row.version, new_id())
    own = await desk.propose(change=Change(Kind.ADD, "crisis", text=ENTRY.replace("level = 2", "level = 1")))
    await proposals.refuse(desk.services, desk.moderator, client_id(), own, 1, new_id())
    assert (await desk.row(own)).state == State.REFUSED


# --- rolling back ---


async def test_one_person_goes_back_in_one_step(desk: Desk) -> None:
    """Any lists that were in force are in force again by one act of one lead, with a reason and an audit row."""
    version = await desk.propose()
    await desk.sign_both(version)
    with pytest.raises(BadRequest):
        await desk.roll_back(desk.lead, FIRST, reason=" ")
    with pytest.raises(Refused):
        await desk.roll_back(desk.moderator, FIRST)
    await desk.roll_back(desk.lead, FIRST)
    assert ids(desk.services) == set()
    await desk.roll_back(desk.clinical, version, "It was not the lists.")
    assert ids(desk.services) == {"c-turnip"}
    assert [act for _, act, _ in await desk.live_rows()] == ["start", "signed", "rollback", "rollback"]
    rows = await harness.audited(desk.services, "words_rolled_back")
    assert [(actor, subject) for actor, subject, _ in rows] == [
        (desk.lead.account, FIRST), (desk.clinical.account, version),
    ]  # fmt: skip


async def test_nothing_is_gone_back_to_that_was_never_in_force(desk: Desk) -> None:
    """A proposal is no earlier version: it needs its two signatures."""
    version = await desk.propose()
    with pytest.raises(Refused):
        await desk.roll_back(desk.lead, version)
    with pytest.raises(Refused):
        await desk.roll_back(desk.lead, FIRST)


async def test_lists_that_miss_a_canary_come_into_force_by_no_way(desk: Desk) -> None:
    """What a release brought, or was in force once, is held to the canaries of today before it is signed or gone to."""
    bare = {"crisis": f"{HEAD.replace('overdose', 'crisis')}[[entry]]{ENTRY}"}

    def put(tx: Tx) -> str:
        new = NewVersion(Origin.RELEASE, FIRST, "", pack(bare), digest(bare), "w0", "x", None)
        return wordlists.insert_version(tx, new)

    version = await desk.services.store.write(put)
    with pytest.raises(BadRequest, match="must always find"):
        await desk.sign(desk.lead, version)
    await desk.services.store.write(lambda tx: wordlists.activate(tx, version, "signed", None, "x"))
    await desk.services.store.write(lambda tx: wordlists.activate(tx, FIRST, "rollback", None, "x"))
    with pytest.raises(BadRequest, match="must always find"):
        await desk.roll_back(desk.lead, version)


async def test_a_finding_keeps_the_version_of_its_lists(desk: Desk) -> None:
    """A message says by which lists it was read, also when others are in force."""
    scene = await make_scene(desk.services)
    version = await desk.propose()
    await desk.sign_both(version)
    await scene.say(scene.robin, WORDS)
    await desk.roll_back(desk.lead, FIRST)
    page = await scene.look(desk.lead, (await scene.queue(desk.lead))[0].id)
    assert page.case.level == 2
    row = await desk.row(version)
    assert row.list_version != found(desk.services).list_version.partition("+")[0]
    verdicts = await desk.services.store.read(_verdicts)
    assert [verdict.list_version.partition("+")[0] for verdict in verdicts] == [row.list_version]


def _verdicts(conn: Connection) -> list[Verdict]:
    return [Verdict.from_json(text) for text in conn.execute(select(message.c.verdict)).scalars()]


# --- trials ---


async def test_a_shadow_counts_what_it_would_have_found_and_alerts_nobody(desk: Desk) -> None:
    """What is said meanwhile is read with both lists; ids and levels are kept, and no case is opened."""
    scene = await make_scene(desk.services)
    version = await desk.propose()
    trial = await desk.try_on(TrialKind.SHADOW, version, span=2)
    said = await scene.say(scene.robin, WORDS)
    await scene.say(scene.wren, "I baked bread today")
    await desk.shadow_reads()
    fires = await desk.services.store.read(lambda conn: wordtrials.moved(conn, trial, 9))
    assert [(fire.ref, fire.live, fire.proposed) for fire in fires] == [(said.message, 0, 2)]
    row = await desk.trial(trial)
    assert (row.done, row.unreadable, row.state) == (2, 0, TrialState.RUNNING)
    assert await scene.queue(desk.lead) == []
    await harness.fast_forward(desk.services, timedelta(hours=2))
    await desk.services.lists.look()
    assert (await desk.trial(trial)).state == TrialState.DONE
    await scene.say(scene.robin, WORDS)
    await desk.shadow_reads()
    assert (await desk.trial(trial)).done == 2


async def test_what_a_shadow_could_not_read_is_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More texts than a shadow holds are not waited for, and not forgotten either: they count as not tried."""
    monkeypatch.setattr("server.actions.wordlists.shadow.WAITING_MOST", 1)
    scene = await make_scene(desk.services)
    trial = await desk.try_on(TrialKind.SHADOW, await desk.propose())
    for _ in range(3):
        await scene.say(scene.robin, WORDS)
    await desk.shadow_reads()
    row = await desk.trial(trial)
    assert (row.done, row.unreadable) == (1, 2)


async def test_one_proposal_at_a_time_is_in_shadow(desk: Desk) -> None:
    """A second shadow waits until the first is over; a change of the proposal ends its own."""
    first, second = await desk.propose(), await desk.propose()
    trial = await desk.try_on(TrialKind.SHADOW, first)
    with pytest.raises(Conflict):
        await desk.try_on(TrialKind.SHADOW, second)
    await desk.revise(desk.lead, first, Change(Kind.ADD, "crisis", text=ENTRY.replace("level = 2", "level = 3")))
    assert (await desk.trial(trial)).state == TrialState.CANCELLED
    await desk.try_on(TrialKind.SHADOW, second)


async def test_a_back_test_on_stored_messages_counts_new_and_lost_flags(desk: Desk) -> None:
    """Stored messages of the last days are read in a process of their own; what can not be opened is counted."""
    scene = await make_scene(desk.services)
    old = await scene.say(scene.robin, WORDS)
    await harness.fast_forward(desk.services, timedelta(days=40))
    kept = await scene.say(scene.robin, WORDS)
    lost = await scene.say(scene.wren, WORDS)
    await desk.services.store.write(
        lambda tx: tx.conn.execute(update(message).where(message.c.id == lost.message).values(body=b"\x01damaged"))
    )
    trial = await desk.try_on(TrialKind.STORED, await desk.propose(), span=30)
    await trials.run_back_test(desk.services, trial)
    row = await desk.trial(trial)
    assert (row.state, row.done, row.total, row.unreadable) == (TrialState.DONE, 1, 2, 1)
    flags = await desk.services.store.read(lambda conn: wordtrials.flags(conn, trial))
    assert [tuple(flag) for flag in flags] == [("C", 0, 2, 1)]
    asked = await harness.audited(desk.services, "words_trial")
    assert asked == [(desk.lead.account, trial, "stored 30")]
    assert await trials.show_text(desk.services, desk.clinical, trial, kept.message, new_id()) == WORDS
    assert await harness.audited(desk.services, "words_text_read") == [
        (desk.clinical.account, kept.message, "word_trial")
    ]
    with pytest.raises(NotFound):
        await trials.show_text(desk.services, desk.clinical, trial, old.message, new_id())
    with pytest.raises(Refused):
        await trials.show_text(desk.services, desk.moderator, trial, kept.message, new_id())


async def test_nobody_reads_therapy_by_way_of_a_back_test(desk: Desk) -> None:
    """A text of a therapy room is counted, and shown to neither of the leads."""
    scene = await make_scene(desk.services, RoomKind.THERAPY)
    said = await scene.say(scene.robin, WORDS)
    trial = await desk.try_on(TrialKind.STORED, await desk.propose(), span=30)
    await trials.run_back_test(desk.services, trial)
    assert (await desk.trial(trial)).done == 1
    for who in (desk.lead, desk.clinical):
        with pytest.raises(NotFound):
            await trials.show_text(desk.services, who, trial, said.message, new_id())
    assert await harness.audited(desk.services, "words_text_read") == []


async def test_a_back_test_opens_bodies_for_a_limited_time_only(desk: Desk) -> None:
    """After two hours no further body is opened, whatever is left to read."""
    scene = await make_scene(desk.services)
    await scene.say(scene.robin, WORDS)
    trial = await desk.try_on(TrialKind.STORED, await desk.propose(), span=30)
    await harness.fast_forward(desk.services, timedelta(hours=2))
    await trials.run_back_test(desk.services, trial)
    assert ((await desk.trial(trial)).state, (await desk.trial(trial)).done) == (TrialState.OVER_TIME, 0)


async def test_a_back_test_that_is_stopped_goes_no_further(desk: Desk) -> None:
    """Stopping is a row: whatever process carries the test out stops at its next page."""
    trial = await desk.try_on(TrialKind.CORPUS, await desk.propose())
    await trials.stop(desk.services, desk.lead, trial, new_id())
    await trials.run_back_test(desk.services, trial)
    row = await desk.trial(trial)
    assert (row.state, row.done) == (TrialState.CANCELLED, 0)


async def test_a_back_test_on_the_corpus_counts_what_would_be_lost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every labelled message is tried; an entry that is to go shows as flags that are lost."""
    await desk.sign_both(await desk.propose())
    hit = replace(trials.corpus()[0], id="x-1", text=WORDS)
    monkeypatch.setattr(trials, "corpus", lambda: (hit, replace(hit, id="x-2", text="I baked bread today")))
    trial = await desk.try_on(TrialKind.CORPUS, await desk.propose(change=Change(Kind.REMOVE, "crisis", "c-turnip")))
    await trials.run_back_test(desk.services, trial)
    row = await desk.trial(trial)
    assert (row.state, row.done, row.total) == (TrialState.DONE, 2, 2)
    entries = await desk.services.store.read(lambda conn: wordtrials.entries(conn, trial))
    assert [tuple(entry) for entry in entries] == [("c-turnip", "C", 2, 0, 1)]
    assert await trials.show_text(desk.services, desk.lead, trial, "x-1", new_id()) == WORDS


async def test_the_job_carries_out_what_was_asked_for(edge: harness.Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a back-test waits for nothing: the process that does the jobs begins it by itself."""
    desk = await desk_of(edge.services)
    monkeypatch.setattr(trials, "corpus", lambda: ())
    trial = await desk.try_on(TrialKind.CORPUS, await desk.propose())
    async with asyncio.timeout(100):
        state = TrialState.ASKED
        while state in wordtrials.OPEN:
            state = (await desk.trial(trial)).state
    assert state == TrialState.DONE


# --- canaries ---


async def test_a_canary_that_is_missed_makes_every_text_unchecked(desk: Desk) -> None:
    """Lists that find nothing are noticed within a minute: alarm, and rooms of many hold until they are back."""
    services = desk.services
    assert await services.lists.try_canaries()
    assert found(services, "I baked bread").disposition is Disposition.PUBLISH
    whole = services.screening.matcher
    one = tuple(entry for entry in whole.lexicon.entries if entry.level == 0)
    services.screening.use(Matcher(Lexicon((), one, "w0")))
    assert not await services.lists.try_canaries()
    verdict = found(services, "I baked bread")
    assert (verdict.complete, verdict.disposition) == (False, Disposition.HOLD)
    assert services.lists.troubles == (running.CANARY_MISSED,)
    services.screening.use(whole)
    assert await services.lists.try_canaries()
    assert found(services, "I baked bread").disposition is Disposition.PUBLISH
    for act in ("words_canary_missed", "words_canary_missed_over"):
        assert len(await harness.audited(services, act)) == 1
