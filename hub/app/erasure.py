"""Puts together everything that may hold something of a person: one line for each store, and nothing else changes."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import structlog

from connectors.email.erasure import MailTraces
from connectors.telegram.erasure import TelegramTraces
from connectors.telegram.erasure import external_keys as telegram_keys
from connectors.web.erasure import WebTraces
from connectors.web.erasure import external_keys as web_keys
from hub.app.extensions import traces_maker
from hub.app.loops import Loop
from hub.app.own_documents import IndexVectors, OwnDocuments
from hub.archive.erasure import ArchiveStore
from hub.backup.erased import NAME as ERASED
from hub.backup.erased import ErasureNotes
from hub.backup.files import LeftOfBackups
from hub.bus.bus import Bus
from hub.bus.state import State
from hub.database import async_engine, database_errors, database_url, upgrade
from hub.erasure.conversations import ConversationStore, TurnStore
from hub.erasure.database_files import database_files
from hub.erasure.engines import EnginesOnBus
from hub.erasure.eraser import OWNER, RECEIPT_KEY, Eraser
from hub.erasure.files import InteractionStore, RedisFiles
from hub.erasure.identities import CacheStore, ExternalKeyStore, IdentityStore, RequestStore
from hub.erasure.person import Person
from hub.erasure.queues import QueueStore
from hub.erasure.rewriting import RedisStreams
from hub.erasure.stores import Compacting, PersonalStore
from hub.erasure.streams import stream_stores
from hub.errors import HubError
from hub.settings import Settings

if TYPE_CHECKING:
    from knowledge.gaps.store import GapStore

log = structlog.get_logger(__name__)

RESUME_EVERY_S = 60.0


class OpenQuestions:
    """Questions of a person that nothing could answer."""

    name = "gaps"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def erase(self, person: Person) -> int:
        """Remove what was asked in their own conversations, and by them in a group."""
        async with self._opened() as store:
            return sum([await store.forget(name, askers) for name, askers in _asked_in(person)])

    async def holds(self, person: Person) -> int:
        """Count what is left."""
        async with self._opened() as store:
            return sum([await store.count(name, askers) for name, askers in _asked_in(person)])

    async def rows(self, person: Person | None) -> list[dict[str, Any]]:
        """Return them as they are handed out; everybody's where nobody is named."""
        async with self._opened() as store:
            if person is None:
                return await store.rows()
            return [row for name, askers in _asked_in(person) for row in await store.rows(name, askers)]

    @asynccontextmanager
    async def _opened(self) -> "AsyncIterator[GapStore]":
        from knowledge.gaps.store import GapStore  # noqa: PLC0415

        url = database_url(self._settings)
        await asyncio.to_thread(upgrade, url)
        engine = async_engine(url)
        try:
            async with database_errors("their questions could not be removed"):
                yield GapStore(engine, self._settings.gaps)
        finally:
            await engine.dispose()


@runtime_checkable
class NamingKeys(Protocol):
    """Traces of a connector whose messages carry the name of who sent them in their external keys."""

    def external_keys(self, person: Person) -> Iterable[str]:
        """Give what the external keys of a person's messages begin with."""


def connectors_traces(settings: Settings, bus: Bus) -> list[PersonalStore]:
    """Make what removes a person from the state of connectors: the hub's own, then those that come by entry points."""
    accounts = [account.address for account in settings.email.accounts]
    found: list[PersonalStore] = [
        TelegramTraces(State(bus.redis, "telegram")),
        MailTraces(State(bus.redis, "email"), accounts),
        WebTraces(State(bus.redis, "web")),
    ]
    for name, table in settings.connectors.items():
        make = traces_maker(str(table.get("type", name)))
        if make is not None:
            found.append(make(name, State(bus.redis, name)))
    return found


