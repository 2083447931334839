"""The service `search`: passages of the documents, from the cache where the same was asked of the same documents."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson
import structlog

from hub.bus.cache import AnswerCache
from hub.errors import BusError, HubError, KnowledgeError
from hub.waiting import happens
from knowledge.audience import ANYONE, Reader
from knowledge.passages import Passage
from knowledge.questions import Query, read_queries

log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""How often the warm-up looks whether the documents have changed."""


class SearchedBase(Protocol):
    """The knowledge base, as far as a search needs it."""

    @property
    def ranking(self) -> str:
        """What, beside the documents, the order of passages depends on."""

    async def view(self, reader: Reader) -> str:
        """Name what a reader's next search finds; while the name is the same, so is what it finds."""

    async def search(self, question: str, k: int, reader: Reader = ANYONE) -> Sequence[Passage]:
        """Find the passages nearest to a question that its reader may see."""


class SearchService:
    """Answers calls for passages of public documents: whoever calls is not known here."""

    def __init__(self, base: SearchedBase, cache: AnswerCache | None) -> None:
        """Prepare; without a cache every call is searched for."""
        self._base = base
        self._cache = cache

    async def answer(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Search, or give again what was found while the documents were the same.

        Raises: HubError: the request is none, or the knowledge base cannot be read.
        """
        match request:
            case {"q": str(), "k": int()}:
                pass
            case _:
                raise HubError("expected a query `q` and a number `k`")
        if self._cache is None:
            return await self._search(request)
        # Before the search: what changes meanwhile is at worst kept for a version nobody asks for any more.
        digest = _digest(request, await self._base.view(ANYONE), self._base.ranking)
        if (kept := await self._find(self._cache, digest)) is not None:
            return {**kept, "from_cache": True}
        answer = await self._search(request)
        try:
            await self._cache.keep(digest, orjson.dumps(answer))
        except BusError as error:
            log.warning("cache_not_written", error=str(error))
        return answer

    async def warm(self, queries: Sequence[Query]) -> int:
        """Search for each query, so that whoever asks it is answered from the cache.

        Returns: how many were not in it.
        """
        fresh = 0
        for query in queries:
            answer = await self.answer({"q": query.text, "k": query.k})
            fresh += not answer.get("from_cache", False)
        return fresh

    async def keep_warm(self, file: Path, stop: asyncio.Event) -> None:
        """Warm the cache from a file of queries now and after every change of the documents, until `stop` is set."""
        warmed = ""
        while not stop.is_set():
            try:
                view = await self._base.view(ANYONE)
                if view != warmed:
                    queries = await asyncio.to_thread(read_queries, file)
                    fresh = await self.warm(queries)
                    warmed = view
                    log.info("search_cache_warmed", queries=len(queries), fresh=fresh)
            except HubError as error:
                log.warning("search_cache_not_warmed", error=str(error))
                warmed = await self._view_or(warmed)
            await happens(stop, within_s=LOOK_S)

    async def _view_or(self, otherwise: str) -> str:
        # A file that cannot be read is told once for each version of the documents, not every few seconds.
        try:
            return await self._base.view(ANYONE)
        except KnowledgeError:
            return otherwise

    async def _find(self, cache: AnswerCache, digest: str) -> dict[str, Any] | None:
        try:
            kept = await cache.find(digest)
        except BusError as error:
            log.warning("cache_not_read", error=str(error))
            return None
        try:
            found = None if kept is None else orjson.loads(kept)
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, dict) else None

    async def _search(self, request: Mapping[str, Any]) -> dict[str, Any]:
        passages = await self._base.search(request["q"], request["k"], ANYONE)
        return {"results": [_row(passage) for passage in passages]}


def _row(passage: Passage) -> dict[str, Any]:
    return {
        "source": passage.location,
        "title": passage.title,
        "heading": passage.heading,
        "text": passage.text,
        "score": round(passage.score, 4),
        "version": passage.version,
    }


def _digest(request: Mapping[str, Any], view: str, ranking: str) -> str:
    # The whole request: whatever it is that one asks with, another may not be given the answer.
    depends_on = {"request": dict(request), "documents": view, "ranking": ranking}
    return hashlib.sha256(orjson.dumps(depends_on, option=orjson.OPT_SORT_KEYS)).hexdigest()
