"""Taking sources in: what is added, skipped, replaced and removed, each source for itself, and for whom."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Engine

from hub.errors import KnowledgeError
from hub.settings import KnowledgeSettings
from knowledge import writing
from knowledge.embedder import Embedder
from knowledge.ingest import Ingester
from knowledge.library import BUNDLED, Library
from knowledge.report import IngestReport
from knowledge.sources.base import Content, DocumentGone, Item, Listing, Source
from knowledge.sources.git import GitSource
from knowledge.sources.git_program import GitLimits
from knowledge.sources.mbox import MboxSource
from knowledge.store import DocumentStore
from tests.knowledge.repositories import commit, repository
from tests.knowledge.test_mbox_source import box, mail


@dataclass
class Shelf:
    """A source of texts."""

    root: str = "shelf:a"
    texts: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    is_whole: bool = True
    reads: list[str] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[Listing]:
        """List the texts."""
        items = [
            Item(root=self.root, location=name, read=lambda known, name=name: self._read(name, known))  # type: ignore[misc]
            for name in [*self.texts, *self.gone]
        ]
        yield Listing(items=items, is_whole=self.is_whole)

    def _read(self, name: str, known: str) -> Content | None:
        version = self.versions.get(name, "")
        if name in self.gone:
            raise DocumentGone("is not there any more")
        if version and version == known:
            return None
        self.reads.append(name)
        return Content(data=self.texts[name].encode(), name="a.md", source_version=version)


@pytest.fixture
def ingester(store: DocumentStore, embedder: Embedder) -> Ingester:
    """Take documents into it."""
    return Ingester(store, embedder, KnowledgeSettings(readers=1))


def outcome(report: IngestReport) -> dict[str, list[str]]:
    """Give what was done, without what was not."""
    names = ("added", "replaced", "unchanged", "removed")
    found = {name: sorted(getattr(report, name)) for name in names} | {"failed": sorted(report.failed)}
    assert report.done == report.total
    return {name: locations for name, locations in found.items() if locations}


def test_a_source_is_followed(ingester: Ingester) -> None:
    """Unchanged is skipped, changed replaced, removed deleted."""
    shelf = Shelf(texts={"a": "One.", "b": "Two.", "c": "Three."})
    assert outcome(ingester.ingest([], sources=[shelf])) == {"added": ["a", "b", "c"]}
    shelf.texts = {"a": "One.", "b": "Changed.", "d": "Four."}

    report = ingester.ingest([], sources=[shelf])

    assert outcome(report) == {"unchanged": ["a"], "replaced": ["b"], "added": ["d"], "removed": ["c"]}
    assert report.complete


def test_what_the_source_knows_to_be_unchanged_is_not_read(ingester: Ingester) -> None:
    """By its own name of the version, which is remembered also where only the name has changed."""
    shelf = Shelf(texts={"a": "One."}, versions={"a": "1"})
    ingester.ingest([], sources=[shelf])
    ingester.ingest([], sources=[shelf])
    assert shelf.reads == ["a"]
    shelf.versions["a"] = "2"

    for _ in range(2):
        assert outcome(ingester.ingest([], sources=[shelf])) == {"unchanged": ["a"]}

    assert shelf.reads == ["a", "a"]


def test_sources_do_not_disturb_each_other(ingester: Ingester, store: DocumentStore, folder: Path) -> None:
    """What is gone from one is removed of that one alone."""
    (folder / "a").write_text("x")
    (folder / "a.md").write_text("File.")
    one, other = Shelf(texts={"a": "One."}), Shelf(root="shelf:b", texts={"a": "Other."})
    ingester.ingest([folder], sources=[one, other])
    one.texts = {}

    assert outcome(ingester.ingest([], sources=[one], may_empty=True)) == {"removed": ["a"]}

    assert sorted(info.location for info in store.documents()) == ["a", "a.md"]


def test_a_source_that_holds_nothing_at_all_takes_nothing_along(
    ingester: Ingester, store: DocumentStore, tmp_path: Path
) -> None:
    """A mailbox that is just being written anew, a list that was not saved: what was in it stays, and that is told."""
    file = box(tmp_path / "box", mail("One", "Text.", number="1"))
    source = MboxSource(file, max_mail_bytes=1_000)
    ingester.ingest([], sources=[source])
    file.write_bytes(b"")

    report = ingester.ingest([], sources=[source])

    assert outcome(report) == {"failed": [source.root]}
    assert "--emptied" in report.failed[source.root]
    assert [info.location for info in store.documents()] == ["1@example.org"]


def test_a_document_that_is_said_to_be_gone_is_removed(ingester: Ingester) -> None:
    """One that was never there is reported; a source that lists only some removes nothing else."""
    shelf = Shelf(texts={"a": "One.", "b": "Two."}, is_whole=False)
    ingester.ingest([], sources=[shelf])
    shelf.texts, shelf.gone = {}, {"a", "c"}

    assert outcome(ingester.ingest([], sources=[shelf])) == {"removed": ["a"], "failed": ["c"]}


def test_a_source_that_cannot_be_read_ends_nothing(ingester: Ingester, tmp_path: Path) -> None:
    """It is reported, its documents stay, and the other sources are taken in."""
    file = box(tmp_path / "box", mail("One", "Text.", number="1"))
    broken = MboxSource(file, max_mail_bytes=1_000)
    ingester.ingest([], sources=[broken])
    file.unlink()

    report = ingester.ingest([], sources=[broken, Shelf(texts={"a": "One."})])

    assert outcome(report) == {"failed": [f"mbox:{file}"], "added": ["a"]}
    assert "cannot be read" in report.failed[f"mbox:{file}"]


@pytest.mark.parametrize(
    "error", [ValueError("x"), RecursionError(), OSError(5, "x"), MemoryError(), KeyError(1)]
)
def test_whatever_reading_raises_is_about_one_document(ingester: Ingester, error: Exception) -> None:
    """The others are taken in."""
    shelf = Shelf(texts={"a": "One.", "b": "Two."})
    read = shelf._read

    def failing(name: str, known: str) -> Content | None:
        if name == "a":
            raise error
        return read(name, known)

    shelf._read = failing  # type: ignore[method-assign]

    assert outcome(ingester.ingest([], sources=[shelf])) == {"added": ["b"], "failed": ["a"]}


def test_real_sources_are_taken_in_together(
    ingester: Ingester, store: DocumentStore, tmp_path: Path, folder: Path
) -> None:
    """A folder, a mailbox and a repository; a second run finds all of it unchanged."""
    (folder / "note.md").write_text("# Note\n\nA fine text.")
    project = repository(tmp_path / "project", {"README": "Read me.", "src/turn.py": "def turn(): ..."})
    file = box(tmp_path / "box", mail("Ferry", "It leaves at noon.", number="1"))
    sources: list[Source] = [
        MboxSource(file, max_mail_bytes=10_000),
        GitSource(str(project), tmp_path / "work", GitLimits(max_bytes=10**7), max_document_bytes=10_000),
    ]
    everything = ["1@example.org", "README", "note.md", "src/turn.py"]

    assert outcome(ingester.ingest([folder], sources=sources)) == {"added": everything}
    assert outcome(ingester.ingest([folder], sources=sources)) == {"unchanged": everything}
    commit(project, {"src/turn.py": "def turn(): return 1"})
    (project / "README").unlink()
    commit(project, {})
    changed = ingester.ingest([folder], sources=sources)

    assert (changed.replaced, changed.removed) == (["src/turn.py"], ["README"])
    titles = {info.location: info.title for info in store.documents()}
    assert titles == {"1@example.org": "Ferry", "note.md": "Note", "src/turn.py": "src/turn.py"}


def test_a_new_collection_needs_an_audience(ingester: Ingester, engine: Engine) -> None:
    """Nobody shares documents by forgetting to say for whom they are."""
    shelf = Shelf(texts={"a": "One."})

    with pytest.raises(KnowledgeError, match="say who may read it"):
        ingester.ingest([], sources=[shelf], collection="staff")
    with pytest.raises(KnowledgeError, match="expected public"):
        ingester.ingest([], sources=[shelf], collection="staff", audience="everybody")
    ingester.ingest([], sources=[shelf], collection="staff", audience="operator")
    ingester.ingest([], sources=[shelf], collection="staff")
    with pytest.raises(KnowledgeError, match="for operator, not for public"):
        ingester.ingest([], sources=[shelf], collection="staff", audience="public")

    listed = {one.name: (one.audience, one.documents) for one in Library(engine).collections()}
    assert listed == {"bundled": ("public", 0), "documents": ("public", 0), "staff": ("operator", 1)}


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "../x", "x" * 65, "ä", "-x", "a\n", "a'; DROP TABLE chunks; --"]
)
def test_names_of_collections_are_plain(ingester: Ingester, name: str) -> None:
    """They are shown and typed."""
    with pytest.raises(KnowledgeError, match="expected letters"):
        ingester.ingest([], collection=name, audience="public")


def test_a_collection_that_is_removed_meanwhile_gets_nothing(
    ingester: Ingester, engine: Engine, store: DocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its documents are reported; none is left without an audience."""
    monkeypatch.setattr(writing, "GROUP_CHUNKS", 1)
    store.open_collection("staff", "operator")
    shelf = Shelf(texts={f"{number}": f"Text {number}." for number in range(3)})
    read = shelf._read

    def removing(name: str, known: str) -> Content | None:
        if name == "2":
            Library(engine).remove_collection("staff")
        return read(name, known)

    monkeypatch.setattr(shelf, "_read", removing)

    report = ingester.ingest([], sources=[shelf], collection="staff")

    assert "2" in report.failed
    assert "not there any more" in report.failed["2"]
    assert store.documents() == []


