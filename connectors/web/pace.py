"""How much one visitor, one socket and one network address may ask of a process."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from aiohttp import web

from hub.api.addresses import limit_name, parse_address

WINDOW_S = 10.0
SESSIONS_PER_10S = 60
"""Sign-ins of one network address: an office opens pages, a program makes visitors up."""


def address_name(request: web.Request) -> str:
    """Name the address a socket is counted for; whoever has one IPv6 address has a network of them."""
    return limit_name(parse_address(request.remote or ""))


class Bucket:
    """A token bucket: `limit` at once, and as many again in every window."""

    __slots__ = ("_clock", "_limit", "_tokens", "_touched")

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._tokens = float(limit)
        self._touched = clock()

    def take(self) -> int:
        """Take one; return 0, or the milliseconds until the next one is there."""
        now = self._clock()
        self._tokens = min(self._limit, self._tokens + (now - self._touched) * self._limit / WINDOW_S)
        self._touched = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return max(1, round((1 - self._tokens) * WINDOW_S * 1000 / self._limit))


class Buckets:
    """A bucket for each name; the ones longest unused are forgotten, full as they are."""

    def __init__(
        self, limit: int, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, name: str) -> int:
        """Take one for this name; return 0, or the milliseconds to wait."""
        bucket = self._buckets.pop(name, None) or Bucket(self._limit, self._clock)
        self._buckets[name] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket.take()


class Pace:
    """The limits of a process: messages per visitor and address, sockets per address."""

    def __init__(self, *, messages_per_10s: int, connections_per_address: int) -> None:
        self._visitors = Buckets(messages_per_10s)
        # A new visitor costs nothing to make up, so the address counts as well; an office shares one.
        self._addresses = Buckets(messages_per_10s * 10)
        self._sessions = Buckets(SESSIONS_PER_10S)
        self._most_connections = connections_per_address
        self._connections: Counter[str] = Counter()

    def take_message(self, visitor: str, address: str) -> int:
        """Count a message; return 0, or the milliseconds to wait before it is sent again."""
        return self._visitors.take(visitor) or self._addresses.take(address)

    def take_session(self, address: str) -> int:
        """Count a sign-in; return 0, or the milliseconds to wait before the next one."""
        return self._sessions.take(address)

    def connect(self, address: str) -> bool:
        """Count a socket in; False when its address has enough of them."""
        if self._connections[address] >= self._most_connections:
            return False
        self._connections[address] += 1
        return True

    def disconnect(self, address: str) -> None:
        """Count a socket out."""
        self._connections[address] -= 1
        if self._connections[address] <= 0:
            del self._connections[address]
