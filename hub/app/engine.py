"""Opens the engine's side of a process: models, documents, and the worker that answers."""

import asyncio
import contextlib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hub.app.loops import Loop
from hub.bus.bus import INBOUND, Bus
from hub.bus.cache import AnswerCache
from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.control import Control
from hub.bus.heartbeat import beat
from hub.citations import Citations
from hub.live import Live
from hub.model_registry import ModelRegistry
from hub.model_states import ModelStates
from hub.pace import Meter
from hub.people import People
from hub.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from engine.answers import Answers
    from engine.models.manager import ModelManager
    from engine.searching import SearchService
    from hub.archive.archive import Archive
    from knowledge.search import KnowledgeBase

log = structlog.get_logger(__name__)


async def open_engine(
    settings: Settings, bus: Bus, live: Live, opened: contextlib.AsyncExitStack
) -> list[Loop]:
    """Open the engine; its loops run until they are told to stop.

    Raises: KnowledgeError: the embedding model or the index cannot be used.
    """
    # Only the engine's process pays for the models' libraries.
    from engine.answering import Answering  # noqa: PLC0415
    from engine.cache import CachedAnswers  # noqa: PLC0415
    from engine.direct import DirectAnswers  # noqa: PLC0415
    from engine.embedding import EmbeddingService  # noqa: PLC0415
    from engine.guard.guarded import Guarded  # noqa: PLC0415
    from engine.history_search import HistorySearch  # noqa: PLC0415
    from engine.linking import Linking  # noqa: PLC0415
    from engine.memory.conversation import ConversationMemory  # noqa: PLC0415
    from engine.models.keeper import ModelKeeper  # noqa: PLC0415
    from engine.models.service import ModelService  # noqa: PLC0415
    from engine.readers import Readers  # noqa: PLC0415
    from engine.receipts import Receipts  # noqa: PLC0415
    from engine.searching import SearchService  # noqa: PLC0415
    from engine.turn import Assistant  # noqa: PLC0415
    from engine.worker import Worker  # noqa: PLC0415
    from hub.database import async_engine, database_url  # noqa: PLC0415
    from knowledge.review import RepositoryReview  # noqa: PLC0415

    engine, tiers = settings.engine, settings.keys.tiers
    models = open_models(settings, opened)
    # In a process of its own, while this one reads the documents' libraries.
    loading = asyncio.create_task(models.load(engine.model))
    base = await _open_knowledge(settings, opened)
    people = People(bus.redis)
    readers = Readers(people)
    assistant = Assistant(
        models,
        base,
        engine=engine,
        knowledge=settings.knowledge,
        tiers=tiers,
        memory=settings.memory,
        readers=readers,
    )
    await asyncio.wait({loading})
    if error := loading.exception():
        # The hub runs all the same: what needs no model is answered, and the model may come back.
        log.error("engine_without_model", model=engine.model, error=str(error))
    archive = await _open_archive(settings, opened)
    database = async_engine(database_url(settings))
    opened.push_async_callback(database.dispose)
    asked = Answering(assistant, DirectAnswers(models, engine=engine, tiers=tiers))
    known = _checked(settings, bus, asked, base, database)
    cached = CachedAnswers(
        Linking(HistorySearch(known, people, archive), people),
        AnswerCache(bus.redis, ttl_s=engine.cache_ttl_s),
        settings=engine,
        identity=models.identity_of,
        knowledge_view=base.view,
        readers=readers,
    )
    answers = Guarded(cached, settings.guard)
    worker = Worker(
        bus,
        live,
        answers,
        memory=ConversationMemory(
            bus,
            people,
            history_turns=settings.bus.history_turns,
            recalled_turns=settings.engine.window_turns,
            settings=settings.memory,
            archive=archive,
        ),
        turn_timeout_s=settings.engine.turn_timeout_s,
        receipts=Receipts(
            keep=engine.receipts,
            identity=models.identity_of,
            knowledge_version=base.current_version,
            versions={"hub": version("hubbub"), "llama.cpp": version("llama-cpp-python")},
        ),
        cleaned=answers.cleaned,
    )
    control = Control(bus.redis, connect_reader(bus.url))
    control.listen(worker.obey)
    service = ModelService(models, ModelStates(bus.redis), control.send)
    control.listen(service.obey)
    keeper = ModelKeeper(models, idle_unload_s=engine.idle_unload_s)
    embedding = EmbeddingService(base)
    search = SearchService(base, _search_cache(settings, bus))
    services = {
        "search": search.answer,
        "models": service.answer,
        "embed": embedding.answer,
        "review": RepositoryReview(base, database).answer,
    }
    options = ConsumerOptions(
        concurrency=settings.engine.concurrency, drain_timeout_s=settings.drain_timeout_s
    )
    meter = Meter(engine.concurrency * settings.bus.shards)
    handle = meter.measured(worker.handle)
    consumers = bus.consumers(INBOUND, handle=handle, bury=worker.bury, options=options)
    reader = connect_reader(bus.url)
    return [
        *(Loop(name=f"worker {consumer.name}", run=consumer.run) for consumer in consumers),
        Loop(name="orders", run=control.run),
        Loop(name="heartbeat", run=lambda stop: beat(bus.redis, "engine", stop, meter.news)),
        Loop(name="models", run=keeper.run),
        Loop(name="model states", run=service.run),
        Loop(name="services", run=lambda stop: serve(bus.redis, reader, services, stop)),
        *_warming(settings, search),
    ]


