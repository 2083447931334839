"""Who may read what: no passage of a narrower audience reaches anybody else, and none is missed for its sake."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from hub.database import database_url, sync_engine
from hub.errors import KnowledgeError
from hub.settings import KnowledgeSettings, Settings
from knowledge import search
from knowledge.audience import ANYONE, THE_OPERATOR, Reader, parse_audience, reader_as
from knowledge.index import faiss
from knowledge.index.faiss import FaissIndex
from knowledge.library import Library
from knowledge.search import KnowledgeBase

AUDIENCES = {
    "open": "public",
    "staff": "operator",
    "shop": "site:shop",
    "club": "site:club",
    "ada": "person:web-ada",
    "bob": "person:telegram-bob",
}
THINGS = ["ferry", "train", "library", "museum", "bakery", "harbour"]
QUESTIONS = [f"When does the {thing} open?" for thing in THINGS] + ["open open open", "x", "password of ada"]
READERS = st.builds(
    Reader,
    site=st.sampled_from(["", "shop", "club", "operator", "public"]),
    people=st.frozensets(st.sampled_from(["web-ada", "telegram-bob", "", "operator"]), max_size=2),
    is_operator=st.booleans(),
)


@pytest.mark.parametrize("audience", ["public", "operator", "site:shop", "person:web-1a2b", "person:a:b"])
def test_audiences_are_read(audience: str) -> None:
    """As they are written; whoever is looked as belongs to them, and to the public."""
    assert parse_audience(audience) == audience
    assert reader_as(audience).audiences == {"public", audience}


@pytest.mark.parametrize(
    "audience",
    ["", "Public", "site:", "person:", "site: x", "site", "everybody", "site:a\nb", "person:" + "x" * 300],
)
def test_what_is_no_audience_is_refused(audience: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(KnowledgeError, match="expected public, operator, site:KEY or person:ID"):
        parse_audience(audience)


@given(reader=READERS)
def test_readers_belong_to_what_is_known_of_them(reader: Reader) -> None:
    """A name never makes somebody an operator, and nobody is of the public alone by having none."""
    assert "public" in reader.audiences
    assert ("operator" in reader.audiences) is reader.is_operator
    assert {parse_audience(audience) for audience in reader.audiences} == reader.audiences
    assert all(reader.may_read(audience) for audience in reader.audiences)


@pytest.fixture(scope="module", params=[5_000, 0], ids=["flat", "hnsw"])
def limit(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run with an exact index, and with one of HNSW."""

    class Sized(FaissIndex):
        def __init__(self, dimension: int, **_: int) -> None:
            super().__init__(dimension, flat_limit=request.param)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss, "FaissIndex", Sized)
        yield request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base(tmp_path_factory: pytest.TempPathFactory, limit: int) -> AsyncIterator[KnowledgeBase]:
    """A base with documents about the same things for everybody; the narrow ones lie nearest to the questions."""
    folder = tmp_path_factory.mktemp("audiences")
    settings = Settings(data=folder / "data", knowledge=KnowledgeSettings(bundled_docs=False, readers=1))
    opened = await KnowledgeBase.open(settings)
    for name, audience in AUDIENCES.items():
        (folder / name).mkdir()
        for thing, copy in itertools.product(THINGS, range(1 if name == "open" else 12)):
            told = f"The {thing} opens at {copy + 1} for {name}, in hall {copy * 7}."
            (folder / name / f"{thing}{copy}.md").write_text(told)
        await opened.ingest([folder / name], collection=name, audience=audience)
    await opened.search("settle", 1)
    yield opened
    await opened.close()


def names(reader: Reader) -> set[str]:
    """Give the collections that a reader may read."""
    return {name for name, audience in AUDIENCES.items() if audience in reader.audiences}


