"""The composition root: opens every part in order, runs the loops in one task group, drains, closes in reverse."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial

import structlog

from hub.app.alive import AliveFile
from hub.app.channels import CONNECTORS, roles_of
from hub.app.hub import open_hub
from hub.app.loops import Loop, run_loops, stop_on_signals
from hub.backup.unfinished import refuse_half_restored
from hub.bus.bus import Bus
from hub.bus.connection import connect_reader
from hub.bus.durability import require_durable
from hub.bus.embedded import embedded_url, socket_path
from hub.bus.heartbeat import beat
from hub.egress.book import EgressBook
from hub.egress.guard import present
from hub.errors import SettingsError
from hub.figures import ROLE as FIGURES
from hub.figures import Figures
from hub.live import Live
from hub.settings import Settings
from hub.traces import open_traces

__all__ = ["CONNECTORS", "redis_url", "roles_of", "run_roles", "stop_on_signals"]

log = structlog.get_logger(__name__)


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
    known = roles_of(settings)
    if unknown := sorted(set(roles) - set(known)):
        raise SettingsError(f"there is no role {', '.join(unknown)}; roles are {', '.join(known)}")
    alive = AliveFile(settings.alive_file) if settings.alive_file else None
    async with contextlib.AsyncExitStack() as opened:
        traces = open_traces(settings.traces, ",".join(roles))
        opened.push_async_callback(traces.close)
        bus = Bus(redis_url(settings), settings.bus, warn_wait_s=settings.engine.warn_wait_s, traces=traces)
        opened.push_async_callback(bus.close)
        await bus.ping()
        await refuse_half_restored(settings.data.expanduser(), bus.redis)
        if settings.bus.redis_url.get_secret_value():
            await require_durable(bus.redis, settings.bus)
        live = Live(bus.redis, connect_reader(bus.url), shards=settings.bus.shards)
        slots = settings.engine.concurrency * settings.bus.shards if "engine" in roles else 0
        figures = Figures(bus, roles, turn_slots=slots)
        loops = [Loop(name="figures", run=lambda stop: beat(bus.redis, FIGURES, stop, figures.news))]
        if guard := present():
            loops.append(Loop(name="egress ledger", run=partial(EgressBook(bus.redis).keep, guard)))
        if alive:
            loops.append(Loop(name="alive file", run=alive.keep))
        hub_roles = [role for role in roles if role != "engine"]
        if hub_roles:
            loops += await open_hub(settings, hub_roles, bus, live, opened)
        if "engine" in roles:
            # Only the engine's process pays for the models' libraries.
            from hub.app.engine import open_engine  # noqa: PLC0415

            loops += await open_engine(settings, bus, live, opened)
        log.info("roles_started", roles=list(roles))
        await run_loops(loops, stop)
    log.info("roles_stopped", roles=list(roles))
