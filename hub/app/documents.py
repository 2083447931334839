"""What the API does to the documents: it reads them in limited processes, and lets the engine embed them.

The API's process never loads the embedding model. Text and vectors become visible in one transaction, or not at all.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import PurePath
from typing import ParamSpec, TypeVar

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from hub.api.admin.ports import CollectionShown, DocumentShown, GapShown, Outcome, Upload
from hub.api.openai.embeddings import BATCH, embedded
from hub.api.preconditions import stale
from hub.api.problems import FieldError, Problem, invalid_fields, unavailable
from hub.app.audiences import read_audience
from hub.bus.calls import Caller
from hub.database import DatabaseError, async_engine, sync_engine
from hub.documents.parsing import media_type_of, version_of
from hub.errors import ChangedMeanwhile, DocumentUnreadable, FileProblem, KnowledgeError
from hub.guard_settings import GapSettings
from hub.settings import KnowledgeSettings
from knowledge.chunks import EmbeddedText
from knowledge.contextual import in_context, plain_texts
from knowledge.embedder import Embedder
from knowledge.gaps.store import GapStore
from knowledge.library import DocumentEntry, DocumentFilter, Library
from knowledge.reading import LimitedReader, ReadDocument
from knowledge.sources.base import Content
from knowledge.store import COLLECTION_NAME, DocumentStore, KnownDocument, Place
from knowledge.writing import with_vectors

UPLOADED = "upload:api"
"""Source of what was sent; nothing ever reads it again."""
READERS = 2
MAX_CHUNKS = 2_000
"""Passages of one document, about a thousand pages: whoever sends it waits until it can be found."""
PROBE_TIMEOUT_S = 10.0
MAX_LOOKS = 20

_STATUS: Mapping[FileProblem, int] = {"unsupported": 415, "too_large": 413}
"""Of what cannot be read; everything else is 422."""

P = ParamSpec("P")
T = TypeVar("T")


class Documents:
    """The documents, for operators' routes."""

    def __init__(self, settings: KnowledgeSettings, database_url: str, caller: Caller) -> None:
        self._settings = settings
        self._caller = caller
        self._engine = sync_engine(database_url)
        self._library = Library(self._engine)
        self._store = DocumentStore(self._engine)
        self._reading = _Reading(settings)

    async def close(self) -> None:
        """End the processes that read, and the connections."""
        await self._reading.close()
        await asyncio.to_thread(self._engine.dispose)

    async def collections(self) -> list[CollectionShown]:
        """List all collections by name."""
        found = await _apart(self._library.collections)
        return [CollectionShown.model_validate(one) for one in found]

    async def collection(self, name: str) -> CollectionShown | None:
        """Show one."""
        return next((one for one in await self.collections() if one.name == name), None)

    async def set_audience(self, name: str, audience: str, *, wanted: str = "") -> bool:
        """Say who may read a collection; True where it is new."""
        if not COLLECTION_NAME.fullmatch(name):
            raise Problem(
                400,
                "invalid_id",
                "Collections have 1 to 64 characters out of A-Z, a-z, 0-9, '.', '_' and '-'.",
            )
        try:
            meant = read_audience(audience)
        except KnowledgeError:
            raise invalid_fields(
                FieldError("audience", "expected public, operator, site:KEY or person:ID")
            ) from None
        known = await self.collection(name)
        if wanted and (known is None or known.version != wanted):
            raise stale()
        try:
            if known is None:
                await _apart(self._store.open_collection, name, meant)
            else:
                await _apart(self._library.set_audience, name, meant, known.audience if wanted else "")
        except ChangedMeanwhile:
            raise stale() from None
        except KnowledgeError:
            raise Problem(
                409, "changed_meanwhile", "Somebody else changes this collection; repeat it."
            ) from None
        return known is None

    async def remove_collection(self, name: str) -> int | None:
        """Remove a collection; gives how many documents went, None where there is none of the name."""
        try:
            return await _apart(self._library.remove_collection, name)
        except KnowledgeError:
            return None

    async def documents(
        self, collection: str, *, after: int, limit: int, name: str = "", is_upload: bool | None = None
    ) -> Sequence[DocumentShown]:
        """List documents of a collection by id."""
        which = DocumentFilter(
            location=name, root="" if is_upload is None else UPLOADED, is_of_root=is_upload is not False
        )
        found = await _apart(self._library.documents, collection, after=after, limit=limit, which=which)
        return [_shown(one) for one in found]

    async def remove_document(self, collection: str, document_id: int) -> bool:
        """Remove a document of a collection; False where it has none of the id."""
        found = await self.documents(collection, after=document_id - 1, limit=1)
        if not found or found[0].id != document_id:
            return False
        return await _apart(self._library.remove_document, document_id)

    async def add(self, upload: Upload) -> tuple[Outcome, DocumentShown]:
        """Take a document in, whole or not at all."""
        if await self.collection(upload.collection) is None:
            raise _no_collection()
        embedder = await self._reading.embedder()
        old = await self._known(upload)
        if upload.wanted and (old is None or old.version != upload.wanted):
            raise stale()
        if old and (old.version, old.model) == (version_of(upload.data), embedder.model):
            return "unchanged", await self._one(upload)
        document = await self._reading.read(upload)
        if len(document.chunks) > MAX_CHUNKS:
            detail = f"The document has {len(document.chunks)} passages; one that is sent has {MAX_CHUNKS} at most."
            raise Problem(413, "too_many_passages", detail)
        await self._put(upload, document, embedder.model, old=old)
        return "replaced" if old else "added", await self._one(upload)

    async def _put(
        self, upload: Upload, document: ReadDocument, model: str, *, old: KnownDocument | None
    ) -> None:
        chunks = document.chunk_list
        texts = [chunk.embedded(document.title) for chunk in chunks]
        hashes = [text.digest for text in texts]
        vectors = await _apart(self._store.embeddings, set(hashes), model)
        missing = {digest: text for digest, text in zip(hashes, texts, strict=True) if digest not in vectors}
        vectors |= await self._vectors(missing, model)
        place = Place(collection=upload.collection, root=UPLOADED, location=upload.name)
        try:
            await _apart(
                self._store.put,
                place,
                document,
                with_vectors(chunks, hashes, vectors),
                model,
                old=None,
                seen=old.id if old and upload.wanted else None,
            )
        except ChangedMeanwhile:
            raise stale() from None
        except KnowledgeError:
            raise _no_collection() from None

    async def _vectors(self, texts: Mapping[str, EmbeddedText], model: str) -> dict[str, bytes]:
        """Let the engine embed texts, by their hashes."""
        made: dict[str, bytes] = {}
        if not texts:
            return made
        # Whether anybody embeds at all is known at once; a batch may have to wait for other work.
        probe = await embedded(self._caller, [], timeout_s=PROBE_TIMEOUT_S)
        if probe.model != model.rpartition("@")[0]:
            raise unavailable("The engine embeds by another model than this process.", code="other_model")
        pairs = list(texts.items())
        for start in range(0, len(pairs), BATCH):
            part = pairs[start : start + BATCH]
            parts = [text for _, text in part]
            found = await embedded(self._caller, plain_texts(parts))
            rows = [base64.b64decode(row) for row in found.vectors]
            if found.model != probe.model or any(len(row) != 4 * found.dimension for row in rows):
                raise Problem(502, "bad_answer", "The engine's answer cannot be read.")
            vectors = in_context(parts, np.frombuffer(b"".join(rows), "<f4").reshape(-1, found.dimension))
            made |= {
                digest: row.astype("<f4").tobytes() for (digest, _), row in zip(part, vectors, strict=True)
            }
        return made

    async def _known(self, upload: Upload) -> KnownDocument | None:
        known = await _apart(self._store.known_of, upload.collection, UPLOADED)
        return known.get(upload.name)

    async def _one(self, upload: Upload) -> DocumentShown:
        """Show what stands under a name; somebody else may replace it between two looks."""
        for _ in range(MAX_LOOKS):
            known = await self._known(upload)
            if known is None:
                # Removed by somebody in the moment since.
                raise _no_collection()
            found = await self.documents(upload.collection, after=known.id - 1, limit=1)
            if found and found[0].id == known.id:
                return found[0]
        raise Problem(409, "changed_meanwhile", "Others keep replacing this document; repeat it.")


