"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column(
            "name_key", sa.String(length=120), nullable=False, comment="folded name; two that look alike are equal"
        ),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("rules_version", sa.String(length=40), nullable=False),
        sa.Column("rules_accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("name_key", name=op.f("uq_account_name_key")),
        comment="One person as the community knows them. retention: account",
    )
    op.create_table(
        "audit",
        sa.Column("writer", sa.String(length=40), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=26), nullable=True),
        sa.Column("act", sa.String(length=40), nullable=False),
        sa.Column("subject_kind", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("detail", sa.String(length=40), nullable=False),
        sa.Column("request_id", sa.String(length=26), nullable=False),
        sa.Column("prev", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "seal",
            sa.LargeBinary(length=64),
            nullable=False,
            comment="signature of the hash by a key outside the database",
        ),
        sa.PrimaryKeyConstraint("writer", "n", name=op.f("pk_audit")),
        comment="Decisions, reveals and staff reads, chained per writer. retention: audit",
    )
    op.create_table(
        "audit_head",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column(
            "content",
            sa.Text(),
            nullable=False,
            comment="JSON: the ends of the chains that moved, the head before",
        ),
        sa.Column("seal", sa.LargeBinary(length=64), nullable=False, comment="signature of the content"),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_audit_head")),
        comment="Where all chains of the audit ended, signed each night. retention: audit",
    )
    op.create_table(
        "clock_map",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("origin_us", sa.BigInteger(), nullable=False),
        sa.Column("offset_us", sa.BigInteger(), nullable=False),
        sa.Column("speed", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_map")),
        comment="Mapping of the clock; only a demo or test database may hold a row. retention: life of the service",
    )
    op.create_table(
        "command",
        sa.Column("account", sa.String(length=26), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "client_id", name=op.f("pk_command")),
        comment="First answer to a command, so that a repeat does nothing twice. retention: as what it changed",
    )
    op.create_table(
        "data_key",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("subject", sa.String(length=26), nullable=False),
        sa.Column("realm", sa.String(length=40), nullable=False),
        sa.Column("retention", sa.String(length=40), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=True, comment="NULL: destroyed, what it sealed is gone"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_key")),
        sa.UniqueConstraint("subject", "realm", "retention", name=op.f("uq_data_key_subject_realm_retention")),
        comment="Data key of (subject, realm, retention class), wrapped by a key outside the database",
    )
    op.create_table(
        "event",
        sa.Column("feed", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("ref", sa.String(length=26), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("feed", "seq", name=op.f("pk_event")),
        comment="The log of a feed: ids only, never a body. retention: as its room",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feed",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="moves when who may read or write here changes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed")),
        comment="Head of a feed; the row is the lock that makes seq gapless. retention: as its room",
    )
    op.create_table(
        "finding",
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("check", sa.String(length=40), nullable=False),
        sa.Column("category", sa.String(length=40), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("entry_id", sa.String(length=80), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("message", "version", "n", name=op.f("pk_finding")),
        comment="Why a message was noticed: entry and half-open offsets, never text. retention: as its message",
    )
    op.create_table(
        "instance",
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_instance")),
        comment="What this database is (kind: production, demo or test). retention: life of the service",
    )
    op.create_table(
        "lease",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("holder", sa.String(length=40), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False, comment="by the database's clock; past: nobody holds it"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lease")),
        comment="What only one process at a time may do (`store.leases`). retention: life of the service",
    )
    op.create_table(
        "message",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("feed", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=26), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column(
            "first_state",
            sa.String(length=40),
            nullable=False,
            comment="as first acknowledged; a repeated send is answered with it",
        ),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=26), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column(
            "verdict",
            sa.Text(),
            nullable=False,
            comment="JSON with its schema number; never NULL: nothing is unscreened",
        ),
        sa.Column("reply_to", sa.String(length=26), nullable=True),
        sa.Column("removed_by", sa.String(length=40), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("edited_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint("client_id", "author", name=op.f("uq_message_client_id_author")),
        comment="A message in its current version. retention: community_post or care_record",
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.create_index(
            "ix_message_held",
            ["id"],
            unique=False,
            sqlite_where=sa.text("state = 'held'"),
            postgresql_where=sa.text("state = 'held'"),
        )

    op.create_table(
        "message_version",
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=26), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message", "version", name=op.f("pk_message_version")),
        comment="An earlier version, kept for governance. retention: as its message",
    )
    op.create_table(
        "read_cursor",
        sa.Column("account", sa.String(length=26), nullable=False),
        sa.Column("feed", sa.String(length=80), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "feed", name=op.f("pk_read_cursor")),
        comment="How far somebody has read; private to them. retention: account",
    )
    op.create_table(
        "review_case",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column(
            "side",
            sa.String(length=40),
            nullable=False,
            comment="community, group or care: a case never spans the wall",
        ),
        sa.Column("subject", sa.String(length=26), nullable=False),
        sa.Column("origin", sa.String(length=40), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("categories", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("feed", sa.String(length=80), nullable=True),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("care", sa.String(length=40), nullable=False),
        sa.Column(
            "care_since",
            sa.BigInteger(),
            nullable=True,
            comment="when the author last wrote what they are told about",
        ),
        sa.Column(
            "clinical", sa.Integer(), nullable=False, comment="1 once a clinician was called: then clinicians see it"
        ),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("claimed_by", sa.String(length=26), nullable=True),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_by", sa.String(length=26), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Column("note_key", sa.String(length=26), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_case")),
        comment="A matter about one person on one side of the wall. retention: governance",
    )
    with op.batch_alter_table("review_case", schema=None) as batch_op:
        batch_op.create_index("ix_review_case_open", ["side", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_review_case_subject"), ["subject"], unique=False)

    op.create_table(
        "case_history",
        sa.Column("case", sa.String(length=26), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=26), nullable=True),
        sa.Column("act", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.String(length=40), nullable=False),
        sa.Column(
            "message",
            sa.String(length=26),
            nullable=True,
            comment="what it is about; as the three that follow, where there is one",
        ),
        sa.Column(
            "level",
            sa.Integer(),
            nullable=True,
            comment="what an open or a raise brought, as the two that follow",
        ),
        sa.Column("categories", sa.String(length=40), nullable=True),
        sa.Column("feed", sa.String(length=80), nullable=True),
        sa.ForeignKeyConstraint(["case"], ["review_case.id"], name=op.f("fk_case_history_case")),
        sa.PrimaryKeyConstraint("case", "n", name=op.f("pk_case_history")),
        comment="Everything that happened to a case; append-only. retention: governance",
    )
    op.create_table(
        "case_message",
        sa.Column("case", sa.String(length=26), nullable=False),
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column(
            "origin",
            sa.String(length=40),
            nullable=False,
            comment="message, edit, act, review; report: others brought it up",
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["case"], ["review_case.id"], name=op.f("fk_case_message_case")),
        sa.PrimaryKeyConstraint("case", "message", name=op.f("pk_case_message")),
        comment="A message that opened or raised a case. retention: governance",
    )
    with op.batch_alter_table("case_message", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_case_message_message"), ["message"], unique=False)

    op.create_table(
        "case_report",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("case", sa.String(length=26), nullable=False),
        sa.Column("message", sa.String(length=26), nullable=True, comment="NULL for a call for help"),
        sa.Column("reporter", sa.String(length=26), nullable=False, comment="never shown to the person reported"),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=26), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["case"], ["review_case.id"], name=op.f("fk_case_report_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case_report")),
        comment="What somebody told the team: a report, or a call for help. retention: governance",
    )
    with op.batch_alter_table("case_report", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_case_report_case"), ["case"], unique=False)

    op.create_table(
        "obligation",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("case", sa.String(length=26), nullable=False),
        sa.Column("side", sa.String(length=40), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("next_rung", sa.Integer(), nullable=False),
        sa.Column(
            "due_at", sa.BigInteger(), nullable=True, comment="NULL only when met; an acknowledged one falls due again"
        ),
        sa.Column("acknowledged_by", sa.String(length=26), nullable=True),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["case"], ["review_case.id"], name=op.f("fk_obligation_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_obligation")),
        comment="Somebody must look: a running timer until a named person closes the case. retention: governance",
    )
    with op.batch_alter_table("obligation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_obligation_case"), ["case"], unique=False)
        batch_op.create_index("ix_obligation_due", ["state", "due_at"], unique=False)

    op.create_table(
        "recovery_code",
        sa.Column("account", sa.String(length=26), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_recovery_code_account")),
        sa.PrimaryKeyConstraint("account", "n", name=op.f("pk_recovery_code")),
        comment="Single-use code to set a new password. retention: account",
    )
    op.create_table(
        "room",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=26), nullable=True, comment="the member it is about"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["account.id"], name=op.f("fk_room_subject")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room")),
        comment="A place to talk. retention: as its messages",
    )
    with op.batch_alter_table("room", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_room_subject"), ["subject"], unique=False)

    op.create_table(
        "session",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(length=26), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_session_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_session_token_hash")),
        comment="A sign-in; only the hash of its token is kept. retention: session",
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_session_account"), ["account"], unique=False)

    op.create_table(
        "ticket",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("session", sa.String(length=26), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session"], ["session.id"], name=op.f("fk_ticket_session")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_ticket")),
        comment="Opens one socket of a session, once; a row each, for several tabs open at once. retention: session",
    )
    with op.batch_alter_table("ticket", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ticket_session"), ["session"], unique=False)

    op.create_table(
        "membership",
        sa.Column("room", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(length=26), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_membership_account")),
        sa.ForeignKeyConstraint(["room"], ["room.id"], name=op.f("fk_membership_room")),
        sa.PrimaryKeyConstraint("room", "account", name=op.f("pk_membership")),
        comment="Who belongs to a room; state active or removed. retention: as the room",
    )
    with op.batch_alter_table("membership", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_membership_account"), ["account"], unique=False)

    op.create_table(
        "notice",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("obligation", sa.String(length=26), nullable=False),
        sa.Column("case", sa.String(length=26), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("cycle", sa.Integer(), nullable=False),
        sa.Column("audience", sa.String(length=40), nullable=False),
        sa.Column("recipient", sa.String(length=26), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("case_version", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "retry_at",
            sa.BigInteger(),
            nullable=False,
            comment="when it is to be tried next; due_at stays the first time",
        ),
        sa.Column("attempted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["obligation"], ["obligation.id"], name=op.f("fk_notice_obligation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint(
            "obligation",
            "cycle",
            "rung",
            "recipient",
            "channel",
            name=op.f("uq_notice_obligation_cycle_rung_recipient_channel"),
        ),
        comment="One person called by one channel, at the level and version of then. retention: governance",
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index("ix_notice_pending", ["state", "retry_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_notice_recipient"), ["recipient"], unique=False)
    op.create_table(
        "notice_event",
        sa.Column("notice", sa.String(length=26), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column(
            "what",
            sa.String(length=40),
            nullable=False,
            comment="planned, tried (in vain), sent, answered; failed or unknown for good",
        ),
        sa.ForeignKeyConstraint(["notice"], ["notice.id"], name=op.f("fk_notice_event_notice")),
        sa.PrimaryKeyConstraint("notice", "n", name=op.f("pk_notice_event")),
        comment="Everything that became of a call; append-only. retention: governance",
    )
    _words()
    _rota()


def _words() -> None:
    op.create_table(
        "word_version",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column(
            "origin", sa.String(length=40), nullable=False, comment="shipped, release (a newer program's), proposal"
        ),
        sa.Column("state", sa.String(length=40), nullable=False, comment="proposed, live, retired, refused"),
        sa.Column(
            "base", sa.String(length=26), nullable=True, comment="the version that was live when this was written"
        ),
        sa.Column(
            "change", sa.Text(), nullable=False, comment="JSON: what it asks of its base, to be asked of a later one"
        ),
        sa.Column(
            "content", sa.LargeBinary(), nullable=False, comment="every list, whole: compressed JSON of name to TOML"
        ),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="of the content; what a signature names"),
        sa.Column(
            "list_version",
            sa.String(length=40),
            nullable=False,
            comment="as verdicts name these lists, before the model",
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.String(length=26), nullable=True),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("refused_by", sa.String(length=26), nullable=True),
        sa.Column("refused_at", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_word_version")),
        comment="All watchword lists as one set, in force, before or after it. retention: governance",
    )
    with op.batch_alter_table("word_version", schema=None) as batch_op:
        batch_op.create_index("ix_word_version_digest", ["digest"], unique=False)

    op.create_table(
        "word_activation",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("word_version", sa.String(length=26), nullable=False),
        sa.Column("act", sa.String(length=40), nullable=False, comment="start, signed, rollback"),
        sa.Column("account", sa.String(length=26), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["word_version"], ["word_version.id"], name=op.f("fk_word_activation_word_version")),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_word_activation")),
        comment="Which lists are in force: those of the highest n. retention: governance",
    )
    op.create_table(
        "word_signature",
        sa.Column("word_version", sa.String(length=26), nullable=False),
        sa.Column(
            "digest",
            sa.String(length=64),
            nullable=False,
            comment="of the content that was signed; of another, it is void",
        ),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=26), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["word_version"], ["word_version.id"], name=op.f("fk_word_signature_word_version")),
        sa.PrimaryKeyConstraint("word_version", "digest", "role", name=op.f("pk_word_signature")),
        sa.UniqueConstraint(
            "word_version", "digest", "account", name=op.f("uq_word_signature_word_version_digest_account")
        ),
        comment="One person's signature under one content. retention: governance",
    )
    op.create_table(
        "word_trial",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("word_version", sa.String(length=26), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="of the content that is tried"),
        sa.Column("against", sa.String(length=26), nullable=False, comment="the version that was live then"),
        sa.Column("kind", sa.String(length=40), nullable=False, comment="shadow, corpus, stored"),
        sa.Column(
            "state", sa.String(length=40), nullable=False, comment="asked, running, done, cancelled, failed, over_time"
        ),
        sa.Column("asked_by", sa.String(length=26), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "until", sa.BigInteger(), nullable=False, comment="shadow: its end; stored: the end of the access to bodies"
        ),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("unreadable", sa.Integer(), nullable=False, comment="texts that could not be tried"),
        sa.ForeignKeyConstraint(["word_version"], ["word_version.id"], name=op.f("fk_word_trial_word_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_word_trial")),
        comment="A proposal tried on texts beside the live lists; nobody is alerted. retention: governance",
    )
    with op.batch_alter_table("word_trial", schema=None) as batch_op:
        batch_op.create_index("ix_word_trial_state", ["state", "kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_word_trial_word_version"), ["word_version"], unique=False)

    op.create_table(
        "word_fire",
        sa.Column("trial", sa.String(length=26), nullable=False),
        sa.Column("ref", sa.String(length=80), nullable=False, comment="a message, or a text of the corpus"),
        sa.Column("text_version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entry_id", sa.String(length=80), nullable=False),
        sa.Column("category", sa.String(length=40), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False, comment="the level that the live lists gave; 0: not found"),
        sa.Column(
            "proposed", sa.Integer(), nullable=False, comment="the level that the proposed lists gave; 0: not found"
        ),
        sa.ForeignKeyConstraint(["trial"], ["word_trial.id"], name=op.f("fk_word_fire_trial")),
        sa.PrimaryKeyConstraint("trial", "ref", "text_version", "entry_id", name=op.f("pk_word_fire")),
        comment="What a trial found: ids and levels, never text. retention: governance",
    )
    op.create_table(
        "word_hour",
        sa.Column("trial", sa.String(length=26), nullable=False),
        sa.Column(
            "hour",
            sa.BigInteger(),
            nullable=False,
            comment="the beginning of the hour in which the texts were written",
        ),
        sa.Column("side", sa.String(length=40), nullable=False),
        sa.Column("before", sa.Integer(), autoincrement=False, nullable=False, comment="the level that they have"),
        sa.Column("after", sa.Integer(), autoincrement=False, nullable=False, comment="the level that they would have"),
        sa.Column("texts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["trial"], ["word_trial.id"], name=op.f("fk_word_hour_trial")),
        sa.PrimaryKeyConstraint("trial", "hour", "side", "before", "after", name=op.f("pk_word_hour")),
        comment="How many members' texts a back-test read, by hour: counts only. retention: governance",
    )
    op.create_table(
        "review_draw",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False, comment="of the shift: each is drawn once"),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("drawn_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "policy",
            sa.String(length=40),
            nullable=False,
            comment="name and version of the policy that it was drawn by",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_draw")),
        sa.UniqueConstraint("starts_at", name=op.f("uq_review_draw_starts_at")),
        comment="One shift of which messages were drawn for blind review. retention: governance",
    )
    op.create_table(
        "review_item",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("draw", sa.String(length=26), nullable=False),
        sa.Column(
            "n", sa.Integer(), nullable=False, comment="its place in the draw, which tells nothing of its stratum"
        ),
        sa.Column("message", sa.String(length=26), nullable=False),
        sa.Column("text_version", sa.Integer(), nullable=False, comment="of the message, as it was when drawn"),
        sa.Column("room_kind", sa.String(length=40), nullable=False),
        sa.Column("part", sa.String(length=40), nullable=False),
        sa.Column("band", sa.String(length=40), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False, comment="for how many messages it stands"),
        sa.Column("wanted", sa.Integer(), nullable=False, comment="how many people are still to read it"),
        sa.ForeignKeyConstraint(["draw"], ["review_draw.id"], name=op.f("fk_review_item_draw")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_item")),
        sa.UniqueConstraint("message", name=op.f("uq_review_item_message")),
        comment="A message drawn for blind review. retention: governance",
    )
    with op.batch_alter_table("review_item", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_review_item_draw"), ["draw"], unique=False)
        batch_op.create_index("ix_review_item_wanted", ["wanted", "room_kind"], unique=False)

    op.create_table(
        "review_stratum",
        sa.Column("draw", sa.String(length=26), nullable=False),
        sa.Column("room_kind", sa.String(length=40), nullable=False),
        sa.Column("part", sa.String(length=40), nullable=False),
        sa.Column("band", sa.String(length=40), nullable=False, comment="plain, near, grey, flagged"),
        sa.Column("messages", sa.Integer(), nullable=False, comment="how many there were to draw from"),
        sa.Column("drawn", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["draw"], ["review_draw.id"], name=op.f("fk_review_stratum_draw")),
        sa.PrimaryKeyConstraint("draw", "room_kind", "part", "band", name=op.f("pk_review_stratum")),
        comment="Messages of a shift that had the same chance to be drawn. retention: governance",
    )
    op.create_table(
        "review_judgement",
        sa.Column("item", sa.String(length=26), nullable=False),
        sa.Column("reader", sa.String(length=26), nullable=False),
        sa.Column("level", sa.Integer(), nullable=True, comment="NULL: they could not say"),
        sa.Column("categories", sa.String(length=40), nullable=False, comment="letters, the main one first"),
        sa.Column("case", sa.String(length=26), nullable=True, comment="the case that it opened or let rise"),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["item"], ["review_item.id"], name=op.f("fk_review_judgement_item")),
        sa.PrimaryKeyConstraint("item", "reader", name=op.f("pk_review_judgement")),
        comment="What one person made of one message, without knowing what the filter had. retention: governance",
    )
    op.create_table(
        "word_rate",
        sa.Column("day", sa.BigInteger(), nullable=False, comment="when it began, UTC; whole days only"),
        sa.Column("entry_id", sa.String(length=80), nullable=False, comment="empty: all messages of that day"),
        sa.Column("messages", sa.Integer(), nullable=False, comment="in how many messages the entry was found"),
        sa.PrimaryKeyConstraint("day", "entry_id", name=op.f("pk_word_rate")),
        comment="How often each entry of the lists was found on a day. retention: governance",
    )
    op.create_table(
        "word_drift",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("entry_id", sa.String(length=80), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True, comment="NULL: it goes on"),
        sa.Column("hits", sa.Integer(), nullable=False, comment="of 24 hours, as the three that follow"),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("low", sa.Integer(), nullable=False),
        sa.Column("high", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_word_drift")),
        comment="An entry that found more or less than its band allows. retention: governance",
    )


def _rota() -> None:
    op.create_table(
        "rota_row",
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False, comment="the order of writing, from 1"),
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column(
            "kind", sa.String(length=40), nullable=False, comment="rotation, extra, cover, leave, skill, withdrawn"
        ),
        sa.Column(
            "at", sa.BigInteger(), nullable=False, comment="when it was written: the past is answered by what was then"
        ),
        sa.Column("by", sa.String(length=26), nullable=True, comment="an account, or the operator"),
        sa.Column("account", sa.String(length=26), nullable=True, comment="whom it is about"),
        sa.Column("other", sa.String(length=26), nullable=True, comment="cover: who serves instead"),
        sa.Column("role", sa.String(length=40), nullable=True),
        sa.Column("starts_at", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True, comment="NULL: it has no end of its own"),
        sa.Column(
            "rotation",
            sa.String(length=26),
            nullable=True,
            comment="which rotation; its newest row holds from its first day",
        ),
        sa.Column("content", sa.Text(), nullable=True, comment="JSON: a rotation, or a skill"),
        sa.Column("skill", sa.String(length=40), nullable=True),
        sa.Column("of", sa.Integer(), nullable=True, comment="withdrawn: the row that holds no more"),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_rota_row_account")),
        sa.ForeignKeyConstraint(["other"], ["account.id"], name=op.f("fk_rota_row_other")),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_rota_row")),
        sa.UniqueConstraint("id", name=op.f("uq_rota_row_id")),
        comment="One line of the rota; never changed, only added to. retention: staffing",
    )
    with op.batch_alter_table("rota_row", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rota_row_account"), ["account"], unique=False)
        batch_op.create_index(batch_op.f("ix_rota_row_ends_at"), ["ends_at"], unique=False)
    op.create_table(
        "rota_swap",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("asker", sa.String(length=26), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("other", sa.String(length=26), nullable=False, comment="who is asked to serve it"),
        sa.Column(
            "back_starts_at", sa.BigInteger(), nullable=True, comment="what the asker serves instead; NULL: nothing"
        ),
        sa.Column("back_ends_at", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=40), nullable=False, comment="asked, accepted, refused, withdrawn"),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["asker"], ["account.id"], name=op.f("fk_rota_swap_asker")),
        sa.ForeignKeyConstraint(["other"], ["account.id"], name=op.f("fk_rota_swap_other")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rota_swap")),
        comment="One person asks another to take a shift; rows of the rota follow only from a yes. retention: staffing",
    )
    with op.batch_alter_table("rota_swap", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rota_swap_asker"), ["asker"], unique=False)
        batch_op.create_index(batch_op.f("ix_rota_swap_other"), ["other"], unique=False)
    op.create_table(
        "duty_check",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("account", sa.String(length=26), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False, comment="of the shift that it is about"),
        sa.Column("ends_at", sa.BigInteger(), nullable=False, comment="of the shift, as it was when it was asked"),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True, comment="NULL: the shift has not begun"),
        sa.Column(
            "answered_by",
            sa.String(length=26),
            nullable=True,
            comment="the person; or whoever put them on duty at once",
        ),
        sa.Column(
            "told_at", sa.BigInteger(), nullable=True, comment="when somebody else was told that there is no answer"
        ),
        sa.Column(
            "over_at",
            sa.BigInteger(),
            nullable=True,
            comment="when it was put away unanswered, its shift being gone",
        ),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_duty_check_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_duty_check")),
        sa.UniqueConstraint("account", "role", "starts_at", name=op.f("uq_duty_check_account_role_starts_at")),
        comment="Can whoever is to be on duty be reached? A shift begins with the answer. retention: staffing",
    )
    with op.batch_alter_table("duty_check", schema=None) as batch_op:
        batch_op.create_index("ix_duty_check_ends_at", ["ends_at"], unique=False)
    op.create_table(
        "duty_call",
        sa.Column("check", sa.String(length=26), nullable=False),
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column(
            "state", sa.String(length=40), nullable=False, comment="of the last attempt: pending, sent, failed, unknown"
        ),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column(
            "retry_at", sa.BigInteger(), nullable=False, comment="when it is to be tried next, unless it is answered"
        ),
        sa.Column("attempted_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["check"], ["duty_check.id"], name=op.f("fk_duty_call_check")),
        sa.PrimaryKeyConstraint("check", "channel", name=op.f("pk_duty_call")),
        comment="The question whether somebody can be reached, by one channel. retention: staffing",
    )
    op.create_table(
        "handover",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("case", sa.String(length=26), nullable=False),
        sa.Column("leaver", sa.String(length=26), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False, comment="of the leaver's shift"),
        sa.Column("offered_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "state", sa.String(length=40), nullable=False, comment="offered, called (nobody took it in time), accepted"
        ),
        sa.Column("words", sa.LargeBinary(), nullable=True, comment="the leaver's, sealed"),
        sa.Column("words_key", sa.String(length=26), nullable=True),
        sa.Column("accepted_by", sa.String(length=26), nullable=True),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("reply", sa.LargeBinary(), nullable=True, comment="what whoever took it has understood, sealed"),
        sa.Column("reply_key", sa.String(length=26), nullable=True),
        sa.ForeignKeyConstraint(["case"], ["review_case.id"], name=op.f("fk_handover_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_handover")),
        sa.UniqueConstraint("case", "leaver", "ends_at", name=op.f("uq_handover_case_leaver_ends_at")),
        comment="What somebody held as their shift ended, until a named person has it. retention: governance",
    )
    with op.batch_alter_table("handover", schema=None) as batch_op:
        batch_op.create_index("ix_handover_state", ["state"], unique=False)
