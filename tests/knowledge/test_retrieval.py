"""Passages by meaning and by words together."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, update

from hub.settings import KnowledgeSettings, Settings
from knowledge.audience import ANYONE, Reader
from knowledge.embedder import Embedder
from knowledge.index.homes import index_home
from knowledge.index.keeper import IndexKeeper
from knowledge.ingest import Ingester
from knowledge.lexical import TermCounts
from knowledge.ranking import Candidate, Weights, measures, rarity, shared, weighed
from knowledge.retrieval import Finder, Ordering
from knowledge.store import DocumentStore
from knowledge.tables import DocumentRow
from knowledge.terms import terms
from knowledge.visibility import Visibility

ADA = Reader(people=frozenset({"ada"}))

PARTS = {
    f"part-{number}.md": f"# Part {code}\n\nThe part {code} is a valve of the pump, made of brass, and costs {number} euros."
    for number, code in enumerate(["KX-4711", "KX-4712", "KX-4713", "ZB-9001", "ZB-9002", "QQ-0815"], start=1)
}


@pytest.fixture
def settings(settings_of_each: Settings) -> Settings:
    """Run on a database of each kind."""
    return settings_of_each


@pytest.fixture
def keeper(engine: Engine, settings: Settings, embedder: Embedder, folder: Path) -> IndexKeeper:
    """Take the list of parts in; the last of them into a collection of its own."""
    ingester = Ingester(DocumentStore(engine), embedder, KnowledgeSettings())
    secret = folder.parent / "secret"
    secret.mkdir()
    for name, text in PARTS.items():
        ((secret if "QQ" in text else folder) / name).write_text(text)
    ingester.ingest([folder])
    ingester.ingest([secret], collection="secret", audience="person:ada")
    kept = IndexKeeper(engine, index_home(settings, embedder.model), embedder.model)
    kept.open()
    return kept


def opened(engine: Engine, keeper: IndexKeeper, ordering: Ordering | None = None) -> Finder:
    """Give what searches the list of parts."""
    return Finder(engine, keeper, Visibility(engine), ordering or Ordering())


def find(finder: Finder, embedder: Embedder, question: str, k: int = 6, reader: Reader = ANYONE) -> list[str]:
    """Give the locations of what is found."""
    vector = embedder.encode([question])[0]
    return [passage.location for passage in finder.find(question, vector, k, reader)]


def test_a_rare_word_leads_to_its_document(engine: Engine, keeper: IndexKeeper, embedder: Embedder) -> None:
    """Among documents that mean the same, the one that is named comes first."""
    finder = opened(engine, keeper)

    for name, text in PARTS.items():
        code = text.split()[2]
        assert find(finder, embedder, f"What does {code} cost?", reader=ADA)[0] == name


def test_score_is_the_cosine(engine: Engine, keeper: IndexKeeper, embedder: Embedder) -> None:
    """Words move the order; the score stays what `min_score` is about."""
    question = "What does ZB-9001 cost?"
    vector = embedder.encode([question])[0]

    for passage in opened(engine, keeper).find(question, vector, 3):
        own = embedder.encode([f"{passage.title}\n{passage.text}"])[0]
        assert passage.score == pytest.approx(float(own @ vector), abs=1e-3)


def test_an_audience_holds_for_meaning_and_for_words(
    engine: Engine, keeper: IndexKeeper, embedder: Embedder
) -> None:
    """What is not meant for a reader is not found even by its own name, and is by whom it is meant for."""
    finder = opened(engine, keeper)

    found = find(finder, embedder, "What does QQ-0815 cost?", 10)

    assert found
    assert "part-6.md" not in found
    assert find(finder, embedder, "What does QQ-0815 cost?", 10, ADA)[0] == "part-6.md"


def test_what_has_become_private_is_not_shown(
    engine: Engine, keeper: IndexKeeper, embedder: Embedder
) -> None:
    """The database is asked for the audience again when nothing else has noticed yet."""
    finder = opened(engine, keeper)
    assert "part-1.md" in find(finder, embedder, "KX-4711", 10)

    with engine.begin() as connection:
        connection.execute(
            update(DocumentRow).where(DocumentRow.location == "part-1.md").values(collection="secret")
        )

    assert "part-1.md" not in find(finder, embedder, "KX-4711", 10)


def test_weights_of_zero_leave_the_cosine(engine: Engine, keeper: IndexKeeper, embedder: Embedder) -> None:
    """Without words the order is that of the similarity."""
    finder = opened(engine, keeper, Ordering(weights=Weights(around=0, words=0)))
    vector = embedder.encode(["What does ZB-9002 cost?"])[0]

    scores = [passage.score for passage in finder.find("What does ZB-9002 cost?", vector, 6)]

    assert scores == sorted(scores, reverse=True)


def test_rare_words_say_more() -> None:
    """A word of few chunks weighs more than one of many, and none weighs less than nothing."""
    counts = TermCounts(chunks=100, with_term={"rare": 1, "usual": 50, "everywhere": 100})

    weights = [rarity(counts, term) for term in ("unknown", "rare", "usual", "everywhere")]

    assert weights == sorted(weights, reverse=True)
    assert weights[-1] > 0


def test_shared_words_are_a_share() -> None:
    """None is 0, all of them often is near 1, and a rare one is worth more than a common one."""
    rarities = {"tomato": 3.0, "water": 1.0}

    assert shared(rarities, [{"rose": 1, "": 1}]) == 0
    assert 0.9 < shared(rarities, [{"tomato": 20, "": 20}, {"water": 20, "": 20}]) < 1
    assert shared(rarities, [{"tomato": 1, "": 9}]) > shared(rarities, [{"water": 1, "": 9}])
    assert shared(rarities, [{"water": 1, "": 9}]) > shared(rarities, [{"water": 1, "": 90}])
    assert shared({}, [{"water": 1, "": 1}]) == 0


def test_measures_are_added_up_with_their_weights() -> None:
    """The cosine counts 1, neighbourhood and words as much as the weights say."""
    vector = np.array([1, 0], np.float32)
    candidate = Candidate(
        id=1,
        title="Garden",
        location="",
        heading="Vegetables > Tomatoes",
        text="water",
        version="",
        embedding=vector,
        around=np.array([0.6, 0.8], np.float32),
        texts=("water", "roses"),
    )
    counts = TermCounts(chunks=2, with_term={"tomato": 1, "water": 1, "garden": 1})

    found = measures(terms("water tomatoes of gardens"), counts, vector, [candidate])

    words = 2 / 3 * 1 / (1 + 2 * (0.25 + 0.75 * 3 / 120))
    assert found.tolist() == [[1.0, pytest.approx(0.6), pytest.approx(words)]]
    assert weighed(found, Weights(around=0.5, words=0.25))[0] == pytest.approx(1.3 + 0.25 * words)


def test_neighbours_are_those_of_the_same_section(
    engine: Engine, settings: Settings, embedder: Embedder, folder: Path
) -> None:
    """A chunk is weighed with what stands around it under the same heading, and with nothing else."""
    first = "\n\n".join(f"Paragraph {number} tells of boats and harbours. " * 12 for number in range(9))
    (folder / "long.md").write_text(f"# Sea\n\n## Boats\n\n{first}\n\n## Fish\n\nHerrings swim.\n")
    Ingester(DocumentStore(engine), embedder, KnowledgeSettings()).ingest([folder])
    keeper = IndexKeeper(engine, index_home(settings, embedder.model), embedder.model)
    keeper.open()
    finder = opened(engine, keeper)

    candidates, _ = finder.measured("boats", embedder.encode(["boats"])[0], 60)

    boats = sorted((one for one in candidates if one.heading == "Boats"), key=lambda one: one.id)
    (fish,) = (one for one in candidates if one.heading == "Fish")
    assert len(boats) == 9
    assert [len(one.texts) for one in boats] == [4, 5, 6, 7, 7, 7, 6, 5, 4]
    assert fish.texts == ("Herrings swim.",)
    assert fish.around == pytest.approx(fish.embedding, abs=1e-5)
    mean = np.mean([one.embedding for one in boats[:4]], axis=0)
    assert boats[0].around == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
