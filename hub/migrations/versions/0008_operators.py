"""Operators with their sessions and signing keys, and the audit log, whose entries nobody can change."""

import sqlalchemy as sa
from alembic import op

from hub.database import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TEXTS = (
    "actor_kind",
    "actor",
    "actor_name",
    "address",
    "request",
    "action",
    "change",
    "target",
    "outcome",
    "code",
)
_FIXED = ("id", "at", "actor_kind", "actor", "actor_name", "address", "request", "action")
"""What an entry says from its beginning."""
_REASON = "entries of the audit log cannot be changed"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "operators",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("password_changed_at", UtcDateTime, nullable=False),
        sa.Column("last_signed_in_at", UtcDateTime),
        sa.Column("disabled_at", UtcDateTime),
    )
    operator = sa.ForeignKey("operators.id", ondelete="CASCADE")
    op.create_table(
        "operator_sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("operator", sa.Text, operator, nullable=False, index=True),
        sa.Column("serial", sa.Integer, nullable=False),
        sa.Column("refresh_hash", sa.Text, nullable=False, unique=True),
        sa.Column("csrf", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("refreshed_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", UtcDateTime, nullable=False),
        sa.Column("ended_at", UtcDateTime),
    )
    session = sa.ForeignKey("operator_sessions.id", ondelete="CASCADE")
    op.create_table(
        "operator_used_tokens",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("session", sa.Text, session, nullable=False, index=True),
    )
    op.create_table(
        "operator_signing_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", UtcDateTime, nullable=False, index=True),
        *(
            sa.Column(name, sa.Text, nullable=False, index=name in ("actor", "action") or None)
            for name in _TEXTS
        ),
        sa.Column("numbers", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        changed = " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in _FIXED)
        op.execute(
            "CREATE FUNCTION audit_is_final() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF OLD.outcome <> 'begun' OR {changed} THEN RAISE EXCEPTION '{_REASON}'; END IF; "
            "RETURN NEW; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_final()"
        )
        return
    changed = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in _FIXED)
    op.execute(
        f"CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit WHEN OLD.outcome <> 'begun' OR {changed} "
        f"BEGIN SELECT RAISE(ABORT, '{_REASON}'); END"
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("audit", "operator_signing_keys", "operator_used_tokens", "operator_sessions", "operators"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_final")
