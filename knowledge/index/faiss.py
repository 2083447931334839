"""FAISS in memory and on disk: exact while small, HNSW from some thousand vectors on."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self
from uuid import uuid4

import faiss
import numpy as np
from filelock import FileLock

from hub.errors import KnowledgeError
from knowledge.index.base import Hidden, Hit, Ids, Index, unit_rows
from knowledge.index.selection import Selection
from knowledge.passages import Vectors

Kind = Literal["flat", "hnsw"]

FLAT_LIMIT = 10_000
"""Up to here the exact search is faster than HNSW, finds all, needs no building and forgets for good; of twice as many vectors it
takes longer. Measured by `python -m benchmarks.index_kinds`."""
LINKS = 32
EF_CONSTRUCTION = 80
EF_SEARCH = 96
COMPACT_SHARE = 0.2
"""Share of removed vectors from which an HNSW index is built anew."""
ADD_BATCH = 256
"""Vectors added before a search gets its turn."""
MANIFEST = "manifest.json"
FORMAT = 2
"""Files of format 1 held vectors of what was removed; they are made anew from the database."""


class FaissIndex:
    """Vectors in FAISS, scored by inner product, which is the cosine of unit vectors."""

    def __init__(self, dimension: int, *, flat_limit: int = FLAT_LIMIT) -> None:
        self.dimension = dimension
        self._flat_limit = flat_limit
        # Changes go one after the other; searches wait only while FAISS itself is being changed.
        self._changing = Lock()
        self._lock = Lock()
        self._ids: set[int] = set()
        # HNSW cannot remove; these are still in the graph and are passed over.
        self._removed: set[int] = set()
        self._kind: Kind = "flat"
        self._faiss = _new(self._kind, dimension)
        # FAISS crashes when it changes what lies in a mapped file; the first change copies it.
        self._is_mapped = False

    @property
    def kind(self) -> Kind:
        """`flat` or `hnsw`."""
        return self._kind

    @property
    def size(self) -> int:
        """How many vectors can be found."""
        return len(self._ids)

    def ids(self) -> Ids:
        """Give the ids of all vectors that can be found."""
        with self._lock:
            return np.fromiter(self._ids, np.int64, len(self._ids))

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors; searches go on in between."""
        rows = unit_rows(vectors, self.dimension)
        if len(ids) != len(rows):
            raise KnowledgeError(f"expected {len(ids)} vectors, found {len(rows)}")
        with self._changing:
            if not self._removed.isdisjoint(ids.tolist()):
                self._rebuild()
            fresh = np.array([number not in self._ids for number in ids.tolist()], bool)
            ids, rows = ids[fresh], rows[fresh]
            if self._kind == "flat" and len(self._ids) + len(ids) > self._flat_limit:
                self._rebuild("hnsw")
            if len(ids):
                self._own()
            for start in range(0, len(ids), ADD_BATCH):
                part = slice(start, start + ADD_BATCH)
                with self._lock:
                    self._faiss.add_with_ids(rows[part], ids[part])
                    self._ids.update(ids[part].tolist())

    def remove(self, ids: Ids) -> int:
        """Remove vectors; HNSW is built anew when a fifth of it is gone."""
        with self._changing:
            self._own()
            with self._lock:
                gone = self._ids.intersection(ids.tolist())
                self._ids -= gone
                if self._kind == "flat":
                    self._faiss.remove_ids(np.fromiter(gone, np.int64, len(gone)))
                else:
                    self._removed |= gone
                    self._blank(gone)
            if len(self._removed) > COMPACT_SHARE * len(self._ids):
                self._rebuild()
            return len(gone)

    def search(self, vector: Vectors, k: int, hidden: Hidden | None = None) -> Sequence[Hit]:
        """Find the nearest vectors, exactly while the index is flat or most of it is hidden."""
        query = unit_rows(vector.reshape(1, -1), self.dimension)
        with self._lock:
            count = min(k, len(self._ids))
            if count < 1:
                return []
            selection = Selection(self._removed, hidden)
            if self._kind == "hnsw" and hidden is not None and 2 * int(hidden.sum()) > len(self._ids):
                scores, found = self._search_exactly(query, count, selection)
            else:
                parameters = self._parameters(count, selection)
                scores, found = self._faiss.search(query, count, params=parameters)
        pairs = zip(found[0].tolist(), scores[0].tolist(), strict=True)
        return [Hit(id=number, score=min(1.0, max(-1.0, score))) for number, score in pairs if number >= 0]

    def save(self, folder: Path, *, model: str, version: int) -> None:
        """Write the vectors, then the manifest that names them; the manifest's renaming is the moment of change."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock", timeout=60):
                self._save(folder, model=model, version=version)
        except OSError as error:
            raise KnowledgeError(f"index {folder} cannot be written: {error.strerror}") from error

    @classmethod
    def open(cls, folder: Path, *, model: str, flat_limit: int = FLAT_LIMIT) -> tuple[Self, int]:
        """Read an index; its checksum is compared first, because FAISS trusts what it reads."""
        try:
            with FileLock(folder / ".lock", timeout=60):
                manifest = json.loads((folder / MANIFEST).read_bytes())
                file = folder / Path(manifest["file"]).name
                if (manifest["format"], manifest["model"]) != (FORMAT, model):
                    raise KnowledgeError(f"index {folder} is of another model or format")
                if _sha256(file) != manifest["sha256"]:
                    raise KnowledgeError(f"index {folder} is damaged")
                # Mapped: it is there at once, and processes of one machine share its memory.
                inner = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
            index = cls(int(manifest["dimension"]), flat_limit=flat_limit)
            index._take(inner, manifest["kind"], set(manifest["removed"]))
            return index, int(manifest["version"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise KnowledgeError(f"index {folder} cannot be read: {error}") from error

    def _save(self, folder: Path, *, model: str, version: int) -> None:
        file = folder / f"vectors-{uuid4().hex}.faiss"
        # A search does not change the index, so it may go on while it is written.
        with self._changing:
            faiss.write_index(self._faiss, str(file))
            kind, removed = self._kind, sorted(self._removed)
        _sync(file)
        manifest = {
            "format": FORMAT,
            "file": file.name,
            "sha256": _sha256(file),
            "kind": kind,
            "dimension": self.dimension,
            "model": model,
            "version": version,
            "removed": removed,
        }
        temporary = folder / f"{MANIFEST}.new"
        temporary.write_text(json.dumps(manifest), "utf-8")
        _sync(temporary)
        temporary.replace(folder / MANIFEST)
        _sync(folder)
        for old in folder.glob("vectors-*.faiss"):
            if old != file:
                old.unlink(missing_ok=True)

    def _take(self, inner: Any, kind: Kind, removed: set[int]) -> None:
        if inner.d != self.dimension:
            raise KnowledgeError(f"expected vectors of {self.dimension} numbers, found {inner.d}")
        self._faiss, self._kind, self._removed, self._is_mapped = inner, kind, removed, True
        self._ids = set(faiss.vector_to_array(inner.id_map).tolist()) - removed

    def _blank(self, removed: set[int]) -> None:
        """Put the vector of a neighbour in the place of each that was removed from the graph.

        A vector tells much of its text, and no file may keep that; ways through the graph still lead the same way.
        """
        if not removed:
            return
        graph: Any = faiss.downcast_index(self._faiss.index)
        ids: Ids = faiss.vector_to_array(self._faiss.id_map)
        storage: Any = faiss.downcast_index(graph.storage)
        rows = faiss.rev_swig_ptr(storage.get_xb(), len(ids) * self.dimension)
        rows = rows.reshape(len(ids), self.dimension)
        starts = faiss.vector_to_array(graph.hnsw.offsets)
        neighbours, width = faiss.vector_to_array(graph.hnsw.neighbors), graph.hnsw.nb_neighbors(0)
        for place in np.flatnonzero(np.isin(ids, list(removed))).tolist():
            around = neighbours[starts[place] :][:width]
            kept = [one for one in around.tolist() if one >= 0 and int(ids[one]) in self._ids]
            rows[place] = rows[kept[0]] if kept else 0

    def _rebuild(self, kind: Kind | None = None) -> None:
        """Build the index anew from its own vectors; searches use the old one until it is done."""
        ids, vectors = self._contents()
        kind = kind or ("hnsw" if len(ids) > self._flat_limit else "flat")
        fresh = _new(kind, self.dimension)
        if len(ids):
            fresh.add_with_ids(vectors, ids)
        with self._lock:
            self._faiss, self._kind, self._removed = fresh, kind, set()
            self._is_mapped = False

    def _own(self) -> None:
        """Copy what lies in a mapped file into memory, where it may be changed; searches go on meanwhile."""
        if self._is_mapped:
            copy = faiss.deserialize_index(faiss.serialize_index(self._faiss))
            with self._lock:
                self._faiss, self._is_mapped = copy, False

    def _contents(self) -> tuple[Ids, Vectors]:
        all_ids: Ids = faiss.vector_to_array(self._faiss.id_map)
        vectors: Vectors = faiss.downcast_index(self._faiss.index).reconstruct_n(0, len(all_ids))
        kept = np.array([number in self._ids for number in all_ids.tolist()], bool)
        return all_ids[kept], vectors[kept]

    def _search_exactly(self, query: Vectors, count: int, selection: Selection) -> tuple[Vectors, Ids]:
        # A walk through the graph meets few that may be found where most may not.
        inner, id_map = self._faiss, self._faiss.id_map
        graph: Any = faiss.downcast_index(inner.index)
        storage = faiss.downcast_index(graph.storage)
        chosen = faiss.SearchParameters(sel=selection.of_positions(id_map))  # type: ignore[call-arg]
        scores, positions = storage.search(query, count, params=chosen)
        ids: Ids = faiss.vector_to_array(id_map)
        return scores, np.where(positions >= 0, ids[positions], -1)

    def _parameters(self, count: int, selection: Selection) -> Any:
        selector = selection.selector
        if self._kind == "flat":
            return None if selector is None else faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        # A walk finds less of what lies at the end of many nearest, and needs to be longer where some are passed over. Of
        # the 60 nearest of 20,000, twice as many steps find 0.88, four times 0.95, in 0.7 ms instead of 0.4.
        effort = max(EF_SEARCH, 4 * count)
        if selector is None:
            return faiss.SearchParametersHNSW(efSearch=effort)  # type: ignore[attr-defined]
        return faiss.SearchParametersHNSW(sel=selector, efSearch=effort)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaissHome:
    """A folder with the index of one embedding model."""

    folder: Path
    model: str

    def create(self, dimension: int) -> FaissIndex:
        """Give an empty index."""
        return FaissIndex(dimension)

    def open(self) -> tuple[FaissIndex, int]:
        """Read the index."""
        return FaissIndex.open(self.folder, model=self.model)

    def save(self, index: Index, version: int) -> None:
        """Write the index."""
        if not isinstance(index, FaissIndex):
            raise KnowledgeError(f"expected an index of FAISS, found {type(index).__name__}")
        index.save(self.folder, model=self.model, version=version)


def _new(kind: Kind, dimension: int) -> Any:
    if kind == "flat":
        return faiss.IndexIDMap(faiss.IndexFlatIP(dimension))
    graph = faiss.IndexHNSWFlat(dimension, LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = EF_CONSTRUCTION
    return faiss.IndexIDMap(graph)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
