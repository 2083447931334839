"""Small durable state of a connector, shared by all its processes."""

from typing import Protocol


class Store(Protocol):
    """Strings, counters and sets by name, as durable as the streams.

    Raises: BusError: the store cannot be reached; what was asked for may or may not have happened.
    """

    async def get(self, name: str) -> str | None:
        """Return a value; None when there is none or its time has passed."""

    async def set(self, name: str, value: str, ttl_s: float | None = None) -> None:
        """Keep a value, for `ttl_s` seconds or for ever."""

    async def keep_first(self, name: str, value: str, ttl_s: float | None = None) -> str:
        """Keep a value unless there is one already; returns the one that stands, in every process the same."""

    async def claim(self, name: str, ttl_s: float) -> bool:
        """Take a name for `ttl_s` seconds; True for the first who asks, in whichever process."""

    async def delete(self, name: str) -> None:
        """Forget a value."""

    async def increment(self, name: str, ttl_s: float, by: int = 1) -> int:
        """Add one, or `by`, and return the sum; the first call starts the time, later ones do not prolong it."""

    async def add(self, name: str, member: str) -> None:
        """Put a member into a set."""

    async def discard(self, name: str, member: str) -> None:
        """Take a member out of a set."""

    async def members(self, name: str) -> list[str]:
        """Return the members of a set, sorted; none when there is none."""


class ListedStore(Store, Protocol):
    """A store that tells what it holds: for those who remove a person from it."""

    async def names(self, prefix: str) -> list[str]:
        """Return the names that begin with `prefix`, sorted; those that are kept under a digest are left out."""

    async def change(self, name: str, value: str) -> None:
        """Put another value into the place of one, for as long as that was to stay."""
