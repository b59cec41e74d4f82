"""The table of permissions: complete, and as strict as it says."""

from __future__ import annotations

import itertools
import json
import typing

import msgspec
import pytest

from moderation.cases import Act, CaseState, allowed_acts
from moderation.types import Role, RoomKind
from server.auth.permissions import POLICY, FeedKind, may_follow, require
from server.auth.requester import Requester
from server.errors import NotSignedIn, Refused
from server.protocol.codec import Codec
from server.protocol.codes import ProtocolError
from server.protocol.frames import AnyCommand, Send

COMMANDS = typing.get_args(AnyCommand)


def tag(command: type[msgspec.Struct]) -> str:
    return str(command.__struct_config__.tag)


def someone(role: Role) -> Requester:
    return Requester("A", "amber", role, "S")


@pytest.mark.parametrize("command", COMMANDS, ids=tag)
def test_every_frame_has_an_entry(command: type[msgspec.Struct]) -> None:
    """A frame type without a rule fails the build (reliability 3.2, item 12)."""
    assert f"frame.{tag(command)}" in POLICY


def test_no_entry_is_for_a_frame_that_does_not_exist() -> None:
    """The table names no frame that is not in the contract."""
    known = {f"frame.{tag(command)}" for command in COMMANDS}
    assert {name for name in POLICY if name.startswith("frame.")} == known


@pytest.mark.parametrize(("operation", "role"), list(itertools.product(POLICY, [None, *Role])))
def test_every_role_against_every_operation(operation: str, role: Role | None) -> None:
    """`require` lets through exactly whom the table names; without a session it says so (item 12)."""
    rule, who = POLICY[operation], None if role is None else someone(role)
    if rule.roles is None or role in rule.roles:
        assert require(who, operation) is rule
    else:
        with pytest.raises(NotSignedIn if role is None else Refused):
            require(who, operation)


def test_an_operation_without_an_entry_is_refused() -> None:
    """What the table does not know nobody may do."""
    with pytest.raises(Refused):
        require(someone(Role.ADMIN), "frame.grant_me_everything")


CHANGING = ("sign_out", "sign_out_everywhere", "ticket", "commands", "help", "send", "edit", "remove", "report", "act")


def test_whatever_changes_something_over_http_needs_the_form_token() -> None:
    """Every change in a session needs its form token (3.4, item 29); without one there is no token to ask for."""
    assert all(POLICY[f"route.{name}"].csrf for name in CHANGING)
    assert all(rule.csrf for name, rule in POLICY.items() if name.startswith("admin."))
    assert not any(rule.csrf for rule in POLICY.values() if rule.roles is None)


def test_no_frame_but_the_public_pages_works_without_a_session() -> None:
    """Nothing on the socket, no room and nothing of the console is open to somebody who has not signed in."""
    public = {name for name, rule in POLICY.items() if rule.roles is None}
    assert all(name.startswith("route.") for name in public)
    assert not public & {
        f"route.{name}" for name in (*CHANGING, "rooms", "room", "message", "staff", "console", "case")
    }


def test_members_reach_nothing_of_the_team() -> None:
    """A member can ask for help and report, and can open no case."""
    allowed = {name for name, rule in POLICY.items() if rule.roles is not None and Role.MEMBER in rule.roles}
    assert {"frame.help", "frame.report", "frame.send"} <= allowed
    assert not allowed & {"frame.act", "frame.open_case", "route.console", "route.case", "route.act"}
    assert not {name for name in allowed if name.startswith("admin.")}


def test_everybody_can_ask_for_help() -> None:
    """No role is without the button that calls somebody."""
    assert POLICY["frame.help"].roles == frozenset(Role)


FOLLOWS = {
    FeedKind.COMMUNITY: {Role.MEMBER, Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICIAN, Role.CLINICAL_LEAD},
    FeedKind.GROUP: {
        Role.MEMBER,
        Role.FACILITATOR,
        Role.MODERATOR,
        Role.MODERATOR_LEAD,
        Role.CLINICIAN,
        Role.CLINICAL_LEAD,
    },
    FeedKind.THERAPY: {Role.MEMBER, Role.THERAPIST},
    FeedKind.SUPPORT: {Role.MEMBER, Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICIAN, Role.CLINICAL_LEAD},
    FeedKind.INBOX: set(Role),
    FeedKind.STAFF_MODERATION: {Role.MODERATOR, Role.MODERATOR_LEAD, Role.CLINICAL_LEAD},
    FeedKind.STAFF_CLINICAL: {Role.CLINICIAN, Role.CLINICAL_LEAD},
    FeedKind.STAFF_LEAD: {Role.CLINICAL_LEAD},
}


@pytest.mark.parametrize(("kind", "role"), list(itertools.product(FeedKind, Role)))
def test_every_role_against_every_kind_of_feed(kind: FeedKind, role: Role) -> None:
    """Community staff never follow therapy, therapists never follow the community's moderation (3.2, item 15)."""
    assert may_follow(role, kind) is (role in FOLLOWS[kind])


@pytest.mark.parametrize("kind", RoomKind)
def test_every_kind_of_room_is_a_kind_of_feed(kind: RoomKind) -> None:
    """A new kind of room can not be followed by accident: it needs a row here first."""
    assert FeedKind.of_room(kind) in FOLLOWS


@pytest.mark.parametrize(("role", "act"), list(itertools.product(Role, Act)))
def test_whoever_may_act_may_send_the_frame(role: Role, act: Act) -> None:
    """Where some case allows a role an act, the frame is open to that role too."""
    ever = {a for state in CaseState for mine in (True, False) for a in allowed_acts(state, role, claimed_by_me=mine)}
    if act in ever:
        assert require(someone(role), "frame.act") is POLICY["frame.act"]


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("extra", ["role", "account", "author", "is_admin"])
def test_no_field_can_be_slipped_in(codec: Codec, extra: str) -> None:
    """A command with one field more than the contract names is refused as a whole (3.2, item 16)."""
    frame: dict[str, object] = {"t": "send", "client_id": "client-1", "feed": "room:R1", "body": "hello"}
    encode = json.dumps if codec.is_text else msgspec.msgpack.encode
    whole, more = encode(frame), encode({**frame, extra: "admin"})
    assert isinstance(codec.decode_command(whole.encode() if isinstance(whole, str) else whole), Send)
    with pytest.raises(ProtocolError) as caught:
        codec.decode_command(more.encode() if isinstance(more, str) else more)
    assert caught.value.code == "unknown_field"


@pytest.mark.parametrize("value", [{"$ne": None}, ["a"], 7, True, None])
def test_an_object_is_never_taken_for_a_text(value: object) -> None:
    """A field that must be text refuses every other type, so no object reaches a query (3.2, item 17)."""
    for field in ("client_id", "feed", "body"):
        frame = {"t": "send", "client_id": "client-1", "feed": "room:R1", "body": "hello", field: value}
        with pytest.raises(ProtocolError) as caught:
            Codec.JSON.decode_command(json.dumps(frame).encode())
        assert caught.value.code == "bad_field"
