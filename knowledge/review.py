"""What the ingested repositories say about a change: which files, symbols and documents to look at, and why.

A repository is what was ingested under one name: its collection, or for the collection of all documents its folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, or_, select, tuple_

from hub.documents.parsing import CODE
from hub.errors import KnowledgeError
from knowledge.audience import PUBLIC
from knowledge.passages import Retriever
from knowledge.symbols import defined_in, names_in
from knowledge.tables import ChunkRow, CollectionRow, DocumentRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_SHARED = frozenset({"documents"})
_OWN = "bundled"
"""The project's own documents: no repository of anybody who asks."""
_EVERY = "all"
_MAX_FILES = 50
_MAX_SYMBOLS = 24
_MAX_AREAS = 12
_MAX_ROWS = 400
_SEARCHED = 6
"""Hits looked at for each reference wanted: other repositories' are among them."""
_MOST_SEARCHED = 500
_LEAST_SCORE = 0.25
_NAMED, _EACH_NAME = 0.6, 0.05
"""Score of a place that names a changed symbol, and what each further one adds."""
_SUMMARY_CHARS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A chunk with its document."""

    chunk: int
    document: int
    repository: str
    location: str
    media_type: str
    version: str
    heading: str
    text: str
    score: float = 0.0
    symbols: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return "code" if self.media_type == CODE else "doc"


class RepositoryReview:
    """Looks into the ingested repositories; never blocks the event loop."""

    def __init__(self, retriever: Retriever, engine: "AsyncEngine") -> None:
        self._retriever = retriever
        self._engine = engine

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer the service `review`.

        Args:
            request: `query`, `files`, `repositories`, `max_results` as the API checked them.

        Raises: KnowledgeError: the request is none, or the documents cannot be read.
        """
        try:
            query, most = str(request["query"]), int(request["max_results"])
            files = [str(path) for path in request["files"]][:_MAX_FILES]
            repositories = [str(name) for name in request["repositories"]]
        except (KeyError, TypeError, ValueError) as error:
            raise KnowledgeError("this is no request for the context of a review") from error
        among = await self._among(repositories)
        changed = await self._changed(files, among)
        symbols = list(dict.fromkeys(name for place in changed for name in _defined(place)))[:_MAX_SYMBOLS]
        found = [*await self._naming(symbols, changed, among)]
        for text in _questions(query, changed, symbols):
            found += await self._near(text, _SEARCHED * most, among, least=most)
        references = _best(found, changed, most)
        return {
            "focus_areas": _focus(changed, references),
            "areas": _areas(changed, references),
            "references": [_document(place) for place in references],
        }

    async def _among(self, repositories: Sequence[str]) -> ColumnElement[bool]:
        """Say in SQL which documents are of the repositories that are asked about."""
        query = select(DocumentRow.collection, DocumentRow.root).distinct()
        async with self._engine.connect() as connection:
            rows = list(await connection.execute(query))
        places = [
            (row.collection, row.root)
            for row in rows
            if _is_of(repository_of(row.collection, row.root), repositories)
        ]
        return tuple_(DocumentRow.collection, DocumentRow.root).in_(places)

    async def _changed(self, files: Sequence[str], among: ColumnElement[bool]) -> list[_Place]:
        """Find the chunks of the changed files, by the longest end of a path that is known."""
        if not files:
            return []
        paths = [PurePosixPath(path.replace("\\", "/")) for path in files]
        ends = {"/".join(path.parts[start:]) for path in paths for start in range(len(path.parts))}
        longer = [DocumentRow.location.endswith(f"/{path}", autoescape=True) for path in paths]
        rows = await self._places(_select().where(among, or_(DocumentRow.location.in_(ends), *longer)))
        return [place for place in rows if any(_same_file(place.location, str(path)) for path in paths)]

    async def _naming(
        self, symbols: Sequence[str], changed: Sequence[_Place], among: ColumnElement[bool]
    ) -> list[_Place]:
        """Find the places outside the changed files that name what these define."""
        if not symbols:
            return []
        own = {place.document for place in changed}
        rows = await self._places(
            _select().where(among, or_(*(ChunkRow.text.contains(name, autoescape=True) for name in symbols)))
        )
        naming: dict[int, list[_Place]] = {}
        for place in rows:
            if place.document not in own and names_in(place.text, list(symbols)):
                naming.setdefault(place.document, []).append(place)
        return [_joined(places, symbols) for places in naming.values()]

    async def _near(self, text: str, k: int, among: ColumnElement[bool], *, least: int) -> list[_Place]:
        """Find the places nearest to a text; looks farther where those of others leave too few."""
        while True:
            passages = {passage.chunk_id: passage for passage in await self._retriever.search(text, k)}
            near = [number for number, passage in passages.items() if passage.score >= _LEAST_SCORE]
            rows = await self._places(_select().where(among, ChunkRow.id.in_(near)))
            if len(rows) >= least or len(near) < k or k >= _MOST_SEARCHED:
                return [replace(place, score=max(0.0, passages[place.chunk].score)) for place in rows]
            k *= 4

    async def _places(self, query: Select[*tuple[Any, ...]]) -> list[_Place]:
        async with self._engine.connect() as connection:
            rows = list(await connection.execute(query.order_by(ChunkRow.id).limit(_MAX_ROWS)))
        return [
            _Place(
                chunk=row.chunk,
                document=row.document,
                repository=repository_of(row.collection, row.root),
                location=row.location,
                media_type=row.media_type,
                version=row.version,
                heading=row.heading,
                text=row.text,
            )
            for row in rows
        ]


