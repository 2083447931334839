"""The files of an index in FAISS: kept, mapped, damaged, and free of what was removed."""

import json
from pathlib import Path

import numpy as np
import pytest
from redis import Redis

from hub.errors import KnowledgeError
from knowledge.index.faiss import FORMAT, MANIFEST, FaissHome, FaissIndex
from knowledge.index.redis import RedisIndex
from tests.contracts.test_index import DIMENSION, LIMITS, MODEL, ids, vectors
from tests.servers.redis import RedisServer


@pytest.fixture(params=LIMITS)
def faiss_index(request: pytest.FixtureRequest) -> FaissIndex:
    """Give an empty index of FAISS."""
    return FaissIndex(DIMENSION, flat_limit=LIMITS[request.param])


def test_only_the_last_file_is_kept(faiss_index: FaissIndex, tmp_path: Path) -> None:
    """Saving leaves no older vectors behind."""
    for version in (1, 2, 3):
        faiss_index.save(tmp_path, model=MODEL, version=version)

    assert len(list(tmp_path.glob("vectors-*.faiss"))) == 1


def test_opened_file_is_mapped_until_it_changes(faiss_index: FaissIndex, tmp_path: Path) -> None:
    """Opening maps the file; what it was opened from may go, and a change works on a copy."""
    rows = vectors(300)
    faiss_index.add(np.arange(300), rows)
    faiss_index.save(tmp_path, model=MODEL, version=1)
    opened, _ = FaissIndex.open(tmp_path, model=MODEL)
    (file,) = tmp_path.glob("vectors-*.faiss")

    mapped = Path("/proc/self/maps").read_text("utf-8")
    file.unlink()
    opened.add(ids(900), vectors(1, seed=4))

    assert file.name in mapped
    assert opened.search(rows[3], 1)[0].id == 3
    assert opened.search(vectors(1, seed=4)[0], 1)[0].id == 900


def test_foreign_index_is_not_saved(
    faiss_index: FaissIndex, tmp_path: Path, redis_server: RedisServer
) -> None:
    """A home keeps its own kind only."""
    foreign = RedisIndex(Redis.from_url(redis_server.url), "name", DIMENSION)

    with pytest.raises(KnowledgeError, match="FAISS"):
        FaissHome(folder=tmp_path, model=MODEL).save(foreign, 1)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "no manifest", "bad manifest", "half manifest"])
def test_damaged_index_is_refused(faiss_index: FaissIndex, tmp_path: Path, damage: str) -> None:
    """FAISS never gets to read what was not written so."""
    faiss_index.add(np.arange(100), vectors(100))
    faiss_index.save(tmp_path, model=MODEL, version=1)
    (file,) = tmp_path.glob("vectors-*.faiss")
    manifest = tmp_path / MANIFEST
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    elif damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "gone":
        file.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "bad manifest":
        manifest.write_text("[]")
    else:
        manifest.write_text(json.dumps({"format": FORMAT, "model": MODEL, "file": file.name}))

    with pytest.raises(KnowledgeError):
        FaissIndex.open(tmp_path, model=MODEL)


def test_no_file_holds_the_vector_of_what_was_removed(faiss_index: FaissIndex, tmp_path: Path) -> None:
    """It tells much of the text; and what is left is found as before."""
    rows, questions = vectors(2_000), vectors(50, seed=1)
    faiss_index.add(np.arange(2_000), rows)
    faiss_index.remove(np.arange(0, 2_000, 8))
    faiss_index.save(tmp_path, model="m", version=1)

    written = b"".join(file.read_bytes() for file in tmp_path.glob("*.faiss"))
    assert [number for number in range(2_000) if rows[number].tobytes() in written] == [
        number for number in range(2_000) if number % 8
    ]
    scores = questions @ rows.T
    scores[:, ::8] = -1
    truth = np.argsort(-scores, axis=1)[:, :10]
    found = [{hit.id for hit in faiss_index.search(question, 10)} for question in questions]
    shared = sum(len(hits & set(row.tolist())) for hits, row in zip(found, truth, strict=True))
    assert shared / 500 >= 0.95
