"""Text on its way: the engine writes it piece by piece, every process that shows it to somebody tails it.

Live text is a courtesy. It may be lost; the reply itself is durable and goes by the outbound stream.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.keys import Keys, shard_of
from hub.bus.tail import Tail
from hub.errors import BusError
from hub.messages import OutboundMessage
from hub.waiting import happens

log = structlog.get_logger(__name__)

BATCH_S = 0.05
PARTIAL_TTL_S = 3600
DELTAS_KEPT = 10_000
LISTENER_QUEUE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEvent:
    """Something a person may see at once."""

    kind: Literal["waiting", "typing", "delta", "reset", "final"]
    conversation: str
    turn: str
    offset: int = 0
    """Code points of the turn's text that came before `text`."""
    text: str = ""
    wait_s: float = 0.0
    """Of `waiting`: the estimated seconds until something is generated."""
    message: OutboundMessage | None = None
    """The reply, for `final`."""


class DeltaWriter:
    """Writes the text of one turn, at most once in BATCH_S; a failure is logged once and then ignored."""

    def __init__(self, redis: Redis, *, shards: int, turn: str, conversation: str) -> None:
        self._redis: Any = redis
        keys = Keys(shard_of(conversation, shards))
        self._partial = _partial_key(turn, shards)
        self._show = redis.register_script(_script())
        self._keys = [keys.erased(conversation), keys.erased(turn), keys.deltas]
        if self._partial == keys.partial(turn):
            self._keys.append(self._partial)
        self._turn = turn
        self._conversation = conversation
        self._offset = 0
        self._waiting: list[str] = []
        self._flushing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._broken = False

    async def typing(self) -> None:
        """Say that the turn was taken up."""
        await self._announce("typing")

    async def waiting(self, wait_s: float) -> None:
        """Say that others come first, and for how long by estimate."""
        await self._announce("waiting", wait_s=wait_s)

    async def add(self, text: str) -> None:
        """Append text; it is sent within BATCH_S."""
        self._waiting.append(text)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_soon())

    async def reset(self) -> None:
        """Take back all that was shown of this turn."""
        await self._stop_flushing()
        self._waiting.clear()
        self._offset = 0
        await self._announce("reset")

    async def abandon(self) -> None:
        """Drop what waits; nothing more is shown once this returns."""
        self._waiting.clear()
        await self._stop_flushing()

    async def close(self) -> None:
        """Send what waits."""
        await self._stop_flushing()
        await self._flush()

    async def _stop_flushing(self) -> None:
        if self._flushing is not None:
            # Not cancelled: a write under way would leave the offset in doubt.
            self._hurry.set()
            await asyncio.gather(self._flushing, return_exceptions=True)
            self._flushing = None
            self._hurry.clear()

    async def _flush_soon(self) -> None:
        # Text that arrives while a flush is being written finds this task running and starts none of its own.
        # The first piece leaves at once; what comes within BATCH_S of it goes together.
        while self._waiting:
            await self._flush()
            await happens(self._hurry, within_s=BATCH_S)

    async def _flush(self) -> None:
        text = "".join(self._waiting)
        self._waiting.clear()
        if text:
            offset, self._offset = self._offset, self._offset + len(text)
            await self._announce("delta", offset=offset, text=text)

    async def _announce(self, kind: str, *, offset: int = 0, text: str = "", wait_s: float = 0.0) -> None:
        if self._broken:
            return
        written = text.encode("utf-8", "replace")
        fields: dict[str, str | bytes | int | float] = {
            "kind": kind,
            "conversation": self._conversation,
            "turn": self._turn,
            "offset": offset,
            "text": written,
            "wait_s": round(wait_s, 1),
        }
        keys = self._keys[:3] if kind == "waiting" else self._keys
        try:
            with bus_errors("live text could not be written"):
                is_shown = await self._show(keys=keys, args=_shown(kind, written, fields))
                if not is_shown:
                    # The conversation is being erased, or the turn was: of this turn nothing is shown any more.
                    self._broken = True
                elif len(self._keys) == 3 and kind != "waiting":
                    await self._keep_elsewhere(kind, written)
        except BusError as error:
            self._broken = True
            log.warning("live_text_stopped", turn=self._turn, error=str(error))

    async def _keep_elsewhere(self, kind: str, written: bytes) -> None:
        """Keep the text so far where it lies in another shard than the conversation."""
        if kind != "delta":
            await self._redis.delete(self._partial)
            return
        pipe = self._redis.pipeline(transaction=False)
        pipe.append(self._partial, written)
        pipe.expire(self._partial, PARTIAL_TTL_S)
        await pipe.execute()


