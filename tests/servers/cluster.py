"""A real Redis Cluster on loopback: three masters, and as many replicas as wanted."""

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis, RedisError

from tests.servers.redis import RedisServer, free_port
from tests.servers.sentinel import until

SLOTS = 16384
NODE_TIMEOUT_MS = 1000


class ClusterServers:
    """Nodes of one Cluster.

    Args:
        replicas: of each master.
    """

    def __init__(self, folder: Path, *, masters: int = 3, replicas: int = 0) -> None:
        self.masters = [_node(folder, number) for number in range(masters)]
        self.replicas = [_node(folder, masters + number) for number in range(masters * replicas)]
        """The first ones copy the masters in their order, and so on."""
        self._clients: dict[int, Any] = {}

    @property
    def url(self) -> str:
        """As `bus.redis_url` takes it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.masters)

    def __enter__(self) -> Self:
        for server in (*self.masters, *self.replicas):
            server.start()
        share = -(-SLOTS // len(self.masters))
        for number, server in enumerate(self.masters):
            first, last = number * share, min(SLOTS, (number + 1) * share) - 1
            self.node(server).execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            self.node(server).execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for server in (*self.masters[1:], *self.replicas):
            first_node = self.masters[0]
            self.node(server).execute_command(
                "CLUSTER MEET", "127.0.0.1", first_node.port, first_node.options["cluster-port"]
            )
        until(self._is_known, "the nodes to know each other")
        for number, replica in enumerate(self.replicas):
            master = self.masters[number % len(self.masters)]
            self.node(replica).execute_command("CLUSTER REPLICATE", self.id_of(master))
        until(self._is_whole, "the Cluster to be whole")
        return self

    def _is_known(self) -> bool:
        everybody = len(self.masters) + len(self.replicas)
        nodes = [self.node(server) for server in (*self.masters, *self.replicas)]
        return all(int(_info(node)["cluster_known_nodes"]) == everybody for node in nodes)

    def _is_whole(self) -> bool:
        nodes = [self.node(server) for server in (*self.masters, *self.replicas)]
        links = [self.node(server).info("replication").get("master_link_status") for server in self.replicas]
        return all(_info(node)["cluster_state"] == "ok" for node in nodes) and all(
            link == "up" for link in links
        )

    def node(self, server: RedisServer) -> Any:
        """Return a client of one node."""
        if server.port not in self._clients:
            self._clients[server.port] = Redis(port=server.port)
        return self._clients[server.port]

    def id_of(self, server: RedisServer) -> str:
        """Return the name of a node within the Cluster."""
        answer = self.node(server).execute_command("CLUSTER MYID")
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    def owner(self, slot: int) -> RedisServer:
        """Return the master that owns a slot."""
        for server in (*self.masters, *self.replicas):
            try:
                slots = self.node(server).execute_command("CLUSTER SLOTS")
            except RedisError:
                continue
            ports = _ports(slots, slot)
            return next(one for one in (*self.masters, *self.replicas) if one.port == ports[0])
        raise RuntimeError("no node answers")

    def replica_of(self, server: RedisServer) -> RedisServer:
        """Return a replica of a master."""
        return self.replicas[self.masters.index(server)]

    def begin_move(self, slot: int, target: RedisServer) -> RedisServer:
        """Open the move of a slot; returns its owner. Both serve it now, each the keys it has."""
        source = self.owner(slot)
        self.node(target).execute_command("CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.node(source).execute_command("CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer, *, pause_s: float = 0.0) -> int:
        """Move the keys of a slot one by one, and then the slot; returns how many keys there were."""
        moved = 0
        while keys := self.node(source).execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
            self.node(source).execute_command("MIGRATE", "127.0.0.1", target.port, keys[0], 0, 5000)
            moved += 1
            time.sleep(pause_s)
        for server in (target, source, *(one for one in self.masters if one not in (source, target))):
            self.node(server).execute_command("CLUSTER SETSLOT", slot, "NODE", self.id_of(target))
        return moved

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.close()
        for server in (*self.masters, *self.replicas):
            server.kill()


def _node(folder: Path, number: int) -> RedisServer:
    place = folder / f"node-{number}"
    place.mkdir()
    return RedisServer(
        place,
        options={
            "cluster-enabled": "yes",
            "cluster-port": str(free_port()),
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-allow-replica-migration": "no",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
        },
    )


def _info(node: Any) -> dict[str, str]:
    answer = node.execute_command("CLUSTER INFO")
    if isinstance(answer, dict):
        return answer
    return dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)


def _ports(slots: Any, slot: int) -> list[int]:
    if isinstance(slots, dict):
        for (first, last), nodes in slots.items():
            if first <= slot <= last:
                return [nodes["primary"][1]]
        raise RuntimeError(f"slot {slot} is nobody's")
    return next([int(nodes[0][1])] for first, last, *nodes in slots if first <= slot <= last)
