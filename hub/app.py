"""The composition root: opens every part in order, runs the loops in one task group, drains, closes in reverse."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from connectors.base import Connector
from connectors.late import LateConnector
from connectors.runner import InteractionLog, Sender, run_connector
from hub.bus.bus import INBOUND, Bus
from hub.bus.cache import AnswerCache
from hub.bus.calls import Caller, Service, serve
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.control import Control
from hub.bus.durability import require_durable
from hub.bus.embedded import embedded_url, socket_path
from hub.bus.heartbeat import beat
from hub.bus.state import State
from hub.errors import SettingsError
from hub.live import Live
from hub.model_registry import ModelRegistry
from hub.model_states import ModelStates
from hub.pace import Meter
from hub.settings import Settings

if TYPE_CHECKING:
    from engine.models.manager import ModelManager
    from hub.api.parts import ApiParts
    from knowledge.search import KnowledgeBase

log = structlog.get_logger(__name__)

ROLES = ("api", "web", "telegram", "email", "engine")
"""What one process can be; `hubbub up` runs the first four in one process and the engine in another."""
SENDERS_PER_CONNECTOR = 8
"""Destinations of one connector that are sent to at once."""
DEFAULT_GIVE_UP_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Something that runs until `stop` is set."""

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]


def redis_url(settings: Settings) -> str:
    """Say which Redis to use.

    Raises: SettingsError: none is set, and none is embedded in the data folder at present.
    """
    if url := settings.bus.redis_url.get_secret_value():
        return url
    if not socket_path(settings.data).exists():
        raise SettingsError(
            f"no hub is running on the data folder {settings.data} and bus.redis_url is not set. Start one with "
            "`hubbub up`, or set bus.redis_url (environment: HUBBUB_BUS__REDIS_URL)."
        )
    return embedded_url(settings.data)


async def run_roles(settings: Settings, roles: Sequence[str], stop: asyncio.Event) -> None:
    """Run some roles in this process until `stop` is set, then drain.

    Raises: SettingsError: a role cannot run with these settings. BusError: Redis cannot be reached at the start.
    """
    if unknown := sorted(set(roles) - set(ROLES)):
        raise SettingsError(f"there is no role {', '.join(unknown)}; roles are {', '.join(ROLES)}")
    async with contextlib.AsyncExitStack() as opened:
        bus = Bus(redis_url(settings), settings.bus, warn_wait_s=settings.engine.warn_wait_s)
        opened.push_async_callback(bus.close)
        await bus.ping()
        if settings.bus.redis_url.get_secret_value():
            await require_durable(bus.redis, settings.bus)
        live = Live(bus.redis, connect_reader(bus.url), shards=settings.bus.shards)
        loops: list[Loop] = []
        hub_roles = [role for role in roles if role != "engine"]
        if hub_roles:
            loops += await _open_hub(settings, hub_roles, bus, live, opened)
        if "engine" in roles:
            loops += await _open_engine(settings, bus, live, opened)
        log.info("roles_started", roles=list(roles))
        await _run_loops(loops, stop)
    log.info("roles_stopped", roles=list(roles))


async def _run_loops(loops: Iterable[Loop], stop: asyncio.Event) -> None:
    failures: list[Exception] = []

    async def watch(loop: Loop) -> None:
        try:
            await loop.run(stop)
            if not stop.is_set():
                # A loop that ends by itself would leave a process that looks alive and does nothing.
                raise RuntimeError(f"{loop.name} ended before it was told to")
        except Exception as error:
            log.error("loop_failed", loop=loop.name, error=type(error).__name__)
            # Raised here it would cut the others off, and be told in a group; so they drain as at SIGTERM.
            failures.append(error)
            stop.set()

    async with asyncio.TaskGroup() as tasks:
        for loop in loops:
            tasks.create_task(watch(loop), name=loop.name)
    if failures:
        raise failures[0]


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


# -- hub: API and connectors -------------------------------------------------------------------------------


