"""Opens the hub's side of a process: connectors, the HTTP server, and what its routes use."""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from connectors.base import Connector
from connectors.late import LateConnector
from connectors.runner import Sender, run_connector
from hub.app.channels import CONNECTORS, HubSide, make_connectors
from hub.app.loops import Loop
from hub.bus.bus import Bus
from hub.bus.calls import Caller
from hub.bus.connection import connect_reader
from hub.bus.consumer import ConsumerOptions
from hub.bus.heartbeat import beat
from hub.bus.state import State
from hub.citations import Citations
from hub.errors import SettingsError
from hub.interactions import InteractionLog
from hub.live import Live
from hub.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from hub.api.parts import ApiParts
    from hub.metrics import Metrics

log = structlog.get_logger(__name__)

SENDERS_PER_CONNECTOR = 8
"""Destinations of one connector that are sent to at once."""
DEFAULT_GIVE_UP_S = 86_400.0


async def open_hub(
    settings: Settings, roles: Sequence[str], bus: Bus, live: Live, opened: contextlib.AsyncExitStack
) -> list[Loop]:
    """Open these roles; their loops run until they are told to stop.

    Raises: SettingsError: a role cannot run with these settings.
    """
    caller = Caller(bus.redis, connect_reader(bus.url))
    side = HubSide(settings, bus, live, opened)
    connectors = [connector for role in roles for connector in await make_connectors(role, side)]
    routes = [route for connector in connectors for route in getattr(connector, "routes", list)()]
    loops = [
        Loop(name="live text", run=live.run),
        Loop(name="answers", run=caller.run),
        *(_connector_loop(settings, connector, bus) for connector in connectors),
    ]
    if "api" in roles or routes:
        asked = asyncio.Event()
        parts, own_loops = await _open_parts(settings, bus, live, caller, opened, asked=asked)
        loops += [_http_loop(parts, routes, settings, with_api="api" in roles), *own_loops]
        # Its stores' libraries are no concern of the other roles.
        from hub.app.erasure import unfinished_erasures  # noqa: PLC0415

        loops.append(unfinished_erasures(settings, bus, asked))
    return loops


async def _open_parts(
    settings: Settings,
    bus: Bus,
    live: Live,
    caller: Caller,
    opened: contextlib.AsyncExitStack,
    *,
    asked: asyncio.Event,
) -> "tuple[ApiParts, list[Loop]]":
    """Open what the routes use; `asked` is set when an erasure is to be done."""
    # The engine's process needs none of these.
    from hub.api.parts import ApiParts  # noqa: PLC0415
    from hub.app.admin import open_admin  # noqa: PLC0415
    from hub.app.retention import retention  # noqa: PLC0415
    from hub.database import async_engine, database_url, upgrade  # noqa: PLC0415
    from hub.keys import KeyStore  # noqa: PLC0415
    from hub.limits import RateLimits  # noqa: PLC0415
    from hub.metrics import Metrics  # noqa: PLC0415
    from hub.provision.jobs import OWNER, ProvisionJobs  # noqa: PLC0415
    from knowledge.versions import DocumentVersions  # noqa: PLC0415

    url = database_url(settings)
    await asyncio.to_thread(upgrade, url)
    engine = async_engine(url)
    opened.push_async_callback(engine.dispose)
    metrics = Metrics((*CONNECTORS, *settings.connectors))
    jobs = ProvisionJobs(settings, State(bus.redis, OWNER))
    admin = open_admin(settings, bus, caller, engine, opened, asked)
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
        citations=Citations(DocumentVersions(engine)),
        review=settings.review,
        admin=admin,
    )
    loops = [
        Loop(name="fetching models", run=jobs.run),
        retention(admin.audit, admin.operators.sessions, audit_days=settings.operators.audit_days),
        *_event_loops(settings, bus, engine, metrics),
    ]
    return parts, loops


def _event_loops(settings: Settings, bus: Bus, engine: "AsyncEngine", metrics: "Metrics") -> list[Loop]:
    """Return the loops that read the events: for the metrics, the usage of keys and the archive."""
    from hub.archive.projector import Projector  # noqa: PLC0415
    from hub.key_usage import UsageCounter  # noqa: PLC0415
    from hub.metrics import EventMetrics  # noqa: PLC0415

    events = EventMetrics(bus.redis, connect_reader(bus.url), metrics, shards=settings.bus.shards)
    metrics.state.readers["metrics"] = events.positions
    usage = UsageCounter(connect_reader(bus.url), engine, shards=settings.bus.shards)
    loops = [Loop(name="event metrics", run=events.run), Loop(name="usage of keys", run=usage.run)]
    if settings.memory.archive:
        projector = Projector(
            bus.redis,
            connect_reader(bus.url),
            bus.history,
            engine,
            shards=settings.bus.shards,
            keep_days=settings.memory.archive_days,
        )
        metrics.state.readers["archive"] = projector.positions
        loops.append(Loop(name="archive", run=projector.run))
    return loops


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


def _connector_loop(settings: Settings, connector: Connector, bus: Bus) -> Loop:
    table = getattr(settings, connector.name, None)
    path = settings.data / "log.jsonl"
    recorder = InteractionLog(path, settings.log.rotation) if settings.log.interactions else None
    give_up_s = getattr(table or connector, "give_up_s", DEFAULT_GIVE_UP_S)
    sender = Sender(bus, connector, give_up_s=give_up_s, recorder=recorder)
    options = ConsumerOptions(concurrency=SENDERS_PER_CONNECTOR, drain_timeout_s=settings.drain_timeout_s)

    async def run(stop: asyncio.Event) -> None:
        if isinstance(connector, LateConnector):
            await connector.load()
        await run_connector(connector, bus, sender, stop, options=options)

    return Loop(name=f"connector {connector.name}", run=run)
