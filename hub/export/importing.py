"""The way back: archives of a hub, and interaction logs of earlier systems.

Importing the same file twice is the same as once. What cannot be taken is told with its reason, and the rest goes on.
"""

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import redis.exceptions
from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.entries import entry_order
from hub.bus.history import VERSION, parse_turn
from hub.bus.keys import Keys, shard_of
from hub.erasure.person import Principal
from hub.errors import BusError
from hub.export.archive import MAX_ROW_BYTES, Archive, ArchiveRefused, read_row
from hub.messages import Turn
from hub.text import normalise

MOST_PROBLEMS = 20
_ATTEMPTS = 20
_OLDEST = datetime(1990, 1, 1, tzinfo=UTC)

Progress = Callable[[int], None]
"""Is told how many bytes or rows were read."""


class TurnSink(Protocol):
    """Where imported turns go."""

    async def add(self, conversation: str, turns: Sequence[Turn]) -> int:
        """Keep turns of a conversation that are not there yet, in their order of time.

        Returns: how many were new.
        """


@dataclass(slots=True)
class Imported:
    """What became of a file."""

    taken: Counter[str] = field(default_factory=Counter)
    """New things by kind."""
    refused: int = 0
    problems: list[str] = field(default_factory=list)
    """The first reasons for which something was not taken."""

    def refuse(self, why: str) -> None:
        """Note something that was not taken."""
        self.refused += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(why)


class HistorySink:
    """Keeps turns in the windows of conversations, of which the latest stay.

    Args:
        keep: turns of one conversation.
    """

    def __init__(self, redis: Redis, *, shards: int, keep: int) -> None:
        self._redis: Any = redis
        self._shards = shards
        self.keep = keep

    async def add(self, conversation: str, turns: Sequence[Turn]) -> int:
        """Put the turns among those that are there."""
        keys = Keys(shard_of(conversation, self._shards))
        key = keys.history(conversation)
        for _ in range(_ATTEMPTS):
            with bus_errors("the history could not be written"):
                async with self._redis.pipeline(transaction=True) as pipe:
                    await pipe.watch(key)
                    rows = await pipe.lrange(key, 0, -1)
                    fresh, merged = _merged(rows, turns)
                    if not fresh:
                        return 0
                    left_ms = await pipe.pttl(key)
                    pipe.multi()
                    pipe.delete(key)
                    pipe.rpush(key, *merged[-self.keep :])
                    if left_ms > 0:
                        pipe.pexpire(key, left_ms)
                    # Whoever holds the conversation in their process reads it again.
                    pipe.hset(keys.version(conversation), VERSION, secrets.token_hex(8))
                    try:
                        await pipe.execute()
                    except redis.exceptions.WatchError:
                        # A turn was committed meanwhile.
                        continue
            return fresh
        raise BusError(f"conversation {conversation} is written to all the time; import again")


def _merged(rows: Sequence[bytes], turns: Sequence[Turn]) -> tuple[int, list[bytes]]:
    """Put turns among rows by time; rows stay byte for byte as they are."""
    known = [(turn.turn, row) for row in rows if (turn := parse_turn(row))]
    there = {turn for turn, _ in known}
    fresh = [(turn.turn, turn.model_dump_json().encode("utf-8", "replace")) for turn in turns]
    fresh = [pair for pair in fresh if pair[0] not in there]
    merged = sorted([*known, *fresh], key=lambda pair: entry_order(pair[0]))
    return len(fresh), [row for _, row in merged]


async def import_log(
    path: Path, conversation: str, sink: TurnSink, *, keep: int, progress: Progress
) -> Imported:
    """Take the lines `{timestamp, prompt, response}` of an earlier system's log as turns of a conversation.

    Args:
        keep: the latest turns that are held in memory and handed to the sink.

    Raises: OSError: the file cannot be read.
    """
    done, turns = Imported(), deque[Turn](maxlen=keep)
    used: Counter[int] = Counter()
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            progress(len(line))
            if not line.strip():
                continue
            try:
                turns.append(_turn_of(read_row(line, f"line {number}"), used))
            except (ArchiveRefused, ValueError) as error:
                done.refuse(f"line {number}: {error}")
                if len(line) > MAX_ROW_BYTES:
                    _skip_line(file)
    if turns:
        done.taken["turns"] += await sink.add(conversation, sorted(turns, key=lambda turn: turn.asked_at))
    return done


def _skip_line(file: Any) -> None:
    while (rest := file.readline(MAX_ROW_BYTES)) and not rest.endswith(b"\n"):
        pass


def _turn_of(line: Mapping[str, Any], used: Counter[int]) -> Turn:
    prompt, response = line.get("prompt"), line.get("response")
    if not isinstance(prompt, str) or not isinstance(response, str):
        raise ValueError("expected the texts `prompt` and `response`")
    at = time_of(line.get("timestamp"))
    milliseconds = round(at.timestamp() * 1000)
    # Made of the time, so that the same line is the same turn whenever it is imported.
    number = used[milliseconds]
    used[milliseconds] += 1
    return Turn(
        turn=f"{milliseconds}-{number}",
        question=normalise(prompt),
        answer=normalise(response),
        asked_at=at,
        answered_at=at,
    )


