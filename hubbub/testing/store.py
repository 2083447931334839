"""The store of a connector in memory."""

import math
from collections import defaultdict

from hub.errors import BusError


class MemoryStore:
    """Keeps what `connectors.store.ListedStore` promises as long as the test lasts."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.sets: defaultdict[str, set[str]] = defaultdict(set)
        self.now = 0.0
        """The time in seconds; a test lets it pass."""
        self.failure: BusError | None = None
        """Raised by every call while it is set."""
        self._ends: dict[str, float] = {}
        self._calls_left: int | None = None

    def fail(self) -> None:
        """Be away from now on."""
        self.failure = BusError("Redis is away")

    def fail_after(self, calls: int | None) -> None:
        """Be away after so many more calls; None takes it back."""
        self._calls_left = calls

    @property
    def texts(self) -> str:
        """Return everything that is kept, to search in."""
        return repr((self.values, dict(self.sets)))

    async def get(self, name: str) -> str | None:
        """Return a value whose time has not passed."""
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left < 0:
                self.fail()
        if self.failure is not None:
            raise self.failure
        if self.now >= self._ends.get(name, math.inf):
            self._forget(name)
        return self.values.get(name)

    async def set(self, name: str, value: str, ttl_s: float | None = None) -> None:
        """Keep a value."""
        await self.get(name)
        self.values[name] = value
        self._ends[name] = math.inf if ttl_s is None else self.now + ttl_s

    async def keep_first(self, name: str, value: str, ttl_s: float | None = None) -> str:
        """Keep a value unless there is one."""
        known = await self.get(name)
        if known is None:
            await self.set(name, value, ttl_s)
        return value if known is None else known

    async def claim(self, name: str, ttl_s: float) -> bool:
        """Take a name."""
        if await self.get(name) is not None:
            return False
        await self.set(name, "1", ttl_s)
        return True

    async def delete(self, name: str) -> None:
        """Forget a value, or a set."""
        await self.get(name)
        self._forget(name)
        self.sets.pop(name, None)

    async def increment(self, name: str, ttl_s: float, by: int = 1) -> int:
        """Count."""
        known = await self.get(name)
        if known is None:
            await self.set(name, "0", ttl_s)
        self.values[name] = str(int(known or 0) + by)
        return int(self.values[name])

    async def add(self, name: str, member: str) -> None:
        """Put a member into a set."""
        await self.get(name)
        self.sets[name].add(member)

    async def discard(self, name: str, member: str) -> None:
        """Take a member out of a set."""
        await self.get(name)
        self.sets.get(name, set()).discard(member)

    async def members(self, name: str) -> list[str]:
        """Return the members of a set."""
        await self.get(name)
        return sorted(self.sets.get(name, set()))

    async def names(self, prefix: str) -> list[str]:
        """Return the names that begin with it."""
        kept = [name for name in list(self.values) if await self.get(name) is not None]
        return sorted(name for name in {*kept, *self.sets} if name.startswith(prefix))

    async def change(self, name: str, value: str) -> None:
        """Put another value into the place of one."""
        if await self.get(name) is not None:
            self.values[name] = value

    def _forget(self, name: str) -> None:
        self.values.pop(name, None)
        self._ends.pop(name, None)
