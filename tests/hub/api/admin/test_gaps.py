"""Open questions over HTTP: listed in pages, those asked most often first, and forgotten."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.database import async_engine
from hub.guard_settings import GapSettings
from knowledge.embedder import Embedder
from knowledge.gaps.store import GapStore, Unanswered
from tests.hub.api.admin.operating import Operator

ASKED = {
    "Do you sell gift cards?": 3,
    "May dogs come on the ferry?": 2,
    "Who painted the chapel?": 1,
    "Is there a lift to the second floor?": 1,
}


@pytest.fixture
async def gaps(bare_operator: Operator, embedder: Embedder, data: Path) -> GapStore:
    """The table, with questions in it."""
    engine = async_engine(f"sqlite:///{data / 'hubbub.db'}")
    store = GapStore(engine, GapSettings())
    for question, times in ASKED.items():
        vector = (await embedder.embed([question]))[0]
        for number in range(times):
            asked = Unanswered(
                turn=f"{question}-{number}", conversation=f"web-{number}", connector="web", text=question
            )
            await store.note(asked, vector, embedder.model)
    await engine.dispose()
    return store


async def test_gaps_are_listed_and_forgotten(bare_operator: Operator, gaps: GapStore) -> None:
    """A page ends where the next begins; who asked is never told."""
    pages = await bare_operator.pages("/gaps", limit="3")
    dogs = pages[0][1]
    with capture_logs() as logs:
        forgotten = await bare_operator.call("DELETE", f"/gaps/{dogs['id']}")
    again = await bare_operator.call("DELETE", f"/gaps/{dogs['id']}")
    left = await bare_operator.pages("/gaps")

    listed = [gap for page in pages for gap in page]
    assert [len(page) for page in pages] == [3, 1]
    assert [(gap["question"], gap["count"]) for gap in listed[:2]] == list(ASKED.items())[:2]
    assert {gap["question"] for gap in listed} == set(ASKED)
    assert set(dogs) == {
        "id",
        "question",
        "count",
        "first_asked",
        "last_asked",
        "connectors",
        "examples",
        "proposals",
        "is_looked_up",
    }
    assert (forgotten, again[0]) == ((204, None), 404)
    assert {gap["question"] for gap in left[0]} == set(ASKED) - {dogs["question"]}
    changes = [(line["action"], line["target"]) for line in logs if line["event"] == "admin_changed"]
    assert changes == [("gap_forgotten", str(dogs["id"]))]
    assert "dogs" not in str(logs)


@pytest.mark.parametrize("gap", ["0", "-1", "x", "1.0", "9" * 30, "٣"])
async def test_a_gap_there_is_not(bare_operator: Operator, gap: str) -> None:
    """404, whatever an id is made of."""
    assert (await bare_operator.call("DELETE", f"/gaps/{gap}"))[0] == 404