async def _open_hub(
    settings: Settings, roles: Sequence[str], bus: Bus, live: Live, opened: contextlib.AsyncExitStack
) -> list[Loop]:
    caller = Caller(bus.redis, connect_reader(bus.url))
    connectors = [connector for role in roles for connector in await CONNECTORS[role](settings, bus, live)]
    routes = [route for connector in connectors for route in getattr(connector, "routes", list)()]
    loops = [
        Loop(name="live text", run=live.run),
        Loop(name="answers", run=caller.run),
        *(_connector_loop(settings, connector, bus) for connector in connectors),
    ]
    if "api" in roles or routes:
        parts, own_loops = await _open_parts(settings, bus, live, caller, opened)
        loops += [_http_loop(parts, routes, settings, with_api="api" in roles), *own_loops]
    return loops


async def _open_parts(
    settings: Settings, bus: Bus, live: Live, caller: Caller, opened: contextlib.AsyncExitStack
) -> "tuple[ApiParts, list[Loop]]":
    # The engine's process needs none of these.
    from hub.api.parts import ApiParts  # noqa: PLC0415
    from hub.database import async_engine, database_url, upgrade  # noqa: PLC0415
    from hub.keys import KeyStore  # noqa: PLC0415
    from hub.limits import RateLimits  # noqa: PLC0415
    from hub.metrics import EventMetrics, Metrics  # noqa: PLC0415
    from hub.provision.jobs import OWNER, ProvisionJobs  # noqa: PLC0415

    url = database_url(settings)
    await asyncio.to_thread(upgrade, url)
    engine = async_engine(url)
    opened.push_async_callback(engine.dispose)
    metrics = Metrics()
    jobs = ProvisionJobs(settings, State(bus.redis, OWNER))
    parts = ApiParts(
        bus=bus,
        live=live,
        caller=caller,
        keys=KeyStore(engine, settings.keys.tiers),
        limits=RateLimits(bus.redis),
        metrics=metrics,
        settings=settings.api,
        key_settings=settings.keys,
        jobs=jobs,
    )
    events = EventMetrics(bus.redis, connect_reader(bus.url), metrics, shards=settings.bus.shards)
    return parts, [Loop(name="event metrics", run=events.run), Loop(name="fetching models", run=jobs.run)]


def _http_loop(
    parts: "ApiParts", routes: Sequence[web.RouteDef], settings: Settings, *, with_api: bool
) -> Loop:
    from hub.api.server import listening, make_app  # noqa: PLC0415

    # Where nobody delivers the replies of the api channel, its questions are not taken either.
    app = make_app(parts, routes, with_api=with_api)

    async def serve_http(stop: asyncio.Event) -> None:
        try:
            async with listening(app, settings.api, drain_timeout_s=settings.drain_timeout_s / 2) as port:
                log.info("http_started", address=f"http://{settings.api.host}:{port}/")
                await beat(parts.bus.redis, "hub", stop)
        except OSError as error:
            raise SettingsError(
                f"port {settings.api.port} of {settings.api.host} cannot be used: {os.strerror(error.errno or 0)}. "
                "Choose another with --port or api.port."
            ) from error

    return Loop(name="http", run=serve_http)


