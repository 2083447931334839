"""Waiting for the reply to a message: live while it is generated, from the history when the news was missed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from hub.api.parts import ApiParts
from hub.api.problems import Problem
from hub.bus.bus import INBOUND
from hub.bus.connection import bus_errors
from hub.bus.keys import shard_of
from hub.errors import BusError
from hub.live import LiveEvent
from hub.messages import OutboundMessage, Source, Turn, Usage, utc_now

RECHECK_S = 5.0
"""How often the history is looked at, in case the news of a reply was lost."""

RESTART_S = 2
"""When whoever is told that the server restarts may come again."""


class ClientGone(ConnectionError):
    """Nobody waits for the reply any more."""


class NotWaited(Problem):
    """The answer takes longer than this server waits for it."""

    def __init__(self, status: int, code: str, why: str, where: str) -> None:
        headers = {"Retry-After": str(RESTART_S)} if status == 503 else {}
        super().__init__(status, code, f"{why} {where}", headers=headers)
        self._why = why

    def for_good(self) -> "NotWaited":
        """Say it of a request that was cancelled by it."""
        where = "It was cancelled; with an Idempotency-Key it would be answered all the same."
        return NotWaited(self.status, self.code, self._why, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a turn ended, wherever it was heard."""

    turn: str
    kind: Literal["answer", "notice", "error", "cancelled"]
    code: str = ""
    text: str = ""
    sources: tuple[Source, ...] = ()
    usage: Usage | None = None
    retry_after_s: int = 0
    """Of an `error`: the seconds after which the same may be asked again; 0 where nobody knows."""
    at: datetime

    @classmethod
    def of_reply(cls, reply: OutboundMessage) -> "Outcome":
        """Make it from the reply on the bus."""
        return cls(
            turn=reply.turn,
            kind=reply.kind,
            code=reply.code,
            text=reply.text,
            sources=reply.sources,
            usage=reply.usage,
            retry_after_s=reply.retry_after_s,
            at=reply.created_at,
        )

    @classmethod
    def of_turn(cls, turn: Turn) -> "Outcome":
        """Make it from the conversation's history."""
        return cls(
            turn=turn.turn,
            kind=turn.kind,
            code=turn.code,
            text=turn.answer,
            sources=turn.sources,
            usage=turn.usage,
            at=turn.answered_at,
        )


Progress = AsyncGenerator[LiveEvent | Outcome | None, None]


async def follow(
    parts: ApiParts, events: AsyncIterator[LiveEvent], conversation: str, turn: str, gone: asyncio.Event
) -> Progress:
    """Give what happens in a turn, up to its end.

    Returns: events of kind `typing`, `delta` and `reset`; None at least every RECHECK_S; at last the outcome.

    Raises:
        NotWaited: 504 when reply_timeout_s is over, 503 when the server closes; the reply is not lost.
        ClientGone: `gone` was set.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + parts.settings.reply_timeout_s
    ends = [asyncio.ensure_future(event.wait()) for event in (parts.stopping, gone)]
    coming = asyncio.ensure_future(_next(events))
    try:
        while (left_s := deadline - clock()) > 0 and not any(end.done() for end in ends):
            # The pending read is kept: cancelling it would end the iterator.
            waiting = {coming, *ends}
            await asyncio.wait(waiting, timeout=min(left_s, RECHECK_S), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                if found := await _found(parts, conversation, turn):
                    yield found
                    return
                yield None
                continue
            event = coming.result()
            coming = asyncio.ensure_future(_next(events))
            if event.turn == turn:
                if event.message is not None:
                    yield Outcome.of_reply(event.message)
                    return
                yield event
    finally:
        for task in (coming, *ends):
            task.cancel()
        await asyncio.gather(coming, *ends, return_exceptions=True)
    if gone.is_set():
        raise ClientGone
    raise _late(closing=parts.stopping.is_set())


async def finished(parts: ApiParts, conversation: str, turn: str) -> Outcome | None:
    """Return how a turn has ended; None while it has not, or when nothing is known of it any more.

    Raises: BusError: Redis is away.
    """
    turns = await parts.bus.history.turns(conversation, parts.bus.settings.history_turns)
    found = next((found for found in reversed(turns) if found.turn == turn), None)
    if found is not None:
        return Outcome.of_turn(found)
    if await parts.bus.was_cancelled(conversation, turn):
        return Outcome(turn=turn, kind="cancelled", at=utc_now())
    return None


async def is_open(parts: ApiParts, conversation: str, turn: str) -> bool:
    """Tell whether a turn still waits or runs.

    Raises: BusError: Redis is away.
    """
    queue = parts.bus.queue(INBOUND, shard_of(conversation, parts.bus.settings.shards))
    with bus_errors("a message could not be looked up"):
        rows: Any = await queue.redis.xrange(queue.stream, turn, turn)
    return bool(rows)


async def _next(events: AsyncIterator[LiveEvent]) -> LiveEvent:
    return await anext(events)


async def _found(parts: ApiParts, conversation: str, turn: str) -> Outcome | None:
    with contextlib.suppress(BusError):
        return await finished(parts, conversation, turn)
    return None


def _late(*, closing: bool) -> NotWaited:
    where = "The message was stored; its answer will be in the session's history."
    if closing:
        return NotWaited(503, "restarting", "This server restarts.", where)
    return NotWaited(504, "reply_late", "The answer takes longer than this request may.", where)