class Live:
    """Live text of all conversations, for one process."""

    def __init__(self, redis: Redis, reader: Redis, *, shards: int = 1) -> None:
        self._redis: Any = redis
        self._show = redis.register_script(_script())
        deltas = [Keys(shard).deltas for shard in range(shards)]
        self._tail = Tail(redis, reader, deltas, name="live text")
        self._shards = shards
        self._listeners: defaultdict[str, set[asyncio.Queue[LiveEvent]]] = defaultdict(set)

    @property
    def ready(self) -> asyncio.Event:
        """Set once `run` receives; what happens before is not heard."""
        return self._tail.ready

    def _keys(self, conversation: str) -> Keys:
        return Keys(shard_of(conversation, self._shards))

    def writer(self, turn: str, conversation: str) -> DeltaWriter:
        """Begin the live text of a turn."""
        return DeltaWriter(self._redis, shards=self._shards, turn=turn, conversation=conversation)

    async def partial(self, turn: str) -> str:
        """Return the text of a running turn so far; empty when there is none."""
        with bus_errors("live text could not be read"):
            text = await self._redis.get(_partial_key(turn, self._shards))
        return (text or b"").decode("utf-8", "replace")

    async def announce(self, message: OutboundMessage) -> None:
        """Show a finished reply to everybody who listens to its conversation, on any process."""
        fields = {
            "kind": "final",
            "conversation": message.conversation,
            "turn": message.turn,
            "message": message.model_dump_json(),
        }
        keys = self._keys(message.conversation)
        with bus_errors("a reply could not be announced"):
            await self._show(
                keys=[keys.erased(message.conversation), keys.erased(message.turn), keys.deltas],
                args=_shown("final", b"", fields),
            )

    @contextlib.asynccontextmanager
    async def listen(self, conversation: str) -> AsyncIterator[AsyncIterator[LiveEvent]]:
        """Receive the events of one conversation from now on.

        A listener that falls more than LISTENER_QUEUE events behind loses the oldest; offsets show the gap.
        """
        queue: asyncio.Queue[LiveEvent] = asyncio.Queue(LISTENER_QUEUE)
        self._listeners[conversation].add(queue)
        try:
            yield _drain(queue)
        finally:
            listeners = self._listeners[conversation]
            listeners.discard(queue)
            if not listeners:
                del self._listeners[conversation]

    async def run(self, stop: asyncio.Event) -> None:
        """Tail the live streams of all shards until `stop` is set, and what somebody still listens to then."""
        await self._tail.run(self._deliver, stop, is_used=lambda: bool(self._listeners))

    def _deliver(self, fields: dict[bytes, bytes]) -> None:
        listeners = self._listeners.get(fields.get(b"conversation", b"").decode("utf-8", "replace"))
        event = _event(fields) if listeners else None
        if event is None:
            return
        for queue in listeners or ():
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)


@lru_cache(maxsize=1)
def _script() -> str:
    return (Path(__file__).parent / "bus" / "scripts" / "live.lua").read_text("utf-8")


def _shown(kind: str, text: bytes, fields: Mapping[str, str | bytes | int | float]) -> list[Any]:
    """Return the arguments of the script."""
    flat = [part for pair in fields.items() for part in pair]
    return [kind, text, PARTIAL_TTL_S, DELTAS_KEPT, *flat]


def _partial_key(turn: str, shards: int) -> str:
    # Spread by turn: whoever resumes knows the turn, and not always the conversation.
    return Keys(shard_of(turn, shards)).partial(turn)


async def _drain(queue: "asyncio.Queue[LiveEvent]") -> AsyncIterator[LiveEvent]:
    while True:
        yield await queue.get()


def _event(fields: dict[bytes, bytes]) -> LiveEvent | None:
    text = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in fields.items()}
    try:
        message = OutboundMessage.model_validate_json(text["message"]) if "message" in text else None
        kind = text["kind"]
        if kind not in ("waiting", "typing", "delta", "reset", "final"):
            return None
        return LiveEvent(
            kind=kind,  # type: ignore[arg-type]  # checked above
            conversation=text["conversation"],
            turn=text["turn"],
            offset=int(text.get("offset", 0)),
            text=text.get("text", ""),
            wait_s=float(text.get("wait_s", 0)),
            message=message,
        )
    except (KeyError, ValueError, ValidationError):
        log.warning("live_event_unreadable")
        return None
