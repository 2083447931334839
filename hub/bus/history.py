"""The window of a conversation: its latest turns, what came before them, and the facts the person told."""

from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys, shard_of
from hub.messages import Turn


class History:
    """Reads what `commit` has written; it never writes itself."""

    def __init__(self, redis: Redis, *, shards: int = 1) -> None:
        self._redis: Any = redis
        self._shards = shards

    def _keys(self, conversation: str) -> Keys:
        return Keys(shard_of(conversation, self._shards))

    async def turns(self, conversation: str, last: int = 50) -> list[Turn]:
        """Return the latest turns, oldest first."""
        if last <= 0:
            return []
        with bus_errors("the history could not be read"):
            rows = await self._redis.lrange(self._keys(conversation).history(conversation), -last, -1)
        return [turn for row in rows if (turn := _turn(row))]

    async def facts(self, conversation: str) -> dict[str, str]:
        """Return what the person told about themselves, as sentences by kind."""
        return await self._hash(self._keys(conversation).facts(conversation), "the facts")

    async def summary(self, conversation: str) -> dict[str, str]:
        """Return the fields of what was asked and told before the window, as the engine wrote them."""
        return await self._hash(self._keys(conversation).summary(conversation), "the summary")

    async def preferences(self, conversation: str) -> dict[str, str]:
        """Return what was chosen for a conversation."""
        return await self._hash(self._keys(conversation).preferences(conversation), "the preferences")

    async def _hash(self, key: str, what: str) -> dict[str, str]:
        with bus_errors(f"{what} could not be read"):
            found = await self._redis.hgetall(key)
        return {
            name.decode("utf-8", "replace"): text.decode("utf-8", "replace") for name, text in found.items()
        }


def _turn(row: bytes) -> Turn | None:
    try:
        return Turn.model_validate_json(row)
    except ValidationError:
        # A row of a newer version or a damaged one hides itself, not the conversation.
        return None