async def _api(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.api import ApiConnector  # noqa: PLC0415

    return [ApiConnector(live)]


async def _web(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.web.connector import WebConnector  # noqa: PLC0415

    if not settings.web.enabled:
        return []
    signing_key = await State(bus.redis, "web").shared_secret("signing_key")
    return [
        WebConnector(
            settings=settings.web,
            public_url=settings.api.public_url,
            live=live,
            history=bus.history,
            turns=bus,
            signing_key=signing_key,
        )
    ]


async def _telegram(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.telegram.webhook import PATH  # noqa: PLC0415

    if not settings.telegram.token.get_secret_value():
        log.info("telegram_off", connect_it="set HUBBUB_TELEGRAM__TOKEN to the token @BotFather gave you")
        return []

    def make() -> Connector:
        # Its library takes about three seconds to import.
        from connectors.telegram.connector import TelegramConnector  # noqa: PLC0415

        return TelegramConnector(
            settings.telegram,
            settings.api.public_url,
            quarantine=bus.dead_letters.quarantine,
            live=live if settings.telegram.stream else None,
        )

    return [LateConnector("telegram", make, posts=[PATH] if settings.api.public_url else [])]


async def _email(settings: Settings, bus: Bus, live: Live) -> list[Connector]:
    from connectors.email.connector import EmailConnector  # noqa: PLC0415

    if not settings.email.accounts:
        log.info("email_off", connect_it="add a table [[email.accounts]] to settings.toml, see docs/email.md")
        return []
    return [
        EmailConnector(
            settings.email, store=State(bus.redis, "email"), quarantine=bus.dead_letters.quarantine
        )
    ]


CONNECTORS: dict[str, Callable[[Settings, Bus, Live], Awaitable[list[Connector]]]] = {
    "api": _api,
    "web": _web,
    "telegram": _telegram,
    "email": _email,
}


def _connector_loop(settings: Settings, connector: Connector, bus: Bus) -> Loop:
    table = getattr(settings, connector.name, None)
    recorder = InteractionLog(settings.data / "log.jsonl") if settings.log.interactions else None
    give_up_s = getattr(table, "give_up_s", DEFAULT_GIVE_UP_S)
    sender = Sender(bus, connector, give_up_s=give_up_s, recorder=recorder)
    options = ConsumerOptions(concurrency=SENDERS_PER_CONNECTOR, drain_timeout_s=settings.drain_timeout_s)

    async def run(stop: asyncio.Event) -> None:
        if isinstance(connector, LateConnector):
            await connector.load()
        await run_connector(connector, bus, sender, stop, options=options)

    return Loop(name=f"connector {connector.name}", run=run)


# -- engine ------------------------------------------------------------------------------------------------


async def _open_engine(
    settings: Settings, bus: Bus, live: Live, opened: contextlib.AsyncExitStack
) -> list[Loop]:
    # Only the engine's process pays for the models' libraries.
    from engine.answering import Answering  # noqa: PLC0415
    from engine.cache import CachedAnswers  # noqa: PLC0415
    from engine.direct import DirectAnswers  # noqa: PLC0415
    from engine.embedding import EmbeddingService  # noqa: PLC0415
    from engine.models.keeper import ModelKeeper  # noqa: PLC0415
    from engine.models.service import ModelService  # noqa: PLC0415
    from engine.turn import Assistant  # noqa: PLC0415
    from engine.worker import Worker  # noqa: PLC0415

    engine, tiers = settings.engine, settings.keys.tiers
    models = _open_models(settings, opened)
    # In a process of its own, while this one reads the documents' libraries.
    loading = asyncio.create_task(models.load(engine.model))
    base = await _open_knowledge(settings, opened)
    assistant = Assistant(models, base, engine=engine, knowledge=settings.knowledge, tiers=tiers)
    await asyncio.wait({loading})
    if error := loading.exception():
        # The hub runs all the same: what needs no model is answered, and the model may come back.
        log.error("engine_without_model", model=engine.model, error=str(error))
    answers = CachedAnswers(
        Answering(assistant, DirectAnswers(models, engine=engine, tiers=tiers)),
        AnswerCache(bus.redis, ttl_s=engine.cache_ttl_s),
        settings=engine,
        identity=models.identity_of,
        knowledge_version=base.current_version,
    )
    worker = Worker(
        bus,
        live,
        answers,
        turn_timeout_s=settings.engine.turn_timeout_s,
        history_turns=settings.bus.history_turns,
        recalled_turns=settings.engine.window_turns,
    )
    control = Control(bus.redis, connect_reader(bus.url))
    control.listen(worker.obey)
    service = ModelService(models, ModelStates(bus.redis), control.send)
    control.listen(service.obey)
    keeper = ModelKeeper(models, idle_unload_s=engine.idle_unload_s)
    embedding = EmbeddingService(base)
    services = {"search": _search(base), "models": service.answer, "embed": embedding.answer}
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
    ]


def _open_models(settings: Settings, opened: contextlib.AsyncExitStack) -> "ModelManager":
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


def _search(base: "KnowledgeBase") -> Service:
    async def search(request: Mapping[str, Any]) -> Mapping[str, Any]:
        passages = await base.search(str(request["q"]), int(request["k"]))
        return {
            "results": [
                {
                    "source": passage.location,
                    "title": passage.title,
                    "heading": passage.heading,
                    "text": passage.text,
                    "score": round(passage.score, 4),
                    "version": passage.version,
                }
                for passage in passages
            ]
        }

    return search
