"""Dead letters (messages no attempt could finish) and the quarantine (input no attempt could make valid)."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys

QUARANTINE_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message that was given up."""

    id: str
    queue: str
    lane: str
    entry: str
    attempts: int
    reason: str
    body: bytes
    at: datetime


class DeadLetters:
    """Lists and drops dead letters, and records quarantined input."""

    def __init__(self, redis: Redis, *, shards: int = 1) -> None:
        self._redis: Any = redis
        self._shards = shards

    async def list(self, limit: int = 100) -> list[DeadLetter]:
        """Return the newest dead letters, newest first."""
        letters: list[DeadLetter] = []
        with bus_errors("the dead letters could not be read"):
            for shard in range(self._shards):
                rows = await self._redis.xrevrange(Keys(shard).dead, count=limit)
                letters += [_letter(f"{shard}.{row.decode()}", fields) for row, fields in rows]
        return sorted(letters, key=lambda letter: letter.at, reverse=True)[:limit]

    async def count(self) -> int:
        """Count the dead letters."""
        with bus_errors("the dead letters could not be counted"):
            return sum([await self._redis.xlen(Keys(shard).dead) for shard in range(self._shards)])

    async def quarantine(self, source: str, reason: str, body: bytes) -> None:
        """Record input that can never become a message: its size and digest, never its content."""
        fields = {
            "source": source,
            "reason": reason[:500],
            "size_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        with bus_errors("the quarantine could not be written"):
            await self._redis.xadd(Keys().quarantine, fields, maxlen=QUARANTINE_KEPT, approximate=True)


def _letter(letter_id: str, fields: dict[bytes, bytes]) -> DeadLetter:
    text = {key.decode(): value.decode("utf-8", "replace") for key, value in fields.items() if key != b"body"}
    milliseconds = int(letter_id.partition(".")[2].partition("-")[0])
    return DeadLetter(
        id=letter_id,
        queue=text.get("queue", ""),
        lane=text.get("lane", ""),
        entry=text.get("entry", ""),
        attempts=int(text.get("attempts", 0)),
        reason=text.get("reason", ""),
        body=fields.get(b"body", b""),
        at=datetime.fromtimestamp(milliseconds / 1000, UTC),
    )
