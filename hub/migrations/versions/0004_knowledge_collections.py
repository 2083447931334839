"""Collections of documents with their audiences, and what a source itself calls a document's version."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from hub.database import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; what is there already stays readable for everybody."""
    collections = op.create_table(
        "collections",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    named = op.get_bind().execute(sa.text("SELECT DISTINCT collection FROM documents")).scalars()
    now = datetime.now(UTC)
    rows = [
        {"name": name, "audience": "public", "created_at": now}
        for name in sorted({"bundled", "documents", *named})
    ]
    op.bulk_insert(collections, rows)
    op.add_column("documents", sa.Column("source_version", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop the table; documents that were not for everybody are removed, or everybody could read them."""
    op.execute(
        "DELETE FROM documents WHERE collection NOT IN (SELECT name FROM collections WHERE audience = 'public')"
    )
    op.drop_column("documents", "source_version")
    op.drop_table("collections")
