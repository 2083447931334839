"""`up` and `run`: the hub in the foreground until it is told to stop."""

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

from hub.egress.guard import name_process
from hub.errors import HubError
from hub.settings import Settings

log = structlog.get_logger(__name__)


def start_everything(settings: Settings, *, port: int | None, host: str | None) -> None:
    """Run Redis, hub and engine as children of this process."""
    from hub.app import stop_on_signals  # noqa: PLC0415
    from hub.supervisor import supervise  # noqa: PLC0415

    given = {name: value for name, value in (("port", port), ("host", host)) if value is not None}
    settings = settings.model_copy(update={"api": settings.api.model_copy(update=given)})

    async def main() -> None:
        await supervise(settings, stop_on_signals())

    _run(main())


def run_some(settings: Settings, roles: Sequence[str], *, attached: bool = False) -> None:
    """Run roles in this process; an `attached` one stops when its standard input ends."""
    from hub.app import run_roles, stop_on_signals  # noqa: PLC0415

    name_process(",".join(roles))

    async def main() -> None:
        stop = stop_on_signals()
        if attached:
            await _stop_with_input(stop)
        await run_roles(settings, roles, stop)

    _run(main())


async def _stop_with_input(stop: asyncio.Event) -> None:
    class Watch(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            stop.set()

    await asyncio.get_running_loop().connect_read_pipe(Watch, sys.stdin)


def _run(main: Coroutine[Any, Any, None]) -> None:
    import uvloop  # noqa: PLC0415

    from hub.egress.loop import new_event_loop  # noqa: PLC0415

    try:
        uvloop.run(main, loop_factory=new_event_loop)
    except HubError:
        raise
    except Exception:
        # As a log line like every other, not as a traceback beside them.
        log.exception("process_failed")
        raise SystemExit(1) from None
