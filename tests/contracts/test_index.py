"""What every vector index promises, for each implementation and size."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from hub.errors import KnowledgeError
from knowledge.index.base import Hidden, Ids, Index, IndexHome
from knowledge.index.faiss import FaissHome, FaissIndex
from knowledge.index.redis import RedisHome
from knowledge.passages import Vectors
from tests.servers.redis import RedisServer, free_port, query_engine, redis_8

DIMENSION = 32
MODEL = "model@1"

# A limit of 0 is HNSW from the first vector on; one of 50 changes over in the middle of these tests.
LIMITS = {"flat": 1_000_000, "hnsw": 0, "growing": 50}


@dataclass(frozen=True, kw_only=True)
class LimitedHome(FaissHome):
    """A folder whose indexes become HNSW from another size on."""

    limit: int

    def create(self, dimension: int) -> FaissIndex:
        """Give an empty index."""
        return FaissIndex(dimension, flat_limit=self.limit)

    def open(self) -> tuple[FaissIndex, int]:
        """Read the index."""
        return FaissIndex.open(self.folder, model=self.model, flat_limit=self.limit)


Homes = Callable[[str], IndexHome]


@pytest.fixture(params=[*LIMITS, *(["redis"] if redis_8() and query_engine() else [])])
def homes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Homes]:
    """Give the home of a model's index."""
    if request.param != "redis":
        yield lambda model: LimitedHome(folder=tmp_path, model=model, limit=LIMITS[request.param])
        return
    url = request.getfixturevalue("searching").url
    made: list[RedisHome] = []

    def in_redis(model: str) -> RedisHome:
        made.append(RedisHome(url, model=model))
        return made[-1]

    yield in_redis
    for home in made:
        home.create(DIMENSION).drop()


@pytest.fixture
def home(homes: Homes) -> IndexHome:
    """Give the home of one model's index."""
    return homes(MODEL)


@pytest.fixture
def index(home: IndexHome) -> Index:
    """Give an empty index."""
    return home.create(DIMENSION)


def vectors(count: int, seed: int = 0) -> Vectors:
    """Give random unit vectors."""
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def ids(*numbers: int) -> Ids:
    """Give ids as the contract wants them."""
    return np.array(numbers, np.int64)


def test_nearest_comes_first_with_its_cosine(index: Index) -> None:
    """A vector finds itself with score 1, then the others in falling order."""
    rows = vectors(200)
    index.add(np.arange(1000, 1200), rows)

    hits = index.search(rows[7], 10)

    assert hits[0].id == 1007
    assert math.isclose(hits[0].score, 1.0, abs_tol=1e-5)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(math.isclose(hit.score, float(rows[7] @ rows[hit.id - 1000]), abs_tol=1e-5) for hit in hits)


def test_search_agrees_with_exact_search(index: Index) -> None:
    """Of the true ten nearest at least 95 in 100 are found."""
    rows, questions = vectors(2_000), vectors(50, seed=1)
    index.add(np.arange(2_000), rows)
    truth = np.argsort(-(questions @ rows.T), axis=1)[:, :10]

    found = [{hit.id for hit in index.search(question, 10)} for question in questions]

    shared = sum(len(hits & set(row.tolist())) for hits, row in zip(found, truth, strict=True))
    assert shared / 500 >= 0.95


def test_empty_index_finds_nothing(index: Index) -> None:
    """Searching an empty index is no error."""
    assert list(index.search(vectors(1)[0], 5)) == []
    assert index.size == 0


def test_asking_for_more_than_there_is_gives_all(index: Index) -> None:
    """`k` is a limit; fewer vectors give fewer hits."""
    index.add(ids(1, 2, 3), vectors(3))

    assert {hit.id for hit in index.search(vectors(1)[0], 100)} == {1, 2, 3}
    assert list(index.search(vectors(1)[0], 0)) == []


def test_removed_vectors_are_never_found(index: Index) -> None:
    """After removal the next nearest take their place, at full number."""
    rows = vectors(300)
    index.add(np.arange(300), rows)
    nearest = [hit.id for hit in index.search(rows[0], 10)]

    removed = index.remove(ids(*nearest[:5], 99_999))

    hits = [hit.id for hit in index.search(rows[0], 10)]
    assert removed == 5
    assert index.size == 295
    assert len(hits) == 10
    assert not set(nearest[:5]) & set(hits)
    assert set(nearest[5:]) <= set(hits)


def hidden_ids(*numbers: int) -> Hidden:
    """Give ids that are passed over."""
    mask = np.zeros(max(numbers) + 1, np.bool_)
    mask[list(numbers)] = True
    return mask


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 1.0])
def test_hidden_vectors_are_as_if_they_were_not_there(index: Index, share: float) -> None:
    """However many are hidden, of those that are not the nearest are found, at full number."""
    rows, questions = vectors(2_000), vectors(20, seed=1)
    index.add(np.arange(2_000), rows)
    chosen = np.random.default_rng(2).permutation(2_000)[: int(share * 2_000)].tolist()
    index.remove(ids(*range(0, 2_000, 50)))
    left = np.array(sorted(set(range(2_000)) - set(chosen) - set(range(0, 2_000, 50))), np.int64)

    found = [[hit.id for hit in index.search(question, 10, hidden_ids(*chosen))] for question in questions]

    scores = questions @ rows[left].T
    truth = left[np.argsort(-scores, axis=1)[:, :10]]
    assert not any(set(hits) - set(left.tolist()) for hits in found)
    assert all(len(hits) == min(10, len(left)) for hits in found)
    shared = sum(len(set(hits) & set(row.tolist())) for hits, row in zip(found, truth, strict=True))
    assert shared >= 0.95 * truth.size