@pytest.mark.asyncio(loop_scope="module")
@examples(max_examples=80, deadline=None)
@given(reader=READERS, question=st.sampled_from(QUESTIONS), k=st.integers(1, 40))
async def test_nobody_is_shown_what_is_for_others(
    base: KnowledgeBase, reader: Reader, question: str, k: int
) -> None:
    """Whoever asks whatever: only passages for them, and as many of those as there are."""
    passages = await base.search(question, k, reader)

    mine = names(reader)
    assert {word for one in passages for word in AUDIENCES if f"for {word}," in one.text} <= mine
    assert all(one.audience in reader.audiences for one in passages)
    assert 0 < len(passages) <= k


@pytest.mark.asyncio(loop_scope="module")
async def test_documents_for_others_push_nothing_out(base: KnowledgeBase) -> None:
    """Hundreds of nearer passages for others: the public ones are all found, as if nothing else were there."""
    passages = await base.search("When does the ferry open?", len(THINGS))

    assert sorted(one.text.split()[1] for one in passages) == sorted(THINGS)
    assert {one.audience for one in passages} == {"public"}


@pytest.mark.asyncio(loop_scope="module")
async def test_whoever_says_nothing_of_themselves_reads_what_is_public(base: KnowledgeBase) -> None:
    """That is what a search gives without a reader."""
    assert await base.search(QUESTIONS[0], 9) == await base.search(QUESTIONS[0], 9, ANYONE)


@pytest.fixture
def settings(settings_of_each: Settings) -> Settings:
    """Run on a database of each kind."""
    return settings_of_each


@pytest.fixture
async def small(settings: Settings, folder: Path) -> AsyncIterator[tuple[KnowledgeBase, Engine]]:
    """A base with one document for operators, and its database."""
    (folder / "a.md").write_text("The safe opens at nine.")
    opened = await search.KnowledgeBase.open(settings)
    await opened.ingest([folder], collection="staff", audience="operator")
    engine = sync_engine(database_url(settings))
    yield opened, engine
    engine.dispose()
    await opened.close()


QUESTION = "When does the safe open?"


async def test_a_changed_audience_counts_at_once(small: tuple[KnowledgeBase, Engine]) -> None:
    """From the next search on, in every process."""
    base, engine = small
    assert await base.search(QUESTION, 1) == []
    assert len(await base.search(QUESTION, 1, THE_OPERATOR)) == 1

    for audience, expected in [("public", 1), ("site:shop", 0), ("public", 1), ("operator", 0)]:
        Library(engine).set_audience("staff", audience)
        assert len(await base.search(QUESTION, 1)) == expected


async def test_documents_without_a_collection_are_for_nobody(small: tuple[KnowledgeBase, Engine]) -> None:
    """Whatever went wrong: nobody reads what nobody is named for."""
    base, engine = small
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM collections WHERE name = 'staff'"))

    assert await base.search(QUESTION, 1, THE_OPERATOR) == []


async def test_each_result_is_looked_at_once_more(
    small: tuple[KnowledgeBase, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the query ever wrong, nothing would get out, and the log would tell."""
    base, _ = small
    everything = frozenset({"public", "operator"})
    monkeypatch.setattr(Reader, "audiences", everything)
    monkeypatch.setattr(Reader, "may_read", lambda _, audience: audience == "public")
    monkeypatch.setattr(base._visibility, "hidden_from", lambda _: None)

    with capture_logs() as logs:
        assert await base.search(QUESTION, 1) == []

    assert {entry["event"] for entry in logs if entry["log_level"] == "error"} == {"passages_withheld"}


async def test_a_view_is_the_same_for_those_who_see_the_same(small: tuple[KnowledgeBase, Engine]) -> None:
    """Until a document or an audience changes."""
    base, engine = small
    ada, bob = reader_as("person:ada"), reader_as("person:bob")
    first = await base.view(ada)

    assert first == await base.view(bob) == await base.view(ANYONE)
    assert first != await base.view(THE_OPERATOR)
    Library(engine).set_audience("staff", "person:ada")
    assert len({first, await base.view(ada), await base.view(bob)}) == 3
    assert await base.view(bob) == await base.view(THE_OPERATOR)
