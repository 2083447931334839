"""What taking documents in costs beside the embedding alone, and what a search costs beside the bare index.

python -m benchmarks.ingest                            everything up to 100,000 passages
python -m benchmarks.ingest --short                    a quick look
python -m benchmarks.ingest --rounds 0 --sizes 1000000 searches alone, of another size
python -m benchmarks.ingest --folder ~/handbook        other documents than those of Python's own modules
"""

import argparse
import asyncio
import logging
import multiprocessing
import pydoc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil
import structlog
from sqlalchemy import Connection, insert, select

from hub.database import database_url, sync_engine, upgrade
from hub.settings import KnowledgeSettings, Settings
from knowledge.audience import ANYONE, reader_as
from knowledge.chunks import embedded_text
from knowledge.embedder import Embedder
from knowledge.imports import import_sentence_transformers
from knowledge.index.faiss import EF_CONSTRUCTION, EF_SEARCH, FLAT_LIMIT, LINKS
from knowledge.index.homes import index_home
from knowledge.index.keeper import IndexKeeper
from knowledge.ingest import Ingester
from knowledge.passages import Vectors
from knowledge.search import KnowledgeBase
from knowledge.store import DocumentStore
from knowledge.tables import ChunkRow, DocumentRow

DIMENSION = 384
CENTRES = 2_000
"""Texts lie in heaps, and so do these vectors."""
QUESTIONS = 500
K = 8
"""What a turn asks for."""
OTHERS = "person:somebody"
"""For whom half of the documents are, in the rows that say so."""
BLOCK = 10_000
"""Vectors made at once, so that a million of them need little memory beside what is measured."""
WARM_UP = 20
"""Searches before those that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Latencies of one side, and what it holds in memory."""

    latencies_ms: Sequence[float]
    memory_bytes: int

    def quantile(self, share: float) -> float:
        """Return the latency that this share of the searches stays below."""
        return float(np.quantile(self.latencies_ms, share))


def main() -> None:
    """Measure and print."""
    asked = _arguments()
    _quiet()
    rounds = 1 if asked.short else asked.rounds
    if rounds:
        with tempfile.TemporaryDirectory() as folder:
            documents = asked.folder or write_documents(Path(folder, "documents"), 5 if asked.short else 60)
            ingestion(documents, Path(folder), rounds)
    sizes = [10_000] if asked.short else [int(size) for size in asked.sizes.split(",") if size]
    if sizes:
        print(f"\n{'passages':>9}  {'side':34}{'p50':>9}{'p95':>9}{'memory':>10}")
    for size in sizes:
        searches(size)


def write_documents(folder: Path, count: int) -> Path:
    """Write the reference of Python's own modules, one text each."""
    folder.mkdir()
    names = sorted(name for name in sys.stdlib_module_names if not name.startswith("_"))
    skipped = {"antigravity", "this", "idlelib", "turtledemo", "lib2to3", "turtle", "tkinter"}
    for name in [name for name in names if name not in skipped][:count]:
        try:
            text = pydoc.plain(pydoc.render_doc(name))
        except (ImportError, pydoc.ErrorDuringImport):
            continue
        (folder / f"{name}.txt").write_text(text, "utf-8")
    return folder


