"""The window of a conversation: its latest turns, what came before them, and the facts the person told."""

from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys, shard_of
from hub.messages import Turn


class History:
    """Reads what `commit` has written."""

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
        return [turn for row in rows if (turn := parse_turn(row))]

    async def row(self, conversation: str, turn: str) -> tuple[Turn, bytes] | None:
        """Return one turn, and the very bytes it is kept as; None when it is not kept any more."""
        with bus_errors("the history could not be read"):
            rows = await self._redis.lrange(self._keys(conversation).history(conversation), 0, -1)
        return next(
            ((found, row) for row in reversed(rows) if (found := parse_turn(row)) and found.turn == turn),
            None,
        )

    async def facts(self, conversation: str, person: str = "") -> dict[str, str]:
        """Return what a person told about themselves, as sentences by kind.

        Args:
            person: whose, in a conversation of several.
        """
        return await self._hash(self._keys(conversation).facts(conversation, person), "the facts")

    async def forget_facts(self, conversation: str) -> None:
        """Forget what was told about oneself in a conversation that is not worked on just now."""
        with bus_errors("the facts could not be removed"):
            await self._redis.delete(self._keys(conversation).facts(conversation))

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


def parse_turn(row: bytes) -> Turn | None:
    """Read a row of a history; None where it holds no turn."""
    try:
        return Turn.model_validate_json(row)
    except ValidationError:
        # A row of a newer version or a damaged one hides itself, not the conversation.
        return None
