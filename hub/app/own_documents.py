"""Documents that are for one person alone, and their vectors in the index that several machines share in Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.nodes import scan_pages
from hub.database import database_url, opened
from hub.erasure.keyspace import PAGE, paged, text
from hub.erasure.person import Person
from hub.settings import Settings

if TYPE_CHECKING:
    from knowledge.library import Library


class OwnDocuments:
    """Collections of documents that are for one person alone."""

    name = "documents"

    def __init__(self, settings: Settings) -> None:
        self._url = database_url(settings)

    async def erase(self, person: Person) -> int:
        """Remove them."""
        return await asyncio.to_thread(self._of_all, person, "forget_person")

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        return await asyncio.to_thread(self._of_all, person, "count_person")

    async def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give their passages, each with its document; everybody's where nobody is named."""
        people = None if person is None else sorted(person.marks)
        with ExitStack() as closing:
            library = await _opened_library(self._url, closing)
            after = 0
            while page := await asyncio.to_thread(library.own_passages, people, after=after, limit=PAGE):
                for number, passage in page:
                    after = number
                    yield passage

    def _of_all(self, person: Person, what: Literal["forget_person", "count_person"]) -> int:
        with ExitStack() as closing:
            library = _library(self._url, closing)
            return sum(getattr(library, what)(mark) for mark in sorted(person.marks))


class IndexVectors:
    """Hashes of the index in Redis, by plain commands: also where its Query Engine is gone, or another index is used by now.

    A vector does not say whose it is. Theirs are those of their documents, and those whose document is gone, be it by
    this erasure: engines remove these by themselves only when somebody searches next.
    """

    name = "vectors"

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._url = database_url(settings)
        self._redis: Any = redis

    async def erase(self, person: Person) -> int:
        """Remove them from the indexes of all embedding models."""
        from knowledge.index.redis_keys import ids_key, vector_key  # noqa: PLC0415

        removed = 0
        async for name, numbers in self._theirs(person):
            with bus_errors("vectors could not be removed"):
                pipe = self._redis.pipeline(transaction=True)
                pipe.delete(*(vector_key(name, number) for number in numbers))
                pipe.srem(ids_key(name), *numbers)
                await pipe.execute()
            removed += len(numbers)
        return removed

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        return sum([len(numbers) async for _, numbers in self._theirs(person)])

    async def _theirs(self, person: Person) -> AsyncIterator[tuple[str, list[int]]]:
        """Give the vectors by index, each once; the database is asked after Redis, so that a new one is known to it."""
        counted = set[tuple[str, int]]()
        with ExitStack() as closing:
            library: Library | None = None
            async for name, numbers in self._found():
                if library is None:
                    library = await _opened_library(self._url, closing)
                kept = await asyncio.to_thread(library.kept_chunks, numbers, without=sorted(person.marks))
                gone = [number for number in numbers if number not in kept and (name, number) not in counted]
                counted.update((name, number) for number in gone)
                if gone:
                    yield name, gone

    async def _found(self) -> AsyncIterator[tuple[str, list[int]]]:
        """Give all vectors, page by page: those that lie there, and those that an index believes to be there."""
        from knowledge.index.redis_keys import PREFIX, index_of, vector_of  # noqa: PLC0415

        async for keys in scan_pages(self._redis, f"{PREFIX}*", count=PAGE):
            names = [text(key) for key in keys]
            for page in _by_index(found for name in names if (found := vector_of(name))):
                yield page
            for key, name in ((key, index_of(key)) for key in names):
                if name:
                    async for page in self._members(key, name):
                        yield page

    async def _members(self, key: str, name: str) -> AsyncIterator[tuple[str, list[int]]]:
        cursor = 0
        while True:
            with bus_errors("the ids of an index could not be read"):
                cursor, members = await self._redis.sscan(key, cursor, count=PAGE)
            for page in paged([int(member) for member in members if member.isdigit()]):
                yield name, page
            if not cursor:
                return


def _by_index(found: Iterable[tuple[str, int]]) -> Iterator[tuple[str, list[int]]]:
    numbers: dict[str, list[int]] = {}
    for name, number in found:
        numbers.setdefault(name, []).append(number)
    for name, all_of_it in numbers.items():
        for page in paged(all_of_it):
            yield name, page


async def _opened_library(url: str, closing: ExitStack) -> "Library":
    return await asyncio.to_thread(_library, url, closing)


def _library(url: str, closing: ExitStack) -> "Library":
    from knowledge.library import Library  # noqa: PLC0415

    return Library(closing.enter_context(opened(url)))
