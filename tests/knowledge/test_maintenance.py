"""The index as a whole: looked at, built anew, emptied."""

from pathlib import Path

import pytest

from hub.settings import Settings
from knowledge.index.homes import index_folder
from knowledge.ingest import ingest
from knowledge.maintenance import build, describe, reset


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> Settings:
    """A knowledge base with two documents."""
    settings = Settings(data=data)
    for name, text in (("bread.md", "# Bread\n\nBread needs flour."), ("trains.txt", "Trains need rails.")):
        (tmp_path / name).write_text(text)
        ingest(settings, [tmp_path / name])
    return settings


def test_the_index_is_described(settings: Settings) -> None:
    """An operator sees what can be found, and by what."""
    info = describe(settings)

    assert (info.documents, info.chunks, info.kind, info.dimension) == (2, 2, "flat", 384)
    assert info.model.startswith("all-MiniLM-L6-v2@")
    assert info.size_bytes > 0


def test_a_spoilt_index_is_built_anew(settings: Settings) -> None:
    """What lies on disk is not even looked at."""
    for file in index_folder(settings).iterdir():
        file.write_bytes(b"spoilt")

    assert build(settings).chunks == 2
    assert describe(settings).chunks == 2


def test_a_reset_removes_what_was_added(settings: Settings) -> None:
    """Afterwards nothing of it can be found, and new documents can be added."""
    assert reset(settings) == 2

    info = describe(settings)
    assert (info.documents, info.chunks) == (0, 0)