def _search_cache(settings: Settings, bus: Bus) -> AnswerCache | None:
    ttl_s = settings.knowledge.search_cache_ttl_s
    return AnswerCache(bus.redis, ttl_s=ttl_s, kind="search") if ttl_s else None


def _warming(settings: Settings, search: "SearchService") -> list[Loop]:
    if not (settings.knowledge.warm_file and settings.knowledge.search_cache_ttl_s):
        return []
    file = Path(settings.knowledge.warm_file).expanduser()
    return [Loop(name="warming the cache", run=lambda stop: search.keep_warm(file, stop))]


def _checked(
    settings: Settings, bus: Bus, answers: "Answers", base: "KnowledgeBase", database: "AsyncEngine"
) -> "Answers":
    """Note the questions that stay open, and tell of cited documents that have changed."""
    from engine.cited import CheckedSources  # noqa: PLC0415
    from engine.noted_gaps import NotedGaps  # noqa: PLC0415
    from knowledge.gaps.store import GapStore  # noqa: PLC0415
    from knowledge.versions import DocumentVersions  # noqa: PLC0415

    if settings.gaps.enabled:
        gaps = GapStore(database, settings.gaps)
        model = base.embedding_model
        answers = NotedGaps(answers, gaps, base, embedding_model=model, was_erased=bus.was_erased)
    return CheckedSources(answers, Citations(DocumentVersions(database)))


async def _open_archive(settings: Settings, opened: contextlib.AsyncExitStack) -> "Archive | None":
    if not settings.memory.archive:
        return None
    from hub.archive.archive import Archive  # noqa: PLC0415
    from hub.database import async_engine, database_url, upgrade  # noqa: PLC0415

    url = database_url(settings)
    await asyncio.to_thread(upgrade, url)
    database = async_engine(url)
    opened.push_async_callback(database.dispose)
    return Archive(database)


def open_models(settings: Settings, opened: contextlib.AsyncExitStack) -> "ModelManager":
    """Return the models of the registry; each is loaded when somebody asks for it."""
    from engine.models.manager import ModelManager  # noqa: PLC0415
    from engine.models.memory import budget_bytes  # noqa: PLC0415
    from engine.models.opener import ModelOpener  # noqa: PLC0415

    registry = ModelRegistry(settings)
    opener = ModelOpener(registry, settings.log)
    manager = ModelManager(registry, opener, memory_budget_bytes=budget_bytes(settings.engine.memory_budget))
    opened.push_async_callback(manager.close)
    return manager


async def _open_knowledge(settings: Settings, opened: contextlib.AsyncExitStack) -> "KnowledgeBase":
    # Its import takes a second, which a model that is being loaded need not wait for.
    await asyncio.to_thread(import_module, "knowledge.search")
    from knowledge.search import KnowledgeBase  # noqa: PLC0415

    base = await KnowledgeBase.open(settings)
    opened.push_async_callback(base.close)
    return base
