"""Questions nobody could answer."""

import sqlalchemy as sa
from alembic import op

from hub.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "knowledge_gaps",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("turn", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("conversation", sa.Text, nullable=False, index=True),
        sa.Column("connector", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False, index=True),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("embedding_model", sa.Text, nullable=False),
        sa.Column("proposals", sa.JSON),
        sqlite_autoincrement=True,
    )
    op.create_index(None, "knowledge_gaps", ["turn", "ordinal"], unique=True)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("knowledge_gaps")
