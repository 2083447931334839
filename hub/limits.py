"""Rate limits that hold exactly, whatever comes at once and to however many processes.

A sliding log in Redis: one script, Redis' own clock. Algorithms that refill while a burst is under way (token
bucket, GCRA) would let more than the limit through a slow burst.
"""

import math
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from hub.bus.connection import bus_errors, repeat
from hub.bus.keys import Keys

_SCRIPT = Path(__file__).parent / "bus" / "scripts" / "limit.lua"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much may come in any span of time of one length."""

    requests: int
    window_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a limit says to one request."""

    allowed: bool
    remaining: int
    """How many more requests would be let in now."""
    reset_s: float
    """Seconds until one more is let in than now."""

    @property
    def retry_after_s(self) -> int:
        """Whole seconds to wait before the next attempt, at least 1."""
        return max(1, math.ceil(self.reset_s))


class RateLimits:
    """Counts requests by name."""

    def __init__(self, redis: Redis) -> None:
        self._script: AsyncScript = redis.register_script(_SCRIPT.read_text("utf-8"))

    async def spend(self, name: str, limit: Limit) -> Allowance:
        """Count one request, unless the limit is reached; a refused request counts for nothing.

        Args:
            name: who is limited and for what, such as `key:<id>` or `auth:<address>`.
            limit: the same for every call with this name; after a change the new one holds at once.

        Raises: BusError: Redis is away.
        """
        return (await self.spend_all({name: limit}))[0]

    async def spend_all(self, limits: Mapping[str, Limit]) -> list[Allowance]:
        """Count one request for several limits in one step; where one of them is reached, it counts for none.

        Returns: what each of them says, in their order; all allow it, or none does.
        Raises: BusError: Redis is away.
        """
        keys = [Keys().limit(name) for name in limits]
        arguments: list[str | int] = [secrets.token_hex(8)]
        for limit in limits.values():
            arguments += [limit.requests, limit.window_s * 1_000_000]

        async def run() -> Any:
            return await self._script(keys=keys, args=arguments)

        with bus_errors("a rate limit could not be read"):
            allowed, *told = await repeat(run, for_s=2)
        return [
            Allowance(allowed=bool(allowed), remaining=int(remaining), reset_s=int(wait_us) / 1e6)
            for remaining, wait_us in zip(told[::2], told[1::2], strict=True)
        ]


OWN_SHARE = 10
"""While Redis is away a process lets in so many times less than a limit: ten of them let in no more together."""


class OwnLimits:
    """Counts requests in this process alone, for what goes on while Redis is away.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: defaultdict[str, deque[float]] = defaultdict(deque)

    def spend(self, name: str, limit: Limit) -> Allowance:
        """Count one request, unless this process' share of the limit is reached; otherwise as `RateLimits.spend`."""
        now, share = self._clock(), max(1, limit.requests // OWN_SHARE)
        spent = self._spent[name]
        while spent and spent[0] <= now - limit.window_s:
            spent.popleft()
        allowed = len(spent) < share
        if allowed:
            spent.append(now)
        reset_s = spent[0] + limit.window_s - now
        return Allowance(allowed=allowed, remaining=share - len(spent), reset_s=reset_s)
