"""Real Redis servers with sentinels on loopback: a master, two replicas, three sentinels that agree within a second."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis, RedisError

from tests.servers.redis import RedisServer, free_port, redis_executables

MASTER = "hub"
DOWN_AFTER_MS = 800
START_TIMEOUT_S = 30


class SentinelServers:
    """Servers that elect a new master where the old one is gone."""

    def __init__(self, folder: Path, *, replicas: int = 2, sentinels: int = 3) -> None:
        self.servers = [_server(folder, number) for number in range(1 + replicas)]
        for replica in self.servers[1:]:
            replica.options["replicaof"] = f"127.0.0.1 {self.servers[0].port}"
        self._folder = folder
        self._ports = [free_port() for _ in range(sentinels)]
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self._killed: list[RedisServer] = []

    @property
    def url(self) -> str:
        """As `bus.redis_url` takes it."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"redis+sentinel://{hosts}/{MASTER}"

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        for port in self._ports:
            self._sentinels.append(self._sentinel(port))
        until(self._is_whole, "the sentinels to find each other")
        return self

    def _sentinel(self, port: int) -> "subprocess.Popen[bytes]":
        config = self._folder / f"sentinel-{port}.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {self.servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER} 3000\nsentinel parallel-syncs {MASTER} 2\n"
        )
        return subprocess.Popen(
            [redis_executables()[0], str(config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _is_agreed(self, port: int) -> bool:
        told = self._told(port)
        return (
            int(told.get("num-slaves", 0)) >= len(self.servers) - 1
            and int(told.get("num-other-sentinels", 0)) >= len(self._ports) - 1
            and told.get("flags") == "master"
        )

    def _told(self, port: int) -> dict[str, str]:
        client: Any = Redis(port=port, decode_responses=True)
        try:
            found = client.execute_command("SENTINEL MASTER", MASTER)
        except RedisError:
            return {}
        finally:
            client.close()
        return found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))

    def master(self) -> RedisServer:
        """Return the server that the sentinels call master."""
        port = int(self._told(self._ports[0]).get("port", 0))
        return next(server for server in self.servers if server.port == port)

    def replicas(self) -> list[RedisServer]:
        """Return the others."""
        master = self.master()
        return [server for server in self.servers if server is not master]

    def stop_copying(self) -> None:
        """Leave the replicas as they are now; what the master does from now on is on its own disk alone."""
        master = self.master()
        client: Any = Redis(port=master.port)
        client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
        client.close()
        for replica in self.replicas():
            replica.end()
            replica.options["replicaof"] = f"127.0.0.1 {master.port}"
            replica.start()
        until(
            lambda: all(self._sees_replicas(port) for port in self._ports),
            "the sentinels to see the replicas",
        )

    def _sees_replicas(self, port: int) -> bool:
        client: Any = Redis(port=port, decode_responses=True)
        try:
            found = client.sentinel_slaves(MASTER)
        finally:
            client.close()
        return len(found) >= len(self.servers) - 1 and all(
            one["flags"] == "slave" and one["last-ok-ping-reply"] < DOWN_AFTER_MS for one in found
        )

    def kill_master(self) -> None:
        """Kill the master, and return once another is there; the killed one stays away.

        It would come back with what the others never had, and sentinels that are in a hurry may make it master again.
        """
        killed = self.master()
        killed.kill()
        self._killed.append(killed)
        until(lambda: self.master() is not killed, "a new master")

    def repair(self) -> None:
        """Start what was killed as replicas of the master, and wait until all is as it was in the beginning."""
        for server in self._killed:
            server.options["replicaof"] = f"127.0.0.1 {self.master().port}"
            server.start()
        self._killed.clear()
        until(self._is_whole, "the replicas to follow the master")

    def _is_whole(self) -> bool:
        master = self.master()
        if not all(self._is_agreed(port) and self._sees_replicas(port) for port in self._ports):
            return False
        client: Any = Redis(port=master.port)
        try:
            info = client.info("replication")
        except RedisError:
            return False
        finally:
            client.close()
        lines = [info.get(f"slave{number}", {}) for number in range(len(self.servers) - 1)]
        return info["role"] == "master" and all(line.get("state") == "online" for line in lines)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._sentinels:
            process.kill()
            process.wait()
        for server in self.servers:
            server.kill()


def _server(folder: Path, number: int) -> RedisServer:
    place = folder / f"server-{number}"
    place.mkdir()
    quick = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", "min-replicas-to-write": "0"}
    return RedisServer(place, options=quick)


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something of a server, which nobody tells."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.05)
