"""The words of chunks in the database."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, delete, insert, text

from hub.database import sync_engine, upgrade
from knowledge.lexical import LexicalIndex, TermCounts, chosen_terms
from knowledge.tables import ChunkRow, DocumentRow
from knowledge.terms import question_words
from tests.migrating import migrate


@pytest.fixture
def engine(every_database: str) -> Iterator[Engine]:
    """Open a database without documents."""
    opened = sync_engine(every_database)
    yield opened
    opened.dispose()


def add(
    connection: Connection, texts: Sequence[str], *, title: str = "T", collection: str = "c"
) -> list[int]:
    """Add a document with these chunks; returns their ids."""
    row = {
        "collection": collection,
        "root": "/",
        "location": title,
        "title": title,
        "media_type": "text/plain",
        "version": "v",
        "size_bytes": 1,
        "added_at": datetime.now(UTC),
    }
    document = connection.execute(insert(DocumentRow).values(row).returning(DocumentRow.id)).scalar_one()
    chunk = {
        "document_id": document,
        "heading": "Part",
        "text_hash": "",
        "embedding": b"",
        "embedding_model": "m",
    }
    return [
        connection.execute(
            insert(ChunkRow).values({**chunk, "ordinal": ordinal, "text": words}).returning(ChunkRow.id)
        ).scalar_one()
        for ordinal, words in enumerate(texts)
    ]


def find(connection: Connection, question: str, k: int = 10, **scope: str) -> list[int]:
    """Search as a question does."""
    asked, lexical = question_words(question), LexicalIndex()
    where = [DocumentRow.collection == collection for collection in scope.values()]
    return lexical.search(connection, asked, lexical.count(connection, asked, 1), k, where=where)


def test_chunk_is_found_by_another_form_of_its_word(engine: Engine) -> None:
    """In the transaction that adds it, and after."""
    with engine.begin() as connection:
        tomatoes, _, trains = add(connection, ["Water tomatoes daily", "Prune roses", "Trains to Vienna"])
        assert find(connection, "How is a tomato watered?") == [tomatoes]

    with engine.connect() as connection:
        assert find(connection, "the train for vienna") == [trains]


def test_words_of_title_and_heading_count(engine: Engine) -> None:
    """A chunk is found by what it stands under."""
    with engine.begin() as connection:
        (chunk,) = add(connection, ["Open at nine"], title="Museum")
        add(connection, ["Closed"], title="Pool")

        assert find(connection, "museums") == [chunk]
        assert len(find(connection, "part")) == 2


def test_removed_document_leaves_no_words(engine: Engine) -> None:
    """The chunks go with their document, and their words with them."""
    with engine.begin() as connection:
        add(connection, ["swordfish", "swordfish again"])
        connection.execute(delete(DocumentRow))

        assert find(connection, "swordfish") == []
        assert connection.execute(text("SELECT count(*) FROM chunk_words")).scalar() == 0


def test_rolled_back_chunk_is_not_found(engine: Engine) -> None:
    """Words are part of the transaction."""
    with engine.connect() as connection:
        with connection.begin():
            add(connection, ["swordfish"])
            connection.rollback()
        assert find(connection, "swordfish") == []


def test_chunks_from_before_the_index_are_in_it(engine: Engine, every_database: str) -> None:
    """The migration takes in what is there."""
    migrate(engine, "0004")
    with engine.begin() as connection:
        (chunk,) = add(connection, ["swordfish"])

    upgrade(every_database)

    with engine.connect() as connection:
        assert find(connection, "swordfish") == [chunk]


def test_search_keeps_to_its_conditions(engine: Engine) -> None:
    """What lies outside of the scope is not found, however near."""
    with engine.begin() as connection:
        add(connection, ["swordfish swordfish"], title="A", collection="secret")
        (public,) = add(connection, ["a swordfish and much else"], title="B", collection="public")

        assert find(connection, "swordfish", collection="public") == [public]


@pytest.mark.parametrize(
    "question",
    [
        '"',
        "AND OR NOT NEAR(",
        "chunk_words:x",
        "a* ^b",
        "o'brien \\ ' & | ! <->",
        "-",
        "\x00word",
        "C++",
        "日本語",
    ],
)
def test_operators_are_words(engine: Engine, question: str) -> None:
    """No question is a query language, and none is an error."""
    with engine.begin() as connection:
        add(connection, ["something else"])

        assert find(connection, question) == []


def test_rarest_words_are_looked_for() -> None:
    """What stands everywhere is left out while there is something rarer, and a long text is cut."""
    counts = TermCounts(chunks=10, with_term={"all": 10, "some": 3, "one": 1, "none": 0})
    many = TermCounts(chunks=1000, with_term={str(number): 1 + number for number in range(100)})
    large = TermCounts(chunks=1_000_000, with_term={"a": 10, "b": 40_000, "c": 60_000})

    assert chosen_terms(counts.with_term, counts) == ["one", "some"]
    assert chosen_terms(["all"], counts) == ["all"]
    assert chosen_terms(many.with_term, many) == [str(number) for number in range(24)]
    assert chosen_terms(large.with_term, large) == ["a", "b"]
    assert chosen_terms(["c"], large) == ["c"]


def test_counts_are_remembered_for_one_version(engine: Engine) -> None:
    """After a change the chunks are counted again."""
    asked, lexical = question_words("swordfish"), LexicalIndex()
    with engine.begin() as connection:
        add(connection, ["swordfish"], title="A")
        first = lexical.count(connection, asked, 1)
        add(connection, ["swordfish"], title="B")

        assert (first.chunks, first.with_term) == (1, {"swordfish": 1})
        assert lexical.count(connection, asked, 1) == first
        assert lexical.count(connection, asked, 2) == TermCounts(chunks=2, with_term={"swordfish": 2})
