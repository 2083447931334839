"""Opens the engine's side of a process: models, documents, the worker that answers, and what others may ask of it."""

import asyncio
import contextlib
from importlib import import_module
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
from hub.live import Live
from hub.machine import budget_bytes
from hub.model_registry import ModelRegistry
from hub.model_states import ModelStates
from hub.pace import Meter
from hub.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from engine.models.manager import ModelManager
    from engine.searching import SearchService
    from knowledge.search import KnowledgeBase

log = structlog.get_logger(__name__)


async def open_engine(
    settings: Settings, bus: Bus, live: Live, opened: contextlib.AsyncExitStack
) -> list[Loop]:
    """Open the engine; its loops run until they are told to stop.

    Raises: KnowledgeError: the embedding model or the index cannot be used.
    """
    # Only the engine's process pays for the models' libraries.
    from engine.models.keeper import ModelKeeper  # noqa: PLC0415
    from hub.app.worker import make_worker  # noqa: PLC0415
    from hub.database import async_engine, database_url  # noqa: PLC0415

    engine = settings.engine
    models = open_models(settings, opened)
    # In a process of its own, while this one reads the documents' libraries.
    loading = asyncio.create_task(models.load(engine.model))
    base = await _open_knowledge(settings, opened)
    database = async_engine(database_url(settings))
    opened.push_async_callback(database.dispose)
    worker = make_worker(settings, bus, live, models=models, base=base, database=database)
    await asyncio.wait({loading})
    if error := loading.exception():
        # The hub runs all the same: what needs no model is answered, and the model may come back.
        log.error("engine_without_model", model=engine.model, error=str(error))
    control = Control(bus.redis, connect_reader(bus.url))
    control.listen(worker.obey)
    keeper = ModelKeeper(models, idle_unload_s=engine.idle_unload_s)
    options = ConsumerOptions(concurrency=engine.concurrency, drain_timeout_s=settings.drain_timeout_s)
    meter = Meter(engine.concurrency * settings.bus.shards)
    handle = meter.measured(worker.handle)
    consumers = bus.consumers(INBOUND, handle=handle, bury=worker.bury, options=options)
    return [
        *(Loop(name=f"worker {consumer.name}", run=consumer.run) for consumer in consumers),
        Loop(name="orders", run=control.run),
        Loop(name="heartbeat", run=lambda stop: beat(bus.redis, "engine", stop, meter.news)),
        Loop(name="models", run=keeper.run),
        *_serving(settings, bus, control, models=models, base=base, database=database),
    ]


def _serving(
    settings: Settings,
    bus: Bus,
    control: Control,
    *,
    models: "ModelManager",
    base: "KnowledgeBase",
    database: "AsyncEngine",
) -> list[Loop]:
    """Answer what other processes of the hub ask the engine."""
    from engine.embedding import EmbeddingService  # noqa: PLC0415
    from engine.models.service import ModelService  # noqa: PLC0415
    from engine.searching import SearchService  # noqa: PLC0415
    from knowledge.review import RepositoryReview  # noqa: PLC0415

    states = ModelService(models, ModelStates(bus.redis, bus.process), control.send)
    control.listen(states.obey)
    search = SearchService(base, _search_cache(settings, bus))
    services = {
        "search": search.answer,
        "models": states.answer,
        "embed": EmbeddingService(base).answer,
        "review": RepositoryReview(base, database).answer,
    }
    reader = connect_reader(bus.url)
    return [
        Loop(name="model states", run=states.run),
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


def open_models(settings: Settings, opened: contextlib.AsyncExitStack) -> "ModelManager":
    """Return the models of the registry; each is loaded when somebody asks for it."""
    from engine.models.manager import ModelManager  # noqa: PLC0415
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
