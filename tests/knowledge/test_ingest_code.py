"""Source code in folders: taken in where it is asked for, counted where it is not."""

from pathlib import Path

import pytest

from hub.settings import KnowledgeSettings
from knowledge.embedder import Embedder
from knowledge.ingest import Ingester
from knowledge.store import DocumentStore

CODE = "def leave():\n    return 'The ferry leaves at noon.'\n"


@pytest.fixture
def ingester(store: DocumentStore, embedder: Embedder) -> Ingester:
    """Take documents into it."""
    return Ingester(store, embedder, KnowledgeSettings(readers=1))


@pytest.fixture
def project(folder: Path) -> Path:
    """A folder of documents, code, data, and what others wrote."""
    for name in ("ferry.py", "web/page.js", "node_modules/other.js", "web/site.min.js", ".hidden/secret.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(CODE)
    (folder / "guide.md").write_text("# Guide\n\nThe ferry leaves at noon.")
    (folder / "prices.csv").write_text("ferry,2\n")
    (folder / "built.js").write_text("x" * 1_000_001)
    (folder / "link.py").symlink_to(folder / "ferry.py")
    return folder


def test_code_in_a_folder_is_left_out_and_counted(ingester: Ingester, project: Path) -> None:
    """Only what would be taken in counts; a file that is named is read all the same."""
    report = ingester.ingest([project])
    named = ingester.ingest([project, project / "ferry.py", project / "prices.csv"])

    assert (report.added, report.code_left_out) == (["guide.md"], 2)
    assert (named.added, named.code_left_out) == (["ferry.py", "prices.csv"], 1)


def test_code_is_taken_in_where_it_is_asked_for(ingester: Ingester, project: Path) -> None:
    """As of a git repository; from then on it is kept up to date, and removed when it is gone."""
    report = ingester.ingest([project], code=True)
    (project / "ferry.py").write_text(CODE.replace("noon", "dawn"))
    (project / "web" / "page.js").unlink()
    (project / "later.py").write_text(CODE)
    again = ingester.ingest([project])

    assert sorted(report.added) == ["ferry.py", "guide.md", "web/page.js"]
    assert (report.failed, report.code_left_out) == ({}, 0)
    assert (again.replaced, again.removed, again.unchanged) == (["ferry.py"], ["web/page.js"], ["guide.md"])
    assert (again.added, again.code_left_out) == ([], 1)
