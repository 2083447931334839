"""Whether an external Redis would lose what it accepted: asked before the first message, of every server it has."""

from typing import Any

import redis.exceptions
import structlog
from redis.asyncio import Redis

from hub.bus.cluster import ClusterRedis, slot_of
from hub.bus.connection import bus_errors
from hub.bus.embedded import OLDEST
from hub.bus.keys import Keys
from hub.bus.nodes import Server, servers
from hub.bus.sentinel import SentinelRedis
from hub.errors import BusError, SettingsError
from hub.redis_address import read_address
from hub.settings import BusSettings

log = structlog.get_logger(__name__)

LEAST_SHARDS = 2
"""On a Cluster; one shard is one slot, and all of it would lie on one node."""


async def durability_faults(client: Redis, settings: BusSettings) -> list[str]:
    """Return a sentence for everything that would lose messages; an empty list is good news.

    Raises: BusError: Redis is away.
    """
    faults = list[str]()
    async with servers(client) as found:
        copies = dict[str, int]()
        for server in found:
            try:
                with bus_errors("Redis cannot be asked for its settings"):
                    info, config = await _told(server)
            except BusError as error:
                if not server.is_replica:
                    raise
                # It is not needed to start, and what is wrong with it nobody knows.
                log.warning("redis_replica_away", server=server.name, error=str(error))
                continue
            if not server.is_replica:
                copies[server.name] = int(info.get("connected_slaves", 0))
            faults += [_at(server, fault) for fault in _server_faults(info, config, settings)]
    fewest = min(copies.values(), default=0)
    if fewest < settings.min_replicas:
        faults.append(
            f"bus.min_replicas is {settings.min_replicas}, but a master has {fewest} replicas: nothing would ever "
            "count as kept; start more replicas, or lower it"
        )
    return faults


async def durability_advice(client: Redis, settings: BusSettings) -> list[str]:
    """Return a sentence for everything that loses messages when a replica takes over, or wastes a Cluster.

    Raises: BusError: Redis is away.
    """
    if not isinstance(client, SentinelRedis | ClusterRedis):
        return []
    advice = list[str]()
    if not settings.min_replicas:
        advice.append(
            "bus.min_replicas is 0: when a replica takes over, the messages it has not got yet are lost though they "
            "were accepted; set it to 1"
        )
    async with servers(client) as found:
        for server in [one for one in found if not one.is_replica]:
            with bus_errors("Redis cannot be asked for its settings"):
                _, config = await _told(server)
            if _text(config.get("min-replicas-to-write", "1")) == "0":
                advice.append(
                    _at(
                        server,
                        "min-replicas-to-write is 0: a master that is cut off from its replicas goes on accepting "
                        "messages that are lost when one of them has taken over; set it to 1, and "
                        "min-replicas-max-lag to 10, on every server",
                    )
                )
    if isinstance(client, ClusterRedis) and (idle := await _idle_masters(client, settings.shards)):
        advice.append(
            f"{', '.join(idle)} {'holds' if len(idle) == 1 else 'hold'} none of the {settings.shards} shards; more "
            "of them (bus.shards), or another spread of the slots, would use all masters"
        )
    return advice


async def require_durable(client: Redis, settings: BusSettings) -> None:
    """Raise SettingsError when Redis would lose messages and the settings do not allow it.

    Raises: BusError: Redis is away.
    """
    require_shards(settings)
    if faults := await durability_faults(client, settings):
        if not settings.allow_unsafe_redis:
            listed = "\n".join(f"  - {fault}" for fault in faults)
            raise SettingsError(
                f"this Redis would lose messages:\n{listed}\n"
                "Set bus.allow_unsafe_redis = true to start all the same."
            )
        log.warning("redis_unsafe", faults=faults)
    for advice in await durability_advice(client, settings):
        log.warning("redis_advice", advice=advice)


def require_shards(settings: BusSettings) -> None:
    """Raise SettingsError where a Cluster would be used like one server."""
    url = settings.redis_url.get_secret_value()
    if url and settings.shards < LEAST_SHARDS and read_address(url).kind == "cluster":
        raise SettingsError(
            f"bus.shards is {settings.shards}, so all conversations would lie in one slot, on one node of the Cluster; "
            "set it to some times the number of masters, such as 16, before the first message"
        )


async def _told(server: Server) -> tuple[dict[str, Any], dict[str, Any]]:
    client: Any = server.client
    info = await client.info()
    if (mode := _text(info.get("redis_mode", "standalone"))) == "sentinel":
        raise SettingsError(
            "bus.redis_url leads to a sentinel; take redis+sentinel://host:26379/<name of the master>"
        )
    if mode == "cluster" and not server.name:
        raise SettingsError("bus.redis_url leads to a node of a Cluster; take redis+cluster://host:6379")
    try:
        config = await client.config_get("append*", "m*-*")
    except redis.exceptions.ResponseError:
        # Hosted servers often forbid CONFIG; what INFO tells is judged, the rest is the host's word.
        log.warning("redis_config_hidden")
        config = {}
    return info, config


def _server_faults(info: dict[str, Any], config: dict[str, Any], settings: BusSettings) -> list[str]:
    faults = []
    version = str(info.get("redis_version", "0.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        faults.append(f"it is version {version}, 6.2 is the oldest supported")
    policy = _text(config.get("maxmemory-policy", info.get("maxmemory_policy", "noeviction")))
    if policy != "noeviction":
        faults.append(
            f"maxmemory-policy is {policy}: it drops messages when memory is full; set it to noeviction"
        )
    if not int(info.get("aof_enabled", 0)):
        faults.append("appendonly is no: it forgets messages when it is killed; set it to yes")
    fsync = _text(config.get("appendfsync", settings.appendfsync))
    if fsync == "no" or (settings.appendfsync == "always" and fsync != "always"):
        faults.append(
            f"appendfsync is {fsync}: a power cut loses accepted messages; set it to always, or set the hub's "
            "bus.appendfsync to everysec if a second of loss is acceptable"
        )
    return faults


async def _idle_masters(client: ClusterRedis, shards: int) -> list[str]:
    with bus_errors("the nodes of the Cluster could not be listed"):
        masters = await client.masters()
        busy = [await client.owner(slot) for slot in {slot_of(Keys(shard).fence) for shard in range(shards)}]
    return [name for name, node in masters.items() if node not in busy]


def _at(server: Server, fault: str) -> str:
    return f"{server.name}: {fault}" if server.name else fault


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
