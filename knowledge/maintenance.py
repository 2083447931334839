"""What an operator does with the index as a whole: look at it, build it anew, empty the knowledge base."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine

from hub.database import database_url, opened
from hub.settings import Settings
from knowledge.embedder import Embedder
from knowledge.index.homes import index_folder, index_home
from knowledge.index.keeper import IndexKeeper
from knowledge.library import BUNDLED, Library
from knowledge.store import DocumentStore


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo:
    """What can be told about the index."""

    documents: int
    chunks: int
    """Chunks that can be found."""
    kind: str
    """`flat` (exact) or `hnsw` (approximate, for many chunks); empty when there is no index."""
    dimension: int
    model: str
    """Embedding model and the beginning of its digest."""
    version: int
    """Counter of changes of the knowledge base."""
    size_bytes: int
    """On disk."""


def describe(settings: Settings) -> IndexInfo:
    """Bring the index up to date and tell about it.

    Raises: KnowledgeError: the embedding model or the index cannot be used. DatabaseError: the database cannot.
    """
    with _opened(settings) as (engine, keeper):
        keeper.open()
        return _info(settings, engine, keeper)


def build(settings: Settings) -> IndexInfo:
    """Build the index anew from the embeddings in the database, whatever lies on disk.

    Raises: KnowledgeError: the embedding model cannot be used. DatabaseError: the database cannot.
    """
    with _opened(settings) as (engine, keeper):
        keeper.refresh()
        keeper.save()
        return _info(settings, engine, keeper)


def reset(settings: Settings) -> int:
    """Remove every document that was added; the project's own stay.

    Returns: how many were removed.
    Raises: KnowledgeError: the embedding model or the index cannot be used. DatabaseError: the database cannot.
    """
    with _opened(settings) as (engine, keeper):
        library = Library(engine)
        added = [found.name for found in library.collections() if found.name != BUNDLED]
        removed = sum(library.remove_collection(name) for name in added)
        keeper.open()
        keeper.save()
        return removed


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Engine, IndexKeeper]]:
    with opened(database_url(settings)) as engine, closing(Embedder(settings.knowledge)) as embedder:
        yield engine, IndexKeeper(engine, index_home(settings, embedder.model), embedder.model)


def _info(settings: Settings, engine: Engine, keeper: IndexKeeper) -> IndexInfo:
    files = [path for path in index_folder(settings).glob("*") if path.is_file()]
    return IndexInfo(
        documents=len(DocumentStore(engine).documents()),
        chunks=keeper.size,
        kind=keeper.kind,
        dimension=keeper.dimension,
        model=keeper.model,
        version=keeper.version,
        size_bytes=sum(path.stat().st_size for path in files),
    )
