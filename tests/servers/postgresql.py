"""A real PostgreSQL server for tests, on a free loopback port, with a database of its own for each test."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from hub.database import upgrade
from tests.servers.redis import free_port

TEMPLATE = "hubbub_template"
"""A database with all tables, of which the others are copies."""
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
_START_TIMEOUT_S = 30


def postgresql_programs() -> Path:
    """Return the folder of the server's programs: the one on the path, else Debian's newest, which stand elsewhere.

    Raises: RuntimeError: PostgreSQL is not installed.
    """
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    places = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    versions = sorted((place.parent for place in places), key=lambda place: float(place.parent.name))
    if not versions:
        raise RuntimeError("PostgreSQL is not installed (Debian and Ubuntu: apt install postgresql)")
    return versions[-1]


class PostgresqlServer:
    """One server process with a cluster of its own, and a superuser `postgres` without a password."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder: Path
        """Holds the cluster and the server's log, once it was started."""
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, without a driver."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the cluster, start the server and migrate the template."""
        # Not below pytest's folder: that is closed to other users, and the server refuses to run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="hubbub-pg-"))
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = _unprivileged()
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
        programs, cluster = postgresql_programs(), str(self.folder / "cluster")
        subprocess.run(
            [
                *(programs / "initdb", "--pgdata", cluster, "--username", "postgres", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **as_user,
        )
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), **_FAST}
        options |= {"unix_socket_directories": str(self.folder), "max_connections": "200"}
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                [
                    *(programs / "postgres", "-D", cluster),
                    *(f"--{name}={value}" for name, value in options.items()),
                ],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **as_user,
            )
        self._wait()
        self.run(f"CREATE DATABASE {TEMPLATE}")
        upgrade(self.url(TEMPLATE))

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert self._server
                if time.monotonic() > deadline or self._server.poll() is not None:
                    log = (self.folder / "server.log").read_text("utf-8", "replace")
                    raise RuntimeError(f"PostgreSQL did not start:\n{log[-3000:]}") from None
                time.sleep(0.02)

    def run(self, statement: str, database: str = "postgres") -> None:
        """Let the superuser run a statement outside of any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """Make a database, and give its URL; `template0` gives one without tables."""
        name = f"hubbub_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def bytes_of(self, url: str) -> bytes:
        """Return all that the files of a database hold; the write-ahead log is none of them."""
        self.run("CHECKPOINT")
        with psycopg.connect(url) as connection:
            [number] = connection.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        files = sorted((self.folder / "cluster" / "base" / str(number[0])).iterdir())
        return b"".join(path.read_bytes() for path in files)

    def stop(self) -> None:
        """End it and remove its cluster."""
        if self._server and self._server.poll() is None:
            # Immediately: nothing of it is needed any more.
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(_START_TIMEOUT_S)
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "PostgresqlServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _unprivileged() -> pwd.struct_passwd:
    """Return the user as whom root starts the server: the package's own, where it is there."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