def test_vectors_added_after_the_hidden_ones_are_found(index: Index) -> None:
    """What lies beyond the end of the hidden ids is not hidden."""
    index.add(np.arange(100), vectors(100))

    hits = index.search(vectors(100)[99], 100, hidden_ids(*range(50)))

    assert {hit.id for hit in hits} == set(range(50, 100))


def test_all_can_be_removed(index: Index) -> None:
    """An index that was emptied can be filled again."""
    index.add(np.arange(100), vectors(100))
    index.remove(np.arange(100))
    assert list(index.search(vectors(1)[0], 5)) == []

    index.add(ids(100), vectors(1))

    assert [hit.id for hit in index.search(vectors(1)[0], 5)] == [100]


def test_removed_id_may_come_back(index: Index) -> None:
    """An id that was removed and added again has its new vector."""
    rows = vectors(120)
    index.add(np.arange(100), rows[:100])
    index.remove(ids(3))

    index.add(ids(3), rows[110:111])

    assert index.search(rows[110], 1)[0].id == 3
    assert [hit.id for hit in index.search(rows[3], 100)].count(3) == 1


def test_known_id_keeps_its_vector(index: Index) -> None:
    """Adding twice is as adding once."""
    rows = vectors(2)
    index.add(ids(1), rows[:1])

    index.add(ids(1), rows[1:])

    assert index.size == 1
    assert math.isclose(index.search(rows[0], 1)[0].score, 1.0, abs_tol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        np.full((1, DIMENSION), np.nan, np.float32),
        np.full((1, DIMENSION), np.inf, np.float32),
        np.zeros((1, DIMENSION), np.float32),
        np.ones((1, DIMENSION), np.float32),
        np.ones((1, DIMENSION + 1), np.float32),
        np.ones(DIMENSION, np.float32),
        np.ones((2, DIMENSION), np.float32) / np.float32(math.sqrt(DIMENSION)),
    ],
    ids=["nan", "infinite", "zero", "length", "dimension", "shape", "count"],
)
def test_bad_vectors_are_refused(index: Index, bad: Vectors) -> None:
    """What is no unit vector of the right size never gets in."""
    with pytest.raises(KnowledgeError):
        index.add(ids(1), bad)

    assert index.size == 0


def test_bad_question_is_refused(index: Index) -> None:
    """A question that is no vector finds nothing by chance."""
    index.add(ids(1), vectors(1))

    with pytest.raises(KnowledgeError):
        index.search(np.full(DIMENSION, np.nan, np.float32), 1)


def test_saved_index_comes_back(index: Index, home: IndexHome) -> None:
    """Vectors, removals and version survive, and what was opened can be changed."""
    rows = vectors(200)
    index.add(np.arange(200), rows)
    index.remove(ids(5, 6))
    home.save(index, 42)
    before = [hit.id for hit in index.search(rows[5], 10)]

    opened, version = home.open()

    assert version == 42
    assert set(opened.ids().tolist()) == set(range(200)) - {5, 6}
    assert [hit.id for hit in opened.search(rows[5], 10)] == before
    opened.add(ids(500), vectors(1, seed=9))
    assert opened.search(vectors(1, seed=9)[0], 1)[0].id == 500
    assert opened.remove(ids(500, 7)) == 2
    assert 7 not in {hit.id for hit in opened.search(rows[7], 100)}


def test_newer_save_replaces_the_older(index: Index, home: IndexHome) -> None:
    """Only the last one is kept."""
    for version in (1, 2, 3):
        index.add(ids(version), vectors(1, seed=version))
        home.save(index, version)

    opened, version = home.open()

    assert (opened.size, version) == (3, 3)


def test_index_of_another_model_is_refused(index: Index, home: IndexHome, homes: Homes) -> None:
    """Vectors of two models are never compared."""
    home.save(index, 1)

    with pytest.raises(KnowledgeError, match=r"another model|no index"):
        homes("model@2").open()


def test_home_without_an_index_says_so(home: IndexHome) -> None:
    """Before the first save there is nothing to open."""
    with pytest.raises(KnowledgeError):
        home.open()


def test_redis_without_the_query_engine_is_refused(redis_server: RedisServer) -> None:
    """The error says what is needed."""
    with pytest.raises(KnowledgeError, match="Query Engine"):
        RedisHome(redis_server.url, model=MODEL)


def test_redis_without_a_url_is_refused() -> None:
    """The embedded Redis has no Query Engine."""
    with pytest.raises(KnowledgeError, match=r"bus\.redis_url"):
        RedisHome("", model=MODEL)


def test_redis_that_is_away_is_told() -> None:
    """Nobody listens there."""
    with pytest.raises(KnowledgeError, match="cannot be reached"):
        RedisHome(f"redis://127.0.0.1:{free_port()}/0", model=MODEL)


def test_search_goes_on_while_vectors_change(index: Index) -> None:
    """Threads that add, remove and search at once see no error and no removed vector."""
    rows = vectors(3_000)
    index.add(np.arange(500), rows[:500])
    found: set[int] = set()
    done = False

    def ask() -> None:
        while not done:
            for row in rows[:20]:
                found.update(hit.id for hit in index.search(row, 10))

    asking = Thread(target=ask)
    asking.start()
    for start in range(500, 3_000, 250):
        index.add(np.arange(start, start + 250), rows[start : start + 250])
        index.remove(np.arange(start - 500, start - 400))
    done = True
    asking.join()

    assert found <= set(range(3_000))
    assert index.size == 3_000 - 1_000
