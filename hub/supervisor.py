"""`hubbub up`: the embedded Redis, the hub and the engine as three children, so that none takes the others down."""

import asyncio
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, TextIO

import structlog

from hub.backup.unfinished import refuse_half_restored_folder
from hub.bus.connection import bus_errors, connect
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.bus.heartbeat import is_alive
from hub.bus.keys import Keys
from hub.errors import BusError, SettingsError
from hub.settings import Settings
from hub.waiting import happens

log = structlog.get_logger(__name__)

HUB_ROLES = ("api", "web", "telegram", "email")
"""Run by the hub's child, beside the connectors of `[connectors]`."""
QUICK_END_S = 10.0
"""A child that ends sooner than this is started again with growing delays."""
PATIENCE_S = 10.0
"""For a process to end, beyond the time it may drain."""
FATAL_EXIT = 2
"""Exit code of a child whose settings are wrong: starting it again cannot help."""


class Child:
    """One process that is started again when it ends by itself."""

    def __init__(
        self,
        name: str,
        roles: tuple[str, ...],
        environment: Mapping[str, str],
        *,
        lock: int,
        patience_s: float,
    ) -> None:
        self.name = name
        self.is_refused = False
        """Whether it ended because it cannot run with these settings; it has said why on its own."""
        self._patience_s = patience_s
        self._lock = lock
        self._command = (sys.executable, "-m", "hub", "run", "--attached", *roles)
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def watch(self, stop: asyncio.Event) -> None:
        """Keep the process running until `stop` is set, then let it drain."""
        clock = asyncio.get_running_loop().time
        delay_s = 0.5
        while not stop.is_set():
            began = clock()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                # Its end tells the child that we are gone, however we went.
                stdin=asyncio.subprocess.PIPE,
                # It holds the folder's lock with us, so that nobody starts beside it should it outlive us.
                pass_fds=(self._lock,),
                env={**os.environ, **self._environment},
                # Ctrl-C is passed on by us, in order: Redis ends last.
                start_new_session=True,
            )
            code = await self._run(self._process, stop)
            if stop.is_set():
                return
            if code == FATAL_EXIT:
                # The others may drain first; nothing is torn from their hands.
                self.is_refused = True
                stop.set()
                return
            delay_s = 0.5 if clock() - began > QUICK_END_S else min(delay_s * 2, 30.0)
            log.error("child_ended", child=self.name, code=code, restart_in_s=delay_s)
            await happens(stop, within_s=delay_s)

    async def _run(self, process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.terminate()
                await asyncio.wait((ended,), timeout=self._patience_s)
            if not ended.done():
                # Nothing is lost: what it had not finished is taken over like that of any process that died.
                log.error("child_did_not_end", child=self.name, after_s=self._patience_s)
                process.kill()
            return await ended
        finally:
            stopping.cancel()
            if process.returncode is None:
                process.kill()


async def supervise(settings: Settings, stop: asyncio.Event) -> None:
    """Run the whole hub on one data folder until `stop` is set.

    Raises: SettingsError: another hub runs on the folder, or a part cannot run with these settings.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    refuse_half_restored_folder(settings.data)
    async with _only_hub_of(settings) as lock, _redis(settings, stop) as url:
        # Secrets are not handed on: each child reads them where they are.
        environment = {"HUBBUB_DATA": str(settings.data.resolve())}
        environment["HUBBUB_API__PORT"] = str(settings.api.port)
        environment["HUBBUB_API__HOST"] = settings.api.host
        patience_s = settings.drain_timeout_s + PATIENCE_S
        children = [
            Child("hub", (*HUB_ROLES, *settings.connectors), environment, lock=lock, patience_s=patience_s),
            Child("engine", ("engine",), environment, lock=lock, patience_s=patience_s),
        ]
        async with asyncio.TaskGroup() as tasks:
            for child in children:
                tasks.create_task(child.watch(stop), name=child.name)
            tasks.create_task(_tell_when_ready(settings, url, stop), name="ready")
        if refused := [child.name for child in children if child.is_refused]:
            raise SettingsError(
                f"stopped, because {' and '.join(refused)} cannot run; the reason stands above"
            )


async def _tell_when_ready(settings: Settings, url: str, stop: asyncio.Event) -> None:
    """Log one line that a person waits for: where the page is, once both children answer."""
    began = time.monotonic()
    client = connect(url, connections=1)
    try:
        while not stop.is_set():
            with contextlib.suppress(BusError):
                if all([await is_alive(client, role) for role in ("hub", "engine")]):
                    host = settings.api.host if settings.api.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
                    page = f"http://{host}:{settings.api.port}/"
                    log.info(
                        "hub_ready", open_in_your_browser=page, after_s=round(time.monotonic() - began, 1)
                    )
                    return
            await happens(stop, within_s=0.1)
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def _redis(settings: Settings, stop: asyncio.Event) -> AsyncIterator[str]:
    if url := settings.bus.redis_url.get_secret_value():
        yield url
        return
    server = EmbeddedRedis(settings.bus, settings.data)
    await server.start()
    await _forget_marks(embedded_url(settings.data))
    # Its own event: Redis is watched while the children drain, and ends after them.
    done = asyncio.Event()
    watching = asyncio.create_task(server.watch(done), name="redis")
    try:
        yield embedded_url(settings.data)
    finally:
        done.set()
        await watching
        await server.stop()


async def _forget_marks(url: str) -> None:
    """Remove the heartbeats of processes that were killed; on a Redis of our own nobody is alive yet."""
    client: Any = connect(url, connections=1)
    try:
        with bus_errors("old heartbeats could not be removed"):
            await client.delete(*(Keys().alive(role) for role in ("hub", "engine", "process")))
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def _only_hub_of(settings: Settings) -> AsyncIterator[int]:
    """Hold the lock of the data folder; gives its file descriptor."""
    with (settings.data / "hubbub.lock").open("a+") as file:
        await _take_lock(file, settings)
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


async def _take_lock(file: TextIO, settings: Settings) -> None:
    deadline = time.monotonic() + settings.drain_timeout_s + PATIENCE_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            file.seek(0)
            # Without its supervisor, what is left of an earlier hub is about to end.
            if _is_running(file.read()) or time.monotonic() > deadline:
                raise SettingsError(f"another hub is running on the data folder {settings.data}") from None
        await asyncio.sleep(0.1)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
