"""All tables. Each comment names what a row is; `retention` names the class that decides how long it is kept.

Times are microseconds since 1970 (`Instant`). Bodies are sealed (`store.keys`); everything else is readable by the
database's administrator and therefore holds no words of a member. Migrations (`store/migrations`) bring a database
here; a test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from server.store.columns import Instant

ID = String(26)
NAME = String(80)
CODE = String(40)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _optional(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _needed(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


instance = Table(
    "instance",
    metadata,
    Column("key", CODE, primary_key=True),
    _needed("value", Text()),
    comment="What this database is (kind: production, demo or test). retention: life of the service",
)

clock_map = Table(
    "clock_map",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _needed("origin_us", BigInteger()),
    _needed("offset_us", BigInteger()),
    _needed("speed", Float()),
    comment="Mapping of the clock; only a demo or test database may hold a row. retention: life of the service",
)

lease = Table(
    "lease",
    metadata,
    Column("name", CODE, primary_key=True),
    _needed("holder", CODE),
    Column("until", Instant(), nullable=False, comment="by the database's clock; past: nobody holds it"),
    comment="What only one process at a time may do (`store.leases`). retention: life of the service",
)

# --- people -----------------------------------------------------------------------------------------------------------

account = Table(
    "account",
    metadata,
    Column("id", ID, primary_key=True),
    _needed("role", CODE),
    _needed("name", NAME),
    Column("name_key", String(120), nullable=False, unique=True, comment="folded name; two that look alike are equal"),
    _needed("password_hash", Text()),
    _needed("state", CODE),
    _needed("rules_version", CODE),
    _needed("rules_accepted_at", Instant()),
    _needed("created_at", Instant()),
    _needed("version", Integer()),
    comment="One person as the community knows them. retention: account",
)

recovery_code = Table(
    "recovery_code",
    metadata,
    Column("account", ID, ForeignKey("account.id"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _needed("code_hash", LargeBinary()),
    _optional("used_at", Instant()),
    comment="Single-use code to set a new password. retention: account",
)

session = Table(
    "session",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account", ID, ForeignKey("account.id"), nullable=False, index=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    _needed("created_at", Instant()),
    _needed("seen_at", Instant()),
    _needed("ends_at", Instant()),
    _optional("revoked_at", Instant()),
    comment="A sign-in; only the hash of its token is kept. retention: session",
)

ticket = Table(
    "ticket",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("session", ID, ForeignKey("session.id"), nullable=False, index=True),
    _needed("ends_at", Instant()),
    comment="Opens one socket of a session, once; a row each, for several tabs open at once. retention: session",
)

# --- rooms and messages -----------------------------------------------------------------------------------------------

feed = Table(
    "feed",
    metadata,
    Column("id", String(80), primary_key=True),
    _needed("epoch", Integer()),
    _needed("seq", BigInteger()),
    Column("version", Integer, nullable=False, comment="moves when who may read or write here changes"),
    comment="Head of a feed; the row is the lock that makes seq gapless. retention: as its room",
)

event = Table(
    "event",
    metadata,
    Column("feed", String(80), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _needed("kind", CODE),
    _needed("ref", ID),
    _needed("at", Instant()),
    sqlite_with_rowid=False,
    comment="The log of a feed: ids only, never a body. retention: as its room",
)

room = Table(
    "room",
    metadata,
    Column("id", ID, primary_key=True),
    _needed("kind", CODE),
    _needed("name", NAME),
    _needed("purpose", Text()),
    _needed("state", CODE),
    Column("subject", ID, ForeignKey("account.id"), nullable=True, index=True, comment="the member it is about"),
    _needed("created_at", Instant()),
    comment="A place to talk. retention: as its messages",
)

membership = Table(
    "membership",
    metadata,
    Column("room", ID, ForeignKey("room.id"), primary_key=True),
    Column("account", ID, ForeignKey("account.id"), primary_key=True, index=True),
    _needed("state", CODE),
    comment="Who belongs to a room; state active or removed. retention: as the room",
)

read_cursor = Table(
    "read_cursor",
    metadata,
    Column("account", ID, primary_key=True),
    Column("feed", String(80), primary_key=True),
    _needed("seq", BigInteger()),
    comment="How far somebody has read; private to them. retention: account",
)

data_key = Table(
    "data_key",
    metadata,
    Column("id", ID, primary_key=True),
    _needed("subject", ID),
    _needed("realm", CODE),
    _needed("retention", CODE),
    Column("wrapped", LargeBinary, nullable=True, comment="NULL: destroyed, what it sealed is gone"),
    _needed("created_at", Instant()),
    _optional("destroyed_at", Instant()),
    UniqueConstraint("subject", "realm", "retention"),
    comment="Data key of (subject, realm, retention class), wrapped by a key outside the database",
)

# No index on (feed, seq): the event log's primary key already holds that order, and every B-tree less makes a
# message cheaper. A client id begins with the time (the protocol asks for it), so that new ones lie together at the end
# of their index; by author first, each message touched a page of its own (45 of the 108 pages of a commit of 40).
message = Table(
    "message",
    metadata,
    Column("id", ID, primary_key=True),
    _needed("feed", String(80)),
    _needed("seq", BigInteger()),
    _needed("author", ID),
    _needed("client_id", String(64)),
    _needed("state", CODE),
    Column("first_state", CODE, nullable=False, comment="as first acknowledged; a repeated send is answered with it"),
    _needed("version", Integer()),
    _needed("body", LargeBinary()),
    _needed("key_id", ID),
    _needed("level", Integer()),
    Column("verdict", Text, nullable=False, comment="JSON with its schema number; never NULL: nothing is unscreened"),
    _optional("reply_to", ID),
    _optional("removed_by", CODE),
    _needed("at", Instant()),
    _optional("edited_at", Instant()),
    UniqueConstraint("client_id", "author"),
    Index("ix_message_held", "id", sqlite_where=text("state = 'held'"), postgresql_where=text("state = 'held'")),
    sqlite_with_rowid=False,
    comment="A message in its current version. retention: community_post or care_record",
)

message_version = Table(
    "message_version",
    metadata,
    Column("message", ID, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    _needed("body", LargeBinary()),
    _needed("key_id", ID),
    _needed("verdict", Text()),
    _needed("at", Instant()),
    comment="An earlier version, kept for governance. retention: as its message",
)

finding = Table(
    "finding",
    metadata,
    Column("message", ID, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _needed("check", CODE),
    _needed("category", CODE),
    _needed("level", Integer()),
    _needed("entry_id", String(80)),
    _needed("start", Integer()),
    _needed("end", Integer()),
    _needed("reason", Text()),
    comment="Why a message was noticed: entry and half-open offsets, never text. retention: as its message",
)

command = Table(
    "command",
    metadata,
    Column("account", ID, primary_key=True),
    Column("client_id", String(64), primary_key=True),
    _needed("kind", CODE),
    _needed("answer", LargeBinary()),
    _needed("at", Instant()),
    comment="First answer to a command, so that a repeat does nothing twice. retention: as what it changed",
)

# --- cases and obligations --------------------------------------------------------------------------------------------

review_case = Table(
    "review_case",
    metadata,
    Column("id", ID, primary_key=True),
    Column("side", CODE, nullable=False, comment="community, group or care: a case never spans the wall"),
    Column("subject", ID, nullable=False, index=True),
    _needed("origin", CODE),
    _needed("level", Integer()),
    _needed("categories", String(40)),
    _needed("state", CODE),
    _needed("version", Integer()),
    _optional("feed", String(80)),
    _needed("messages", Integer()),
    _needed("care", CODE),
    Column("care_since", Instant, nullable=True, comment="when the author last wrote what they are told about"),
    Column("clinical", Integer, nullable=False, comment="1 once a clinician was called: then clinicians see it"),
    _needed("opened_at", Instant()),
    _needed("raised_at", Instant()),
    _optional("claimed_by", ID),
    _optional("claimed_at", Instant()),
    _optional("closed_by", ID),
    _optional("closed_at", Instant()),
    _optional("outcome", CODE),
    _optional("note", LargeBinary()),
    _optional("note_key", ID),
    Index("ix_review_case_open", "side", "state"),
    comment="A matter about one person on one side of the wall. retention: governance",
)

case_message = Table(
    "case_message",
    metadata,
    Column("case", ID, ForeignKey("review_case.id"), primary_key=True),
    Column("message", ID, primary_key=True, index=True),
    _needed("level", Integer()),
    Column("origin", CODE, nullable=False, comment="message, edit, act, review; report: others brought it up"),
    _needed("at", Instant()),
    comment="A message that opened or raised a case. retention: governance",
)

case_report = Table(
    "case_report",
    metadata,
    Column("id", ID, primary_key=True),
    Column("case", ID, ForeignKey("review_case.id"), nullable=False, index=True),
    Column("message", ID, nullable=True, comment="NULL for a call for help"),
    Column("reporter", ID, nullable=False, comment="never shown to the person reported"),
    _needed("reason", CODE),
    _needed("body", LargeBinary()),
    _needed("key_id", ID),
    _needed("verdict", Text()),
    _needed("at", Instant()),
    comment="What somebody told the team: a report, or a call for help. retention: governance",
)

case_history = Table(
    "case_history",
    metadata,
    Column("case", ID, ForeignKey("review_case.id"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _needed("at", Instant()),
    _optional("actor", ID),
    _needed("act", CODE),
    _needed("detail", CODE),
    Column("message", ID, nullable=True, comment="what it is about; as the three that follow, where there is one"),
    Column("level", Integer, nullable=True, comment="what an open or a raise brought, as the two that follow"),
    _optional("categories", String(40)),
    _optional("feed", String(80)),
    comment="Everything that happened to a case; append-only. retention: governance",
)

obligation = Table(
    "obligation",
    metadata,
    Column("id", ID, primary_key=True),
    Column("case", ID, ForeignKey("review_case.id"), nullable=False, index=True),
    _needed("side", CODE),
    _needed("level", Integer()),
    _needed("state", CODE),
    _needed("opened_at", Instant()),
    _needed("next_rung", Integer()),
    Column("due_at", Instant, nullable=True, comment="NULL only when met; an acknowledged one falls due again"),
    _optional("acknowledged_by", ID),
    _optional("acknowledged_at", Instant()),
    _needed("version", Integer()),
    Index("ix_obligation_due", "state", "due_at"),
    comment="Somebody must look: a running timer until a named person closes the case. retention: governance",
)

notice = Table(
    "notice",
    metadata,
    Column("id", ID, primary_key=True),
    Column("obligation", ID, ForeignKey("obligation.id"), nullable=False),
    _needed("case", ID),
    _needed("rung", Integer()),
    _needed("cycle", Integer()),
    _needed("audience", CODE),
    Column("recipient", ID, nullable=False, index=True),
    _needed("level", Integer()),
    _needed("case_version", Integer()),
    _needed("channel", CODE),
    _needed("state", CODE),
    _needed("attempts", Integer()),
    _needed("due_at", Instant()),
    Column("retry_at", Instant(), nullable=False, comment="when it is to be tried next; due_at stays the first time"),
    _optional("attempted_at", Instant()),
    UniqueConstraint("obligation", "cycle", "rung", "recipient", "channel"),
    Index("ix_notice_pending", "state", "retry_at"),
    comment="One person called by one channel, at the level and version of then. retention: governance",
)

notice_event = Table(
    "notice_event",
    metadata,
    Column("notice", ID, ForeignKey("notice.id"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    _needed("at", Instant()),
    Column(
        "what",
        CODE,
        nullable=False,
        comment="planned, tried (in vain), sent, answered; failed or unknown for good",
    ),
    comment="Everything that became of a call; append-only. retention: governance",
)

# --- the rota ---------------------------------------------------------------------------------------------------------

rota_row = Table(
    "rota_row",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=False, comment="the order of writing, from 1"),
    Column("id", ID, nullable=False, unique=True),
    Column("kind", CODE, nullable=False, comment="rotation, extra, cover, leave, skill, withdrawn"),
    Column("at", Instant(), nullable=False, comment="when it was written: the past is answered by what was then"),
    Column("by", ID, nullable=True, comment="an account, or the operator"),
    Column("account", ID, ForeignKey("account.id"), nullable=True, index=True, comment="whom it is about"),
    Column("other", ID, ForeignKey("account.id"), nullable=True, comment="cover: who serves instead"),
    _optional("role", CODE),
    _optional("starts_at", Instant()),
    Column("ends_at", Instant, nullable=True, index=True, comment="NULL: it has no end of its own"),
    Column("rotation", ID, nullable=True, comment="which rotation; its newest row holds from its first day"),
    Column("content", Text, nullable=True, comment="JSON: a rotation, or a skill"),
    Column("skill", CODE, nullable=True),
    Column("of", Integer, nullable=True, comment="withdrawn: the row that holds no more"),
    comment="One line of the rota; never changed, only added to. retention: staffing",
)

rota_swap = Table(
    "rota_swap",
    metadata,
    Column("id", ID, primary_key=True),
    _needed("role", CODE),
    Column("asker", ID, ForeignKey("account.id"), nullable=False, index=True),
    _needed("starts_at", Instant()),
    _needed("ends_at", Instant()),
    Column("other", ID, ForeignKey("account.id"), nullable=False, index=True, comment="who is asked to serve it"),
    Column("back_starts_at", Instant, nullable=True, comment="what the asker serves instead; NULL: nothing"),
    _optional("back_ends_at", Instant()),
    Column("state", CODE, nullable=False, comment="asked, accepted, refused, withdrawn"),
    _needed("asked_at", Instant()),
    _optional("answered_at", Instant()),
    comment="One person asks another to take a shift; rows of the rota follow only from a yes. retention: staffing",
)

duty_check = Table(
    "duty_check",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account", ID, ForeignKey("account.id"), nullable=False),
    _needed("role", CODE),
    Column("starts_at", Instant(), nullable=False, comment="of the shift that it is about"),
    Column("ends_at", Instant(), nullable=False, comment="of the shift, as it was when it was asked"),
    _needed("asked_at", Instant()),
    Column("answered_at", Instant, nullable=True, comment="NULL: the shift has not begun"),
    Column("answered_by", ID, nullable=True, comment="the person; or whoever put them on duty at once"),
    Column("told_at", Instant, nullable=True, comment="when somebody else was told that there is no answer"),
    Column("over_at", Instant, nullable=True, comment="when it was put away unanswered, its shift being gone"),
    UniqueConstraint("account", "role", "starts_at"),
    Index("ix_duty_check_ends_at", "ends_at"),
    comment="Can whoever is to be on duty be reached? A shift begins with the answer. retention: staffing",
)

duty_call = Table(
    "duty_call",
    metadata,
    Column("check", ID, ForeignKey("duty_check.id"), primary_key=True),
    Column("channel", CODE, primary_key=True),
    Column("state", CODE, nullable=False, comment="of the last attempt: pending, sent, failed, unknown"),
    _needed("attempts", Integer()),
    Column("retry_at", Instant(), nullable=False, comment="when it is to be tried next, unless it is answered"),
    _optional("attempted_at", Instant()),
    comment="The question whether somebody can be reached, by one channel. retention: staffing",
)

handover = Table(
    "handover",
    metadata,
    Column("id", ID, primary_key=True),
    Column("case", ID, ForeignKey("review_case.id"), nullable=False),
    _needed("leaver", ID),
    _needed("role", CODE),
    Column("ends_at", Instant(), nullable=False, comment="of the leaver's shift"),
    _needed("offered_at", Instant()),
    Column("state", CODE, nullable=False, comment="offered, called (nobody took it in time), accepted"),
    Column("words", LargeBinary, nullable=True, comment="the leaver's, sealed"),
    _optional("words_key", ID),
    _optional("accepted_by", ID),
    _optional("accepted_at", Instant()),
    Column("reply", LargeBinary, nullable=True, comment="what whoever took it has understood, sealed"),
    _optional("reply_key", ID),
    UniqueConstraint("case", "leaver", "ends_at"),
    Index("ix_handover_state", "state"),
    comment="What somebody held as their shift ended, until a named person has it. retention: governance",
)

# --- watchword lists --------------------------------------------------------------------------------------------------

word_version = Table(
    "word_version",
    metadata,
    Column("id", ID, primary_key=True),
    Column("origin", CODE, nullable=False, comment="shipped, release (a newer program's), proposal"),
    Column("state", CODE, nullable=False, comment="proposed, live, retired, refused"),
    Column("base", ID, nullable=True, comment="the version that was live when this was written"),
    Column("change", Text, nullable=False, comment="JSON: what it asks of its base, to be asked of a later one"),
    Column("content", LargeBinary, nullable=False, comment="every list, whole: compressed JSON of name to TOML"),
    Column("digest", String(64), nullable=False, comment="of the content; what a signature names"),
    Column("list_version", CODE, nullable=False, comment="as verdicts name these lists, before the model"),
    _needed("reason", Text()),
    _optional("proposed_by", ID),
    _needed("proposed_at", Instant()),
    _optional("refused_by", ID),
    _optional("refused_at", Instant()),
    _needed("version", Integer()),
    Index("ix_word_version_digest", "digest"),
    comment="All watchword lists as one set, in force, before or after it. retention: governance",
)

word_signature = Table(
    "word_signature",
    metadata,
    Column("word_version", ID, ForeignKey("word_version.id"), primary_key=True),
    Column("digest", String(64), primary_key=True, comment="of the content that was signed; of another, it is void"),
    Column("role", CODE, primary_key=True),
    _needed("account", ID),
    _needed("at", Instant()),
    UniqueConstraint("word_version", "digest", "account"),
    comment="One person's signature under one content. retention: governance",
)

word_activation = Table(
    "word_activation",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("word_version", ID, ForeignKey("word_version.id"), nullable=False),
    Column("act", CODE, nullable=False, comment="start, signed, rollback"),
    _optional("account", ID),
    _needed("reason", Text()),
    _needed("at", Instant()),
    comment="Which lists are in force: those of the highest n. retention: governance",
)

word_trial = Table(
    "word_trial",
    metadata,
    Column("id", ID, primary_key=True),
    Column("word_version", ID, ForeignKey("word_version.id"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, comment="of the content that is tried"),
    Column("against", ID, nullable=False, comment="the version that was live then"),
    Column("kind", CODE, nullable=False, comment="shadow, corpus, stored"),
    Column("state", CODE, nullable=False, comment="asked, running, done, cancelled, failed, over_time"),
    _needed("asked_by", ID),
    _needed("days", Integer()),
    _needed("asked_at", Instant()),
    Column("until", Instant, nullable=False, comment="shadow: its end; stored: the end of the access to bodies"),
    _optional("ended_at", Instant()),
    _needed("done", Integer()),
    _needed("total", Integer()),
    Column("unreadable", Integer, nullable=False, comment="texts that could not be tried"),
    Index("ix_word_trial_state", "state", "kind"),
    comment="A proposal tried on texts beside the live lists; nobody is alerted. retention: governance",
)

word_fire = Table(
    "word_fire",
    metadata,
    Column("trial", ID, ForeignKey("word_trial.id"), primary_key=True),
    Column("ref", String(80), primary_key=True, comment="a message, or a text of the corpus"),
    Column("text_version", Integer, primary_key=True, autoincrement=False),
    Column("entry_id", String(80), primary_key=True),
    _needed("category", CODE),
    Column("live", Integer, nullable=False, comment="the level that the live lists gave; 0: not found"),
    Column("proposed", Integer, nullable=False, comment="the level that the proposed lists gave; 0: not found"),
    comment="What a trial found: ids and levels, never text. retention: governance",
)

word_hour = Table(
    "word_hour",
    metadata,
    Column("trial", ID, ForeignKey("word_trial.id"), primary_key=True),
    Column("hour", Instant, primary_key=True, comment="the beginning of the hour in which the texts were written"),
    Column("side", CODE, primary_key=True),
    Column("before", Integer, primary_key=True, autoincrement=False, comment="the level that they have"),
    Column("after", Integer, primary_key=True, autoincrement=False, comment="the level that they would have"),
    _needed("texts", Integer()),
    comment="How many members' texts a back-test read, by hour: counts only. retention: governance",
)

word_rate = Table(
    "word_rate",
    metadata,
    Column("day", Instant, primary_key=True, comment="when it began, UTC; whole days only"),
    Column("entry_id", String(80), primary_key=True, comment="empty: all messages of that day"),
    Column("messages", Integer, nullable=False, comment="in how many messages the entry was found"),
    comment="How often each entry of the lists was found on a day. retention: governance",
)

word_drift = Table(
    "word_drift",
    metadata,
    Column("id", ID, primary_key=True),
    _needed("entry_id", String(80)),
    _needed("raised_at", Instant()),
    Column("ended_at", Instant, nullable=True, comment="NULL: it goes on"),
    Column("hits", Integer, nullable=False, comment="of 24 hours, as the three that follow"),
    _needed("messages", Integer()),
    _needed("low", Integer()),
    _needed("high", Integer()),
    comment="An entry that found more or less than its band allows. retention: governance",
)

# --- blind review -----------------------------------------------------------------------------------------------------

review_draw = Table(
    "review_draw",
    metadata,
    Column("id", ID, primary_key=True),
    Column("starts_at", Instant, nullable=False, unique=True, comment="of the shift: each is drawn once"),
    _needed("ends_at", Instant()),
    _needed("drawn_at", Instant()),
    Column("policy", CODE, nullable=False, comment="name and version of the policy that it was drawn by"),
    comment="One shift of which messages were drawn for blind review. retention: governance",
)

review_stratum = Table(
    "review_stratum",
    metadata,
    Column("draw", ID, ForeignKey("review_draw.id"), primary_key=True),
    Column("room_kind", CODE, primary_key=True),
    Column("part", CODE, primary_key=True),
    Column("band", CODE, primary_key=True, comment="plain, near, grey, flagged"),
    Column("messages", Integer, nullable=False, comment="how many there were to draw from"),
    _needed("drawn", Integer()),
    comment="Messages of a shift that had the same chance to be drawn. retention: governance",
)

review_item = Table(
    "review_item",
    metadata,
    Column("id", ID, primary_key=True),
    Column("draw", ID, ForeignKey("review_draw.id"), nullable=False, index=True),
    Column("n", Integer, nullable=False, comment="its place in the draw, which tells nothing of its stratum"),
    Column("message", ID, nullable=False, unique=True),
    Column("text_version", Integer, nullable=False, comment="of the message, as it was when drawn"),
    _needed("room_kind", CODE),
    _needed("part", CODE),
    _needed("band", CODE),
    Column("weight", Float, nullable=False, comment="for how many messages it stands"),
    Column("wanted", Integer, nullable=False, comment="how many people are still to read it"),
    Index("ix_review_item_wanted", "wanted", "room_kind"),
    comment="A message drawn for blind review. retention: governance",
)

review_judgement = Table(
    "review_judgement",
    metadata,
    Column("item", ID, ForeignKey("review_item.id"), primary_key=True),
    Column("reader", ID, primary_key=True),
    Column("level", Integer, nullable=True, comment="NULL: they could not say"),
    Column("categories", String(40), nullable=False, comment="letters, the main one first"),
    Column("case", ID, nullable=True, comment="the case that it opened or let rise"),
    _needed("at", Instant()),
    comment="What one person made of one message, without knowing what the filter had. retention: governance",
)

audit = Table(
    "audit",
    metadata,
    Column("writer", CODE, primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    _needed("at", Instant()),
    _optional("actor", ID),
    _needed("act", CODE),
    _needed("subject_kind", CODE),
    _needed("subject", String(80)),
    _needed("detail", CODE),
    _needed("request_id", ID),
    _needed("prev", LargeBinary(32)),
    _needed("hash", LargeBinary(32)),
    Column("seal", LargeBinary(64), nullable=False, comment="signature of the hash by a key outside the database"),
    comment="Decisions, reveals and staff reads, chained per writer. retention: audit",
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    _needed("at", Instant()),
    Column("content", Text, nullable=False, comment="JSON: the ends of the chains that moved, the head before"),
    Column("seal", LargeBinary(64), nullable=False, comment="signature of the content"),
    comment="Where all chains of the audit ended, signed each night. retention: audit",
)
