"""Names and scripts of the sides that are not the hub, and how each side publishes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.keys import Keys
from hub.settings import BusSettings

HUB_REPLIES = "outbound:bench"
REMEMBER_S = 86_400

DEDUPLICATED = """
if redis.call('EXISTS', KEYS[2]) == 1 then return redis.call('GET', KEYS[2]) end
local id = redis.call('XADD', KEYS[1], '*', '__data__', ARGV[1])
redis.call('SET', KEYS[2], id, 'EX', ARGV[2])
return id
"""
ORDERED = """
if redis.call('EXISTS', KEYS[2]) == 1 then return redis.call('GET', KEYS[2]) end
local id = redis.call('XADD', KEYS[1], '*', '__data__', ARGV[1])
redis.call('SET', KEYS[2], id, 'EX', ARGV[2])
redis.call('RPUSH', KEYS[3], id)
return id
"""
ENTER = """
if not redis.call('LPOS', KEYS[2], ARGV[2]) or redis.call('EXISTS', KEYS[3]) == 1 then return false end
redis.call('SET', KEYS[3], ARGV[1])
local head = redis.call('LINDEX', KEYS[2], 0)
return {head, redis.call('XRANGE', KEYS[1], head, head)[1][2][2]}
"""
FINISH = """
redis.call('XADD', KEYS[4], '*', '__data__', ARGV[3])
redis.call('LPOP', KEYS[2])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
local head = redis.call('LINDEX', KEYS[2], 0)
if not head then
  redis.call('DEL', KEYS[3])
  return false
end
return {head, redis.call('XRANGE', KEYS[1], head, head)[1][2][2]}
"""


@dataclass(frozen=True, slots=True)
class Names:
    """Keys of one shard of a side that is not the hub."""

    shard: int

    @property
    def inbound(self) -> str:
        """Stream of messages."""
        return f"bench:{{{self.shard}}}:in"

    @property
    def replies(self) -> str:
        """Stream of replies."""
        return f"bench:{{{self.shard}}}:out"

    def seen(self, number: int) -> str:
        """Mark of a message that was accepted."""
        return f"bench:{{{self.shard}}}:seen:{number}"

    def lane(self, lane: str) -> str:
        """List of a conversation's messages."""
        return f"bench:{{{self.shard}}}:lane:{lane}"

    def lock(self, lane: str) -> str:
        """Lock of a conversation."""
        return f"bench:{{{self.shard}}}:lock:{lane}"


Publish = Callable[[int, int, str, bytes], Awaitable[None]]
"""Publishes one message: its shard, number, conversation and body."""


def publisher(how: str, bus: Bus) -> Publish:
    """Return how a side publishes: `plain`, `deduplicated`, `ordered` or `hub`."""
    client: Any = bus.redis
    deduplicated, ordered = client.register_script(DEDUPLICATED), client.register_script(ORDERED)

    async def plain(shard: int, number: int, lane: str, body: bytes) -> None:
        await client.xadd(Names(shard).inbound, {"__data__": body})

    async def once(shard: int, number: int, lane: str, body: bytes) -> None:
        names = Names(shard)
        await deduplicated(keys=[names.inbound, names.seen(number)], args=[body, REMEMBER_S])

    async def in_order(shard: int, number: int, lane: str, body: bytes) -> None:
        names = Names(shard)
        keys = [names.inbound, names.seen(number), names.lane(lane)]
        await ordered(keys=keys, args=[body, REMEMBER_S])

    async def by_hub(shard: int, number: int, lane: str, body: bytes) -> None:
        await bus.queue("inbound", shard).publish(f"bench:{number}", lane, body, remember_s=REMEMBER_S)

    ways: Mapping[str, Publish] = {
        "plain": plain,
        "deduplicated": once,
        "ordered": in_order,
        "hub": by_hub,
    }
    return ways[how]


def reply_streams(how: str, shards: int) -> list[str]:
    """Return where a side's replies are."""
    if how == "hub":
        return [Keys(shard).stream(HUB_REPLIES) for shard in range(shards)]
    return [Names(shard).replies for shard in range(shards)]


def open_bus(url: str, shards: int, *, replicas: int = 0) -> Bus:
    """Open the bus that publishes."""
    settings = BusSettings(shards=shards, min_replicas=replicas, max_backlog=1_000_000)
    return Bus(url, settings)


async def empty(redis: Redis) -> None:
    """Begin anew."""
    await redis.flushall()