class _Reading:
    """Reads documents; what it needs is opened at the first one."""

    def __init__(self, settings: KnowledgeSettings) -> None:
        self._settings = settings
        self._opening = asyncio.Lock()
        self._opened = AsyncExitStack()
        self._embedder: Embedder | None = None
        self._reader: LimitedReader | None = None

    async def close(self) -> None:
        """End the processes."""
        await self._opened.aclose()

    async def embedder(self) -> Embedder:
        """Give who knows the embedding model's name and how it counts tokens; it is never loaded here."""
        async with self._opening:
            if self._embedder is None:
                # Its weights are read once for their digest.
                self._embedder = await asyncio.to_thread(Embedder, self._settings)
            return self._embedder

    async def read(self, upload: Upload) -> ReadDocument:
        """Read a document.

        Raises: Problem: it gives no text.
        """
        name = PurePath(upload.name).name
        if media_type_of(PurePath(name)) is None:
            raise Problem(415, "unsupported", "Files of this type are not read; the name's suffix tells it.")
        reader = await self._open_reader()
        content = Content(data=upload.data, name=name, charset=upload.charset)
        try:
            return await asyncio.to_thread(reader.read, content)
        except DocumentUnreadable as error:
            # What is wrong may be told in the document's own words, so only the kind of it is.
            raise _unreadable(error.problem) from None

    async def _open_reader(self) -> LimitedReader:
        embedder = await self.embedder()
        async with self._opening:
            if self._reader is None:
                reader = LimitedReader(READERS, embedder.tokenizer_file, self._settings.chunk_tokens)
                await asyncio.to_thread(reader.__enter__)
                self._opened.push_async_callback(asyncio.to_thread, reader.__exit__, None, None, None)
                self._reader = reader
            return self._reader