def repository_of(collection: str, root: str) -> str:
    """Name the repository that a document belongs to; empty for the project's own documents."""
    if collection == _OWN:
        return ""
    if collection not in _SHARED:
        return collection
    return PurePosixPath(root.replace("\\", "/")).name.removesuffix(".git")


def _select() -> Select[*tuple[Any, ...]]:
    """Begin every query of this module: what must not be read by whoever holds a key is left out here."""
    return (
        select(
            ChunkRow.id.label("chunk"),
            ChunkRow.heading,
            ChunkRow.text,
            DocumentRow.id.label("document"),
            DocumentRow.collection,
            DocumentRow.root,
            DocumentRow.location,
            DocumentRow.media_type,
            DocumentRow.version,
        )
        .join(DocumentRow, DocumentRow.id == ChunkRow.document_id)
        .join(CollectionRow, CollectionRow.name == DocumentRow.collection)
        .where(CollectionRow.audience == PUBLIC)
    )


def _is_of(repository: str, wanted: Sequence[str]) -> bool:
    if not repository:
        return False
    names = {name.lower() for name in wanted}
    # "acme/api" may have been ingested from a folder called "api".
    ends = {name.rpartition("/")[2] for name in names}
    return not names or _EVERY in names or repository.lower() in names | ends


def _same_file(known: str, given: str) -> bool:
    return known == given or known.endswith(f"/{given}") or given.endswith(f"/{known}")


def _defined(place: _Place) -> list[str]:
    return defined_in(place.text) if place.kind == "code" else []


def _joined(places: Sequence[_Place], symbols: Sequence[str]) -> _Place:
    """Put the chunks of one file together that name symbols: an import in one, a call in the next."""
    text = "\n".join(place.text for place in places)
    named = names_in(text, list(symbols))
    best = max(places, key=lambda place: len(names_in(place.text, list(symbols))))
    score = min(1.0, _NAMED + _EACH_NAME * (len(named) - 1))
    return replace(best, text=text, symbols=tuple(named), score=score)


def _questions(query: str, changed: Sequence[_Place], symbols: Sequence[str]) -> Iterable[str]:
    if query:
        yield query
    if changed:
        names = dict.fromkeys(place.location for place in changed)
        yield f"{' '.join(names)} {' '.join(symbols)}"[:1000]


def _best(found: Sequence[_Place], changed: Sequence[_Place], most: int) -> list[_Place]:
    """Keep the best place of each file, best first; the changed files are what is under review, no references."""
    own = {place.document for place in changed}
    best: dict[int, _Place] = {}
    for place in sorted(found, key=lambda each: -each.score):
        if place.document in own:
            continue
        kept = best.setdefault(place.document, place)
        if place.symbols and not kept.symbols:
            # What names the symbols says more than what is only near.
            best[place.document] = replace(place, score=kept.score)
    return sorted(best.values(), key=lambda each: -each.score)[:most]


def _areas(changed: Sequence[_Place], references: Sequence[_Place]) -> dict[str, list[str]]:
    places = [*changed, *references]
    files = dict.fromkeys(place.location for place in places if place.kind == "code" or place in changed)
    symbols = dict.fromkeys(
        [
            *(name for place in changed for name in _defined(place)),
            *(name for place in references for name in place.symbols),
        ]
    )
    docs = dict.fromkeys(
        f"{place.location} > {place.heading}" if place.heading else place.location
        for place in places
        if place.kind == "doc"
    )
    named = {"files": files, "symbols": symbols, "docs": docs}
    return {name: list(values)[:_MAX_AREAS] for name, values in named.items()}


def _focus(changed: Sequence[_Place], references: Sequence[_Place]) -> list[str]:
    """Say in short lines what to look at: each changed file with what it defines, who names that, what is written on it."""
    lines: dict[str, None] = {}
    for location in dict.fromkeys(place.location for place in changed):
        names = dict.fromkeys(
            name for place in changed if place.location == location for name in _defined(place)
        )
        lines[f"{location}: {', '.join(list(names)[:6])}" if names else location] = None
    for place in references:
        if place.symbols:
            lines[f"{place.location} uses {', '.join(place.symbols[:4])}"] = None
        elif place.kind == "doc":
            lines[f"{place.location} > {place.heading}" if place.heading else place.location] = None
        else:
            lines[place.location] = None
    return list(lines)[:_MAX_AREAS]


def _document(place: _Place) -> dict[str, Any]:
    return {
        "repository": place.repository,
        "file_path": place.location,
        "summary": _summary(place),
        "score": round(place.score, 4),
        "kind": place.kind,
        "heading": place.heading,
        "symbols": list(place.symbols),
        "version": place.version,
        "url": place.location if place.location.startswith(("http://", "https://")) else None,
    }


def _summary(place: _Place) -> str:
    """Write the lines that matter on one: those that name a changed symbol, else the first."""
    lines = [line.strip() for line in place.text.splitlines() if line.strip()]
    named = [line for line in lines if names_in(line, list(place.symbols))]
    return " ".join(" ".join(named or lines).split())[:_SUMMARY_CHARS]