def _asked_in(person: Person) -> list[tuple[str, frozenset[str] | None]]:
    asked: list[tuple[str, frozenset[str] | None]] = [(name, None) for name in sorted(person.conversations)]
    for group in sorted(person.groups):
        # A mark is the name of a channel and a digest: those of other channels asked nothing here.
        here = frozenset(mark for mark in person.marks if group.startswith(f"{mark.rpartition('-')[0]}-"))
        asked.append((group, here))
    return asked


def personal_stores(settings: Settings, bus: Bus) -> list[PersonalStore]:
    """Return all stores, those first that must be empty before another tells that nothing can fill them again."""
    from engine.memory.erasure import SummaryStore  # noqa: PLC0415

    redis, shards = bus.redis, settings.bus.shards
    archive = ArchiveStore(database_url(settings))
    traces = connectors_traces(settings, bus)
    named = [store.external_keys for store in traces if isinstance(store, NamingKeys)]
    state = State(redis, OWNER)
    return [
        # First: who is being erased is noted before anything of them goes.
        ErasureNotes(settings.data / ERASED, lambda: state.shared_secret(RECEIPT_KEY)),
        ConversationStore(redis, shards=shards),
        SummaryStore(redis, shards=shards, archived=archive.turns_in),
        TurnStore(redis, shards=shards),
        CacheStore(redis),
        *traces,
        RequestStore(redis, shards=shards),
        ExternalKeyStore(redis, shards=shards, prefixes=[telegram_keys, web_keys, *named]),
        InteractionStore(settings.data / "log.jsonl"),
        # From here on who works on something of the person may commit nothing more.
        QueueStore(redis, shards=shards),
        *stream_stores(redis, shards=shards),
        archive,
        OpenQuestions(settings),
        OwnDocuments(settings),
        # After the documents, from which an index is filled again.
        IndexVectors(settings, redis),
        IdentityStore(redis, shards=shards),
    ]


def rewritten_files(settings: Settings, bus: Bus) -> list[Compacting]:
    """Return the files that keep what was removed until they are written anew."""
    from knowledge.erasure import VectorFiles  # noqa: PLC0415

    # Streams first: what their blocks still hold would go into the files.
    return [
        LeftOfBackups(settings.data),
        RedisStreams(bus.redis, shards=settings.bus.shards),
        RedisFiles(bus.redis),
        database_files(database_url(settings)),
        VectorFiles(database_url(settings), settings.data.expanduser().resolve() / "index"),
    ]


def make_eraser(settings: Settings, bus: Bus) -> Eraser:
    """Put an eraser together for any process: a command, the API, a loop."""
    return Eraser(
        bus.redis,
        personal_stores(settings, bus),
        rewritten_files(settings, bus),
        shards=settings.bus.shards,
        version=version("hubbub"),
        engines=EnginesOnBus(bus),
    )


@asynccontextmanager
async def opened_eraser(settings: Settings) -> AsyncIterator[Eraser]:
    """Open an eraser against the Redis of the settings.

    Raises: SettingsError: no hub runs on these settings. BusError: Redis is away.
    """
    from hub.app import redis_url  # noqa: PLC0415

    bus = Bus(redis_url(settings), settings.bus)
    try:
        await bus.ping()
        yield make_eraser(settings, bus)
    finally:
        await bus.close()


def unfinished_erasures(settings: Settings, bus: Bus, asked: asyncio.Event) -> Loop:
    """Return the loop that does what was asked for, and goes on with what a killed process has left.

    Args:
        asked: set when there is something to do before the next look.
    """
    eraser = make_eraser(settings, bus)

    async def run(stop: asyncio.Event) -> None:
        while not stop.is_set():
            asked.clear()
            try:
                await eraser.resume(wait=False)
            except HubError as error:
                log.error("erasure_not_finished", error=str(error))
            waits = [asyncio.create_task(event.wait()) for event in (stop, asked)]
            await asyncio.wait(waits, timeout=RESUME_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    return Loop(name="erasures", run=run)