class Gaps:
    """The questions nobody could answer, for operators' routes."""

    def __init__(self, settings: GapSettings, database_url: str) -> None:
        self._settings = settings
        self._url = database_url

    async def gaps(self) -> list[GapShown]:
        """List them, those asked most often first."""
        found = await self._with_store(lambda store: store.gaps())
        return [GapShown.model_validate(gap) for gap in found]

    async def forget(self, gap_id: int) -> bool:
        """Remove one with all its questions; False where there is none of the id."""

        async def dismiss(store: GapStore) -> bool:
            named = next((gap for gap in await store.gaps() if gap_id in gap.questions), None)
            return named is not None and bool(await store.dismiss(named))

        return await self._with_store(dismiss)

    async def _with_store(self, work: Callable[[GapStore], Awaitable[T]]) -> T:
        """Work on the table in a thread with a loop of its own: putting 10,000 questions together takes a second."""

        async def main() -> T:
            engine = async_engine(self._url)
            try:
                return await work(GapStore(engine, self._settings))
            finally:
                await engine.dispose()

        return await _apart(lambda: asyncio.run(main()))


async def _apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what blocks in a thread.

    Raises: DatabaseError: the database is away.
    """
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except SQLAlchemyError as error:
        # Without the statement: it may hold what documents and people say.
        raise DatabaseError(f"the documents could not be used: {type(error).__name__}") from error


def _shown(entry: DocumentEntry) -> DocumentShown:
    names = ("id", "location", "title", "media_type", "version", "size_bytes", "chunks", "added_at")
    values = {name: getattr(entry, name) for name in names}
    return DocumentShown(**values, is_upload=entry.root == UPLOADED)


def _unreadable(problem: FileProblem) -> Problem:
    details: dict[FileProblem, str] = {
        "unsupported": "The document is not what its name says, or of a type that is not read.",
        "too_large": "The document is too large to be read.",
        "encrypted": "The document is protected by a password, or of a format before 2007.",
        "empty": "The document holds no text.",
    }
    detail = details.get(problem, "The document is damaged, or takes too long to read.")
    return Problem(_STATUS.get(problem, 422), problem, detail)


def _no_collection() -> Problem:
    return Problem(404, "not_found", "There is no such collection; make it with PUT and its audience.")