def test_a_library_is_looked_at_and_changed(ingester: Ingester, engine: Engine) -> None:
    """What an operator does with collections and documents."""
    library = Library(engine)
    shelf = Shelf(texts={f"{number:02}": f"Text {number}." for number in range(7)})
    ingester.ingest([], sources=[shelf], collection="staff", audience="operator")
    ingester.ingest([], sources=[shelf], collection="mine", audience="person:telegram-1")

    first = library.documents("staff", limit=4)
    rest = library.documents("staff", after=first[-1].id)
    assert [one.location for one in (*first, *rest)] == sorted(shelf.texts)
    assert library.remove_document(first[0].id)
    assert not library.remove_document(first[0].id)
    library.set_audience("staff", "site:shop")
    for name in ("none", "staff"):
        with pytest.raises(KnowledgeError):
            library.set_audience(name, "public" if name == "none" else "none")
    assert library.forget_person("telegram-2") == 0
    assert library.forget_person("telegram-1") == 7
    assert library.remove_collection("staff") == 6
    with pytest.raises(KnowledgeError, match="no collection"):
        library.remove_collection("staff")

    assert [one.name for one in library.collections()] == ["bundled", "documents"]


def test_a_source_with_an_odd_name_ends_nothing(ingester: Ingester, tmp_path: Path) -> None:
    """Bytes that are not UTF-8 cannot be written down; it is reported, and the others are taken in."""
    odd = tmp_path / os.fsdecode(b"box\xff")
    box(odd, mail("One", "Text.", number="1"))
    good = box(tmp_path / "box", mail("Two", "Text.", number="2"))

    report = ingester.ingest([], sources=[MboxSource(file, max_mail_bytes=1_000) for file in (odd, good)])

    assert outcome(report) == {"added": ["2@example.org"], "failed": [f"mbox:{tmp_path}/box\ufffd"]}


def test_nothing_is_added_to_the_own_documents_of_the_project(ingester: Ingester, folder: Path) -> None:
    """The next start would take it out again without a word."""
    with pytest.raises(KnowledgeError, match="project's own"):
        ingester.ingest([folder], collection=BUNDLED)