def ingestion(documents: Path, folder: Path, rounds: int) -> None:
    """Take documents in, and embed the same texts by sentence-transformers alone, in turns."""
    embedder = Embedder(KnowledgeSettings(), threads=0)
    embedder.start().result()
    model = import_sentence_transformers()(str(embedder.folder), device="cpu", local_files_only=True)
    model.encode(["warm"], show_progress_bar=False)
    ours, alone, ratios = list[float](), list[float](), list[float]()
    texts: list[str] = []
    for number in range(rounds):
        settings = Settings(data=folder / f"data{number}", knowledge=KnowledgeSettings(bundled_docs=False))
        settings.data.mkdir()
        # The first round goes before the texts are known; then each side is the first in turn.
        if number % 2:
            alone.append(_alone(model, texts))
        took_s, texts = _ingest(settings, documents, embedder)
        ours.append(len(texts) / took_s)
        if not number % 2:
            alone.append(_alone(model, texts))
        ratios.append(ours[-1] / alone[-1])
    again_s, _ = _ingest(settings, documents, embedder)
    memory = psutil.Process().memory_info().rss / 2**20
    embedder.close()
    print(f"{len(texts)} passages ({len(set(texts))} different), {rounds} rounds in turns, medians:")
    print(f"  hubbub ingest (read, cut, embed, store, index)    {statistics.median(ours):8.1f} passages/s")
    print(f"  sentence-transformers, encode of the same texts   {statistics.median(alone):8.1f} passages/s")
    print(
        f"  ratio                                             {statistics.median(ratios):8.2f}"
        f"   ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(f"  the same again, nothing changed                   {again_s:8.2f} s")
    print(f"  memory of the process                             {memory:8.0f} MiB")


def _alone(model: Any, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return len(texts) / (time.perf_counter() - started)


def _ingest(settings: Settings, documents: Path, embedder: Embedder) -> tuple[float, list[str]]:
    url = database_url(settings)
    upgrade(url)
    engine = sync_engine(url)
    started = time.perf_counter()
    report = Ingester(DocumentStore(engine), embedder, settings.knowledge).ingest([documents])
    keeper = IndexKeeper(engine, index_home(settings, embedder.model), embedder.model)
    keeper.open()
    keeper.save()
    took_s = time.perf_counter() - started
    assert report.complete
    query = select(DocumentRow.title, ChunkRow.heading, ChunkRow.text).join_from(ChunkRow, DocumentRow)
    with engine.connect() as connection:
        texts = [embedded_text(*row).text for row in connection.execute(query.order_by(ChunkRow.id))]
    engine.dispose()
    return took_s, texts


def searches(size: int) -> None:
    """Search one size of index: the hub's way, the hub's way with half of it for others, and bare FAISS."""
    sides: dict[str, Callable[[int, str], Times]] = {
        "hubbub, without embedding": _hub_side,
        "hubbub, half of it for others": _hub_half_side,
        "bare FAISS": _faiss_side,
    }
    for name, side in sides.items():
        # In a process of its own, whose memory is its own.
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=context) as pool:
            times = pool.submit(side, size, folder).result()
        print(
            f"{size:9}  {name:34}{times.quantile(0.5):7.2f}ms{times.quantile(0.95):7.2f}ms"
            f"{times.memory_bytes / 2**20:7.0f}MiB",
            flush=True,
        )


def made_vectors(count: int, seed: int) -> Iterator[Vectors]:
    """Make unit vectors that lie in heaps, block by block."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, DIMENSION), np.float32)
    random = np.random.default_rng(seed)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        rows = centres[random.integers(0, CENTRES, size)]
        rows += np.float32(0.7) * random.standard_normal((size, DIMENSION), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        yield rows


def made_questions() -> Vectors:
    """Make the vectors of the questions."""
    return np.concatenate(list(made_vectors(WARM_UP + QUESTIONS, seed=2)))


class GivenVectors(KnowledgeBase):
    """A base whose questions are embedded already: what is left is the search."""

    questions: Vectors

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Give the vector of a question, which is its number."""
        return self.questions[[int(text) for text in texts]]


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _hub_side(size: int, folder: str) -> Times:
    return asyncio.run(_search_base(size, Path(folder), is_half_for_others=False))


def _hub_half_side(size: int, folder: str) -> Times:
    return asyncio.run(_search_base(size, Path(folder), is_half_for_others=True))


async def _search_base(size: int, folder: Path, *, is_half_for_others: bool) -> Times:
    _quiet()
    settings = Settings(data=folder, knowledge=KnowledgeSettings(bundled_docs=False))
    before = psutil.Process().memory_info().rss
    await asyncio.to_thread(_fill, settings, size, is_half_for_others)
    base = await GivenVectors.open(settings)
    base.questions = made_questions()
    await base.ready()
    assert base.size == size
    latencies = []
    for number in range(len(base.questions)):
        started = time.perf_counter()
        found = await base.search(str(number), K, ANYONE if number % 2 else reader_as("site:none"))
        latencies.append(1000 * (time.perf_counter() - started))
        assert len(found) == K
        assert all(passage.audience != OTHERS for passage in found)
    memory = psutil.Process().memory_info().rss - before
    await base.close()
    return Times(latencies_ms=latencies[WARM_UP:], memory_bytes=memory)


def _fill(settings: Settings, size: int, is_half_for_others: bool) -> None:
    url = database_url(settings)
    upgrade(url)
    engine = sync_engine(url)
    model = Embedder(settings.knowledge).model
    DocumentStore(engine).open_collection("others", OTHERS)
    number = 0
    for vectors in made_vectors(size, seed=1):
        with engine.execution_options(immediate=True).begin() as connection:
            # A document has a hundred chunks.
            for start in range(0, len(vectors), 100):
                collection = "others" if is_half_for_others and number % 200 else "documents"
                _put(connection, collection, number, vectors[start : start + 100], model)
                number += 100
    engine.dispose()


def _put(connection: Connection, collection: str, number: int, vectors: Vectors, model: str) -> None:
    document: dict[str, Any] = {
        "collection": collection,
        "root": "made:",
        "location": str(number),
        "title": "Made",
        "media_type": "text/plain",
        "version": "0" * 64,
        "size_bytes": 0,
        "added_at": datetime.now(UTC),
    }
    document_id = connection.execute(
        insert(DocumentRow).values(document).returning(DocumentRow.id)
    ).scalar_one()
    rows = [
        {
            "document_id": document_id,
            "ordinal": ordinal,
            "heading": "",
            "text": f"Text {number + ordinal} " * 40,
            "text_hash": str(number + ordinal),
            "embedding": vector.astype("<f4").tobytes(),
            "embedding_model": model,
        }
        for ordinal, vector in enumerate(vectors)
    ]
    connection.execute(insert(ChunkRow), rows)


def _faiss_side(size: int, _: str) -> Times:
    before = psutil.Process().memory_info().rss
    index: Any
    if size > FLAT_LIMIT:
        index = faiss.IndexHNSWFlat(DIMENSION, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = EF_CONSTRUCTION, EF_SEARCH
    else:
        index = faiss.IndexFlatIP(DIMENSION)
    for vectors in made_vectors(size, seed=1):
        index.add(vectors)
    latencies = []
    for question in made_questions():
        started = time.perf_counter()
        index.search(question.reshape(1, -1), K)
        latencies.append(1000 * (time.perf_counter() - started))
    return Times(latencies_ms=latencies[WARM_UP:], memory_bytes=psutil.Process().memory_info().rss - before)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="documents to take in")
    parser.add_argument("--sizes", default="10000,100000", help="passages in the index; empty: no searches")
    parser.add_argument("--rounds", type=int, default=3, help="of taking documents in; 0: none")
    parser.add_argument("--short", action="store_true", help="a quick look")
    return parser.parse_args()


if __name__ == "__main__":
    main()