def time_of(value: Any) -> datetime:
    """Read a time: ISO 8601, UTC where it names no zone, or seconds since 1970."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            raise ValueError(value)
    except (ValueError, OverflowError, OSError):
        raise ValueError("expected `timestamp` as ISO 8601 or as seconds since 1970") from None
    if at < _OLDEST:
        raise ValueError("`timestamp` lies before 1990")
    return at


class ArchiveImport:
    """Takes the rows of a hub's archive that go to Redis: conversations, facts, settings, style, identities.

    What waited, lines of the log and the like stay in the file: they are facts of the hub that wrote it.
    """

    def __init__(self, redis: Redis, sink: TurnSink, *, shards: int, keep: int) -> None:
        self._redis: Any = redis
        self._sink = sink
        self._shards = shards
        self._keep = keep

    async def take(self, archive: Archive, progress: Progress) -> Imported:
        """Take what is not there yet; what is there stays as it is.

        Raises: ArchiveRefused: a file of the archive cannot be read. BusError: Redis is away.
        """
        done = Imported()
        await self._turns(archive, done, progress)
        await self._hashes(archive.rows("facts"), "facts", done, progress)
        await self._hashes(archive.rows("settings"), "preferences", done, progress)
        await self._hashes(archive.rows("style"), "style", done, progress)
        await self._identities(archive.rows("identities"), done, progress)
        return done

    async def _turns(self, archive: Archive, done: Imported, progress: Progress) -> None:
        current, turns = "", deque[Turn](maxlen=self._keep)
        for row in archive.rows("conversations"):
            progress(1)
            try:
                name = conversation_of(row)
                turn = Turn.model_validate(row)
                entry_order(turn.turn)
            except (ValueError, ValidationError):
                done.refuse("conversations: a row holds no turn")
                continue
            # Rows of one conversation stand together; those of any other archive are put together by the sink.
            if name != current and turns:
                done.taken["turns"] += await self._sink.add(current, list(turns))
                turns.clear()
            current = name
            turns.append(turn)
        if turns:
            done.taken["turns"] += await self._sink.add(current, list(turns))

    async def _hashes(
        self, rows: Iterable[Mapping[str, Any]], kind: str, done: Imported, progress: Progress
    ) -> None:
        for row in rows:
            progress(1)
            try:
                name, key, value = conversation_of(row), _text(row, "key"), _text(row, "value")
                who = _text(row, "person") if "person" in row else ""
            except ValueError as error:
                done.refuse(f"{kind}: {error}")
                continue
            keys = Keys(shard_of(name, self._shards))
            places = {
                "facts": keys.facts(name, who),
                "style": keys.style(name, who),
                "preferences": keys.preferences(name),
            }
            with bus_errors(f"{kind} could not be written"):
                is_new = await self._redis.hsetnx(places[kind], key, value.encode("utf-8", "replace"))
                done.taken[kind] += is_new
                if is_new:
                    await self._redis.hset(keys.version(name), VERSION, secrets.token_hex(8))

    async def _identities(
        self, rows: Iterable[Mapping[str, Any]], done: Imported, progress: Progress
    ) -> None:
        first = Keys()
        for row in rows:
            progress(1)
            try:
                principal = Principal.model_validate(row)
                places = {_name(name): kind for name, kind in dict(row.get("conversations", {})).items()}
                if not set(places.values()) <= {"private", "group"}:
                    raise ValueError("a conversation is private or a group's")
                linked = str(row.get("linked_as", ""))
                if linked and not (linked.isascii() and linked.isalnum() and len(linked) <= 64):
                    raise ValueError("a link has a name no hub gives")
            except (ValueError, ValidationError, TypeError):
                done.refuse("identities: a row holds no identity")
                continue
            with bus_errors("an identity could not be written"):
                for name, kind in places.items():
                    place = Keys(shard_of(name, self._shards)).known(principal.mark)
                    await self._redis.hsetnx(place, "as", principal.model_dump_json())
                    done.taken["places"] += await self._redis.hsetnx(place, f"in:{name}", kind)
                if linked:
                    await self._redis.set(first.people(f"person:{principal.mark}"), linked, nx=True)
                    await self._redis.sadd(first.people(f"members:{linked}"), principal.mark)


def conversation_of(row: Mapping[str, Any]) -> str:
    """Return the conversation of a row.

    Raises: ValueError: no hub gives such a name.
    """
    return _name(row.get("conversation"))


def _name(value: Any) -> str:
    """Return the name of a conversation, which stands in keys of Redis.

    Raises: ValueError: no hub gives such a name.
    """
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise ValueError("expected the name of a conversation")
    if not all(char.isascii() and (char.isalnum() or char in "_-") for char in value):
        raise ValueError("expected the name of a conversation")
    return value


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or len(value) > 100_000:
        raise ValueError(f"expected the text `{name}`")
    return value
