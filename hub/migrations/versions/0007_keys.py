"""API keys: where they may be used, earlier secrets that still work, what was asked with each; conversations by age."""

import sqlalchemy as sa
from alembic import op

from hub.database import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and columns."""
    op.add_column("api_keys", sa.Column("networks", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("api_keys", sa.Column("rotated_at", UtcDateTime))
    key = sa.ForeignKey("api_keys.id", ondelete="CASCADE")
    op.create_table(
        "api_key_earlier_secrets",
        sa.Column("hash", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, key, nullable=False, index=True),
        sa.Column("until", UtcDateTime, nullable=False),
    )
    op.create_table(
        "api_key_usage",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("answer_tokens", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "api_key_usage_positions",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("position", sa.Text, nullable=False),
    )
    op.create_index(None, "archived_turns", ["conversation", "place"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_archived_turns_conversation_place", "archived_turns")
    for table in ("api_key_usage_positions", "api_key_usage", "api_key_earlier_secrets"):
        op.drop_table(table)
    op.drop_column("api_keys", "rotated_at")
    op.drop_column("api_keys", "networks")
