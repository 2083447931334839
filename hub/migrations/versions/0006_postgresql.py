"""PostgreSQL: search without accents, locations of any length, no samples of what people said among the statistics.

SQLite has all three as it is.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_WORDS = "CREATE INDEX ix_archived_turns_words ON archived_turns USING gin (to_tsvector('simple', {}))"
_PLAIN = "question || ' ' || answer"
# What hub.archive.search asks for. Cut, because a text of more than a megabyte of words would not be stored at all.
_FOLDED = (
    "normalize(regexp_replace(normalize(left(question || ' ' || answer, 100000), NFD), "
    r"'[\u0300-\u036f]+', '', 'g'), NFC)"
)
# A btree takes no more than 2.7 kB, and paths and addresses may be longer. A hash has no such limit, and compares
# the texts themselves when it finds one. Names of collections hold no blank, so that no two places look alike.
_PLACE = (
    "ALTER TABLE documents ADD CONSTRAINT ex_documents_place EXCLUDE USING hash "
    "((collection || ' ' || length(root) || ' ' || root || location) WITH =)"
)
_TEXTS = {
    "archived_turns": "conversation turn place connector account person identity kind code route model question answer "
    "delivery",
    "archived_feedback": "conversation turn person connector value",
    "archived_facts": "conversation owner connector account person identity key text quote found_by turn place",
    "knowledge_gaps": "turn conversation connector text language embedding_model",
    "collections": "name audience",
    "documents": "collection root location title media_type version source_version",
    "chunks": "heading text text_hash embedding_model",
}
_JSON = {"archived_turns": "address sources", "knowledge_gaps": "proposals"}
_SAMPLED = -1
_NOT_SAMPLED = 0


def upgrade() -> None:
    """Change indexes and statistics."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP INDEX ix_archived_turns_words")
    op.execute("ALTER TABLE documents DROP CONSTRAINT uq_documents_collection_root_location")
    _sample(_NOT_SAMPLED)
    op.execute(_WORDS.format(_FOLDED))
    op.execute("ALTER INDEX ix_archived_turns_words ALTER COLUMN 1 SET STATISTICS 0")
    op.execute(
        "ALTER TABLE chunk_words ALTER COLUMN words TYPE tsvector, ALTER COLUMN words SET STATISTICS 0"
    )
    op.execute(_PLACE)
    op.execute("ALTER INDEX ex_documents_place ALTER COLUMN 1 SET STATISTICS 0")
    op.execute("CREATE INDEX ix_documents_location ON documents USING hash (location)")


def downgrade() -> None:
    """Change them back."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("DROP INDEX ix_documents_location")
    op.execute("ALTER TABLE documents DROP CONSTRAINT ex_documents_place")
    op.execute("DROP INDEX ix_archived_turns_words")
    _sample(_SAMPLED)
    op.execute("ALTER TABLE chunk_words ALTER COLUMN words SET STATISTICS -1")
    op.execute(_WORDS.format(_PLAIN))
    op.create_unique_constraint(
        "uq_documents_collection_root_location", "documents", ["collection", "root", "location"]
    )


def _sample(statistics: int) -> None:
    """Say how many values of the columns ANALYZE keeps; giving a column its own type anew removes those it has kept."""
    for kind, tables in (("text", _TEXTS), ("json", _JSON)):
        for table, columns in tables.items():
            for column in columns.split():
                op.execute(
                    f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}, "
                    f"ALTER COLUMN {column} SET STATISTICS {statistics}"
                )
