"""The archive: turns, judgements, facts, and a full-text index over what was said."""

import sqlalchemy as sa
from alembic import op

from hub.database import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "archived_turns",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("turn", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        *_person(),
        sa.Column("is_group", sa.Boolean, nullable=False),
        sa.Column("address", sa.JSON),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False, index=True),
        sa.Column("answered_at", UtcDateTime, nullable=False),
        sa.Column("delivery", sa.Text, nullable=False),
        sa.Column("delivered_at", UtcDateTime),
        sa.Column("unclear_sends", sa.Integer, nullable=False),
        sa.UniqueConstraint("conversation", "turn"),
        sa.Index(None, "connector", "account", "person"),
        # Ids are never used twice: the full-text index knows turns by them.
        sqlite_autoincrement=True,
    )
    op.create_table(
        "archived_feedback",
        sa.Column("conversation", sa.Text, primary_key=True),
        sa.Column("turn", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, primary_key=True),
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("judged_at", UtcDateTime, nullable=False),
        sa.Index(None, "connector", "person"),
    )
    op.create_table(
        "archived_facts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("conversation", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        *_person(),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("quote", sa.Text, nullable=False),
        sa.Column("found_by", sa.Text, nullable=False),
        sa.Column("turn", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("told_at", UtcDateTime, nullable=False),
        sa.UniqueConstraint("conversation", "owner", "key", "turn"),
        sa.Index(None, "connector", "account", "person"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "archive_positions",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("position", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in _SQLITE:
            op.execute(statement)
    else:
        # Without a language's own rules: people write in many, and names are no words of any.
        op.execute(
            "CREATE INDEX ix_archived_turns_words ON archived_turns "
            "USING gin (to_tsvector('simple', question || ' ' || answer))"
        )


def downgrade() -> None:
    """Drop the tables."""
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("archived_turns_words")
    for table in ("archive_positions", "archived_facts", "archived_feedback", "archived_turns"):
        op.drop_table(table)


def _person() -> list[sa.Column[str]]:
    return [
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False, index=True),
    ]


# Source: SQLite, FTS5, section 4.4.3, external content tables.
_INSERT = (
    "INSERT INTO archived_turns_words(rowid, question, answer) VALUES (new.id, new.question, new.answer);"
)
_DELETE = (
    "INSERT INTO archived_turns_words(archived_turns_words, rowid, question, answer) "
    "VALUES ('delete', old.id, old.question, old.answer);"
)
_SQLITE = (
    "CREATE VIRTUAL TABLE archived_turns_words USING fts5(question, answer, content='archived_turns', content_rowid='id', "
    "tokenize='unicode61 remove_diacritics 2')",
    f"CREATE TRIGGER archived_turns_added AFTER INSERT ON archived_turns BEGIN {_INSERT} END",
    f"CREATE TRIGGER archived_turns_removed AFTER DELETE ON archived_turns BEGIN {_DELETE} END",
    "CREATE TRIGGER archived_turns_changed AFTER UPDATE OF question, answer ON archived_turns "
    f"BEGIN {_DELETE} {_INSERT} END",
)
