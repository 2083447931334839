"""Dead letters (messages no attempt could finish) and the quarantine (input no attempt could make valid)."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys
from hub.messages import Envelope, envelope_of

QUARANTINE_KEPT = 10_000
PART = 100
"""Dead letters that are read at once."""
MOST_READ = 2_000
"""Dead letters that are looked at for one page: where few match, a page may be short though others follow."""
_ID = re.compile(r"(\d{1,4})\.(\d{1,15})-(\d{1,19})", re.ASCII)


class Place(NamedTuple):
    """Where a dead letter stands among those of all shards; later ones are larger."""

    ms: int
    number: int
    shard: int

    @classmethod
    def of(cls, letter_id: str) -> "Place | None":
        """Read an id; None where it is none."""
        found = _ID.fullmatch(letter_id)
        return cls(int(found[2]), int(found[3]), int(found[1])) if found else None

    @property
    def entry(self) -> str:
        """Its id on the stream of its shard."""
        return f"{self.ms}-{self.number}"

    def __str__(self) -> str:
        return f"{self.shard}.{self.entry}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message or reply that was given up."""

    place: Place
    queue: str
    """`inbound` or `outbound:<connector>`."""
    lane: str
    """Its conversation; empty where that could not be read."""
    entry: str
    """What it was on its queue: of a message its turn."""
    attempts: int
    reason: str
    body: bytes

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.place)

    @property
    def at(self) -> datetime:
        """When it was given up."""
        return datetime.fromtimestamp(self.place.ms / 1000, UTC)

    @property
    def is_reply(self) -> bool:
        """Whether it is an answer that could not be delivered, and no message."""
        return self.queue != "inbound"

    @property
    def envelope(self) -> Envelope:
        """Whose it is, as far as that can be read."""
        return envelope_of(self.body)

    @property
    def connector(self) -> str:
        """The channel it came by or was to go by; empty where that could not be read."""
        if self.is_reply:
            return self.queue.partition(":")[2]
        address = self.envelope.address
        return address.connector if address else ""

    @property
    def facts(self) -> dict[str, str | int]:
        """What operators are told of it beside its id and when it was given up; never what was said."""
        return {
            "connector": self.connector,
            "conversation": self.lane,
            "turn": self.envelope.turn if self.is_reply else self.entry,
            "attempts": self.attempts,
            "reason": self.reason,
            "size_bytes": len(self.body),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which dead letters; every part that is set must hold."""

    connector: str = ""
    conversation: str = ""
    reason: str = ""
    """Words that stand in the reason, in any case."""
    since: datetime | None = None
    until: datetime | None = None
    """That moment excluded."""

    def holds(self, letter: DeadLetter) -> bool:
        """Tell whether it is one of them."""
        return (
            self.conversation in ("", letter.lane)
            and self.connector in ("", letter.connector)
            and self.reason.casefold() in letter.reason.casefold()
            and (self.since is None or letter.at >= self.since)
            and (self.until is None or letter.at < self.until)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterPage:
    """Some dead letters."""

    letters: Sequence[DeadLetter]
    next: Place | None
    """Behind which the next page begins; None on the last one."""


class DeadLetters:
    """Reads and drops dead letters, and records quarantined input."""

    def __init__(self, redis: Redis, *, shards: int = 1) -> None:
        self._redis: Any = redis
        self._shards = shards

    async def list(self, limit: int = 100) -> list[DeadLetter]:
        """Return the newest dead letters, newest first."""
        return list((await self.page(Wanted(), None, limit)).letters)

    async def page(
        self, wanted: Wanted, after: Place | None, limit: int, *, oldest_first: bool = False
    ) -> LetterPage:
        """Return dead letters, newest first.

        Args:
            after: `next` of the page before; None: from the beginning.

        Raises: BusError: Redis is away.
        """
        found: list[DeadLetter] = []
        place, read = after, 0
        while read < MOST_READ:
            part = await self._part(wanted, place, oldest_first=oldest_first)
            for letter in part:
                place, read = letter.place, read + 1
                if not wanted.holds(letter):
                    continue
                if len(found) == limit:
                    return LetterPage(letters=found, next=found[-1].place)
                found.append(letter)
            if len(part) < PART:
                return LetterPage(letters=found, next=None)
        return LetterPage(letters=found, next=place)

    async def one(self, letter_id: str) -> DeadLetter | None:
        """Return one; None where there is none of the id.

        Raises: BusError: Redis is away.
        """
        place = Place.of(letter_id)
        if place is None or place.shard >= self._shards:
            return None
        with bus_errors("a dead letter could not be read"):
            rows = await self._redis.xrange(Keys(place.shard).dead, place.entry, place.entry)
        return _letter(place.shard, *rows[0]) if rows else None

    async def drop(self, *places: Place) -> int:
        """Remove some for good; returns how many were there.

        Raises: BusError: not all are removed; repeating is safe.
        """
        gone = 0
        with bus_errors("dead letters could not be removed"):
            for shard in sorted({place.shard for place in places}):
                entries = [place.entry for place in places if place.shard == shard]
                gone += int(await self._redis.xdel(Keys(shard).dead, *entries))
        return gone

    async def was_replayed(self, letter_id: str) -> bool:
        """Tell whether a dead letter was put back lately.

        Raises: BusError: Redis is away.
        """
        place = Place.of(letter_id)
        if place is None:
            return False
        with bus_errors("a dead letter could not be looked up"):
            return bool(await self._redis.exists(Keys(place.shard).replayed(place.entry)))

    async def now(self) -> datetime:
        """Return the time of the clock that dates dead letters.

        Raises: BusError: Redis is away.
        """
        with bus_errors("the time could not be read"):
            seconds, microseconds = await self._redis.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

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

    async def _part(self, wanted: Wanted, after: Place | None, *, oldest_first: bool) -> Sequence[DeadLetter]:
        """Return the next PART of all shards within the times that are wanted."""
        letters: list[DeadLetter] = []
        first = f"{_ms(wanted.since)}-0" if wanted.since else "-"
        last = f"({_ms(wanted.until)}-0" if wanted.until else "+"
        with bus_errors("the dead letters could not be read"):
            for shard in range(self._shards):
                key = Keys(shard).dead
                if oldest_first:
                    start = _beyond(after, shard > after.shard) if after else first
                    rows = await self._redis.xrange(key, start, last, count=PART)
                else:
                    end = _beyond(after, shard < after.shard) if after else last
                    rows = await self._redis.xrevrange(key, end, first, count=PART)
                letters += [_letter(shard, entry, fields) for entry, fields in rows]
        return sorted(letters, key=lambda letter: letter.place, reverse=not oldest_first)[:PART]


def _beyond(place: Place, is_included: bool) -> str:
    """Bound a range at a place; another shard may have an entry of the same id that comes next."""
    return place.entry if is_included else f"({place.entry}"


def _ms(at: datetime) -> int:
    # Up: a part of a millisecond begins after those that carry its number.
    return -int(-at.timestamp() * 1000 // 1)


def _letter(shard: int, entry: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    text = {key.decode(): value.decode("utf-8", "replace") for key, value in fields.items() if key != b"body"}
    milliseconds, _, number = entry.decode().partition("-")
    attempts = text.get("attempts", "")
    return DeadLetter(
        place=Place(int(milliseconds), int(number), shard),
        queue=text.get("queue", ""),
        lane=text.get("lane", ""),
        entry=text.get("entry", ""),
        attempts=int(attempts) if attempts.isascii() and attempts.isdigit() else 0,
        reason=text.get("reason", ""),
        body=fields.get(b"body", b""),
    )
