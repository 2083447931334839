"""The window of a conversation: its latest turns, what came before them, and the facts the person told."""

import secrets
from collections.abc import AsyncIterator, Collection
from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys, shard_of
from hub.bus.nodes import scan_pages
from hub.facts import Fact, parse_fact
from hub.messages import Turn

VERSION = "version"
"""Field of the hash that a commit sets with everything it remembers."""


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
        return {key: fact.text for key, fact in (await self.proven_facts(conversation, person)).items()}

    async def proven_facts(self, conversation: str, person: str = "") -> dict[str, Fact]:
        """Return the same facts with what each of them rests on."""
        fields = await self._hash(self._keys(conversation).facts(conversation, person), "the facts")
        return {key: parse_fact(field) for key, field in fields.items()}

    async def forget_facts(self, conversation: str, keys: Collection[str] = ()) -> None:
        """Forget what was told about oneself in a private conversation that is not worked on just now.

        Args:
            keys: which facts; empty: all of them, and how the person writes.
        """
        names = self._keys(conversation)
        with bus_errors("the facts could not be removed"):
            pipe = self._redis.pipeline(transaction=True)
            if keys:
                pipe.hdel(names.facts(conversation), *keys)
            else:
                pipe.delete(names.facts(conversation), names.style(conversation))
            # Whoever holds them in their process reads again; that there is a conversation stays known.
            pipe.hset(names.version(conversation), VERSION, secrets.token_hex(8))
            await pipe.execute()

    async def summary(self, conversation: str) -> dict[str, str]:
        """Return the fields of what was asked and told before the window, as the engine wrote them."""
        return await self._hash(self._keys(conversation).summary(conversation), "the summary")

    async def preferences(self, conversation: str) -> dict[str, str]:
        """Return what was chosen for a conversation."""
        return await self._hash(self._keys(conversation).preferences(conversation), "the preferences")

    async def style(self, conversation: str, person: str = "") -> dict[str, str]:
        """Return the fields of how a person writes and wants to be answered, as the engine wrote them."""
        return await self._hash(self._keys(conversation).style(conversation, person), "the style")

    async def version(self, conversation: str) -> str:
        """Return what changes with everything that is remembered of a conversation; empty when nothing is known of it."""
        fields = await self._hash(self._keys(conversation).version(conversation), "the version")
        return fields.get(VERSION, "")

    async def conversations(self) -> AsyncIterator[str]:
        """Find every conversation whose history is kept for good; one may be told twice."""
        for shard in range(self._shards):
            prefix = Keys(shard).history("")
            async for found in scan_pages(self._redis, f"{prefix}*", count=500):
                with bus_errors("the histories could not be listed"):
                    pipe = self._redis.pipeline(transaction=False)
                    for key in found:
                        pipe.ttl(key)
                    lasting = [
                        key for key, ttl_s in zip(found, await pipe.execute(), strict=True) if ttl_s < 0
                    ]
                for key in lasting:
                    yield key.decode("utf-8", "replace").removeprefix(prefix)

    async def held(self, conversation: str, person: str = "") -> dict[str, Any]:
        """Return all that is kept of a person in a conversation, ready to be written as JSON.

        Args:
            person: whose, in a conversation of several; empty: all of a private one.
        """
        turns = await self._own_turns(conversation, person)
        facts = await self.proven_facts(conversation, person)
        held: dict[str, Any] = {
            "turns": [turn.model_dump(mode="json") for turn, _ in turns],
            "facts": {key: fact.model_dump(mode="json") for key, fact in facts.items()},
            "style": await self.style(conversation, person),
        }
        if not person:
            held["summary"] = await self.summary(conversation)
            held["preferences"] = await self.preferences(conversation)
        return held

    async def erase(self, conversation: str, person: str = "") -> int:
        """Remove all that is kept of a person in a conversation that is not worked on just now.

        In a conversation of several the others' turns stay; its summary, which holds words of everybody, goes.

        Args:
            person: whose, in a conversation of several; empty: all of a private one.

        Returns: how many turns were removed.
        """
        keys = self._keys(conversation)
        turns = await self._own_turns(conversation, person)
        with bus_errors("a person's memory could not be removed"):
            pipe = self._redis.pipeline(transaction=True)
            pipe.delete(keys.facts(conversation, person), keys.style(conversation, person))
            pipe.delete(keys.summary(conversation))
            if person:
                for _, row in turns:
                    pipe.lrem(keys.history(conversation), 0, row)
            else:
                pipe.delete(keys.history(conversation), keys.preferences(conversation))
            pipe.hset(keys.version(conversation), VERSION, secrets.token_hex(8))
            await pipe.execute()
        return len(turns)

    async def _own_turns(self, conversation: str, person: str) -> list[tuple[Turn, bytes]]:
        with bus_errors("the history could not be read"):
            rows = await self._redis.lrange(self._keys(conversation).history(conversation), 0, -1)
        read = [(turn, row) for row in rows if (turn := parse_turn(row))]
        return [
            (turn, row)
            for turn, row in read
            if not person or (turn.address is not None and turn.address.person == person)
        ]

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
