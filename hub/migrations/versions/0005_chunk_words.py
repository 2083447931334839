"""The words of all chunks for lexical search, kept equal to the chunks by triggers."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SQLITE = (
    """CREATE VIRTUAL TABLE chunk_words USING fts5(
        title, heading, text, tokenize = 'porter unicode61 remove_diacritics 2')""",
    """INSERT INTO chunk_words (rowid, title, heading, text)
        SELECT chunks.id, documents.title, chunks.heading, chunks.text
        FROM chunks JOIN documents ON documents.id = chunks.document_id""",
    """CREATE TRIGGER chunk_words_add AFTER INSERT ON chunks BEGIN
        INSERT INTO chunk_words (rowid, title, heading, text)
        SELECT new.id, title, new.heading, new.text FROM documents WHERE id = new.document_id;
    END""",
    # Also when the document goes and takes its chunks along.
    """CREATE TRIGGER chunk_words_remove AFTER DELETE ON chunks BEGIN
        DELETE FROM chunk_words WHERE rowid = old.id;
    END""",
)
_WORDS = """setweight(to_tsvector('english', title || ' ' || heading), 'A')
        || setweight(to_tsvector('english', text), 'D')"""
_POSTGRESQL = (
    """CREATE TABLE chunk_words (
        chunk_id integer PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE, words tsvector NOT NULL)""",
    # The names are this file's own.
    f"""INSERT INTO chunk_words SELECT chunks.id, {_WORDS}
        FROM chunks JOIN documents ON documents.id = chunks.document_id""",  # noqa: S608
    "CREATE INDEX ix_chunk_words_words ON chunk_words USING gin (words)",
    f"""CREATE FUNCTION add_chunk_words() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO chunk_words SELECT chunk.id, {_WORDS}
        FROM (SELECT NEW.id, NEW.heading, NEW.text) AS chunk (id, heading, text), documents
        WHERE documents.id = NEW.document_id;
        RETURN NULL;
    END $$""",  # noqa: S608
    """CREATE TRIGGER chunk_words_add AFTER INSERT ON chunks
        FOR EACH ROW EXECUTE FUNCTION add_chunk_words()""",
)


def upgrade() -> None:
    """Create the index of words and fill it."""
    for step in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(step)


def downgrade() -> None:
    """Drop the index of words."""
    if op.get_bind().dialect.name == "sqlite":
        steps = ["DROP TRIGGER chunk_words_add", "DROP TRIGGER chunk_words_remove", "DROP TABLE chunk_words"]
    else:
        steps = [
            "DROP TRIGGER chunk_words_add ON chunks",
            "DROP FUNCTION add_chunk_words",
            "DROP TABLE chunk_words",
        ]
    for step in steps:
        op.execute(step)
