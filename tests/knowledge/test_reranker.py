"""The optional cross-encoder, with a real model made here."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from hub.errors import KnowledgeError
from hub.settings import KnowledgeSettings, Settings
from knowledge.reranker import Reranker
from knowledge.search import KnowledgeBase
from tests.knowledge.cross_encoder import make_cross_encoder

QUESTION = "When does the ferry leave?"
TEXTS = [
    f"The {thing} leaves at {hour}." for hour, thing in enumerate(["ferry", "train", "bus", "ship"] * 5, 1)
]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a cross-encoder."""
    folder = tmp_path_factory.mktemp("models") / "tiny-reranker"
    make_cross_encoder(folder)
    return folder


@pytest.fixture
def reranker(model_folder: Path) -> Iterator[Reranker]:
    """Give it, ready to read."""
    opened = Reranker(model_folder)
    yield opened
    opened.close()


def test_scores_are_those_of_the_library(reranker: Reranker, model_folder: Path) -> None:
    """Each text gets what sentence-transformers itself gives the pair."""
    scores = reranker.scores(QUESTION, TEXTS)

    model = import_module("sentence_transformers").CrossEncoder(str(model_folder), device="cpu")
    expected = [float(score) for score in model.predict([(QUESTION, text) for text in TEXTS])]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert len({round(score, 4) for score in scores}) > 10


def test_nothing_to_read_is_no_error(reranker: Reranker) -> None:
    """Without passages there are no scores."""
    assert reranker.scores(QUESTION, []) == []


def test_closed_reranker_is_told(model_folder: Path) -> None:
    """Whoever still asks gets an error, not a wait."""
    closed = Reranker(model_folder)
    closed.close()

    with pytest.raises(KnowledgeError, match="sorted anew"):
        closed.scores(QUESTION, TEXTS)


def test_missing_model_is_told_with_its_folder(tmp_path: Path) -> None:
    """A wrong folder in the settings is told at once."""
    with pytest.raises(KnowledgeError, match="nowhere"):
        Reranker(tmp_path / "nowhere")


def test_damaged_model_is_told(model_folder: Path, tmp_path: Path) -> None:
    """Weights that cannot be read are an error with the folder."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in model_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes()[:1000])
    damaged = Reranker(folder)

    with pytest.raises(KnowledgeError, match="damaged"):
        damaged.scores(QUESTION, TEXTS)
    damaged.close()


async def test_passages_come_in_the_order_of_the_reranker(
    model_folder: Path, reranker: Reranker, folder: Path, tmp_path: Path
) -> None:
    """The best candidates are sorted by it, and keep text and similarity."""
    for number, text in enumerate(TEXTS[:8]):
        (folder / f"{number}.txt").write_text(text)
    plain = Settings(data=tmp_path / "data", knowledge=KnowledgeSettings(bundled_docs=False))
    sorted_anew = plain.model_copy(
        update={"knowledge": plain.knowledge.model_copy(update={"reranker": str(model_folder)})}
    )
    base = await KnowledgeBase.open(plain)
    await base.ingest([folder])
    before = await base.search(QUESTION, 8)
    await base.close()

    base = await KnowledgeBase.open(sorted_anew)
    after = await base.search(QUESTION, 8)
    ranking = base.ranking
    await base.close()

    read = [f"{passage.title}\n{passage.text}" for passage in after]
    scores = reranker.scores(QUESTION, read)
    assert scores == sorted(scores, reverse=True)
    assert {(one.text, one.score) for one in after} == {(one.text, one.score) for one in before}
    assert [one.text for one in after] != [one.text for one in before]
    assert "tiny-reranker@" in ranking
