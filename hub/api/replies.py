"""Waiting for the reply to a message: live while it is generated, from the history when the news was missed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from hub.api.parts import ApiParts
from hub.api.problems import Problem, unavailable
from hub.api.schemas import ChatAnswer
from hub.bus.bus import INBOUND
from hub.bus.connection import bus_errors
from hub.bus.keys import shard_of
from hub.errors import BusError
from hub.live import LiveEvent
from hub.messages import Turn

RECHECK_S = 5.0
"""How often the history is looked at, in case the news of a reply was lost."""


async def follow(
    parts: ApiParts, events: AsyncIterator[LiveEvent], turn: str, *, conversation: str, session_id: str
) -> AsyncGenerator[LiveEvent | ChatAnswer | None, None]:
    """Give what happens in a turn, up to its answer.

    Returns: events of kind `typing`, `delta` and `reset`; None at least every RECHECK_S; at last the answer.
    Raises: Problem: 504 when reply_timeout_s is over, 503 when the server closes; the reply is not lost.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + parts.settings.reply_timeout_s
    closing = asyncio.ensure_future(parts.stopping.wait())
    coming = asyncio.ensure_future(_next(events))
    try:
        while (left_s := deadline - clock()) > 0 and not closing.done():
            # The pending read is kept: cancelling it would end the iterator.
            wait_s = min(left_s, RECHECK_S)
            await asyncio.wait({coming, closing}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                if found := await _found(parts, conversation, turn):
                    yield ChatAnswer.of_turn(found, session_id)
                    return
                yield None
                continue
            event = coming.result()
            coming = asyncio.ensure_future(_next(events))
            if event.turn != turn:
                continue
            if event.message is not None:
                yield ChatAnswer.of_reply(event.message, session_id)
                return
            yield event
    finally:
        for task in (coming, closing):
            task.cancel()
        await asyncio.gather(coming, closing, return_exceptions=True)
    raise _late(closing=parts.stopping.is_set())


async def finished(parts: ApiParts, conversation: str, turn: str) -> Turn | None:
    """Return a turn that has ended.

    Raises: BusError: Redis is away.
    """
    turns = await parts.bus.history.turns(conversation, parts.bus.settings.history_turns)
    return next((found for found in reversed(turns) if found.turn == turn), None)


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


async def _found(parts: ApiParts, conversation: str, turn: str) -> Turn | None:
    with contextlib.suppress(BusError):
        return await finished(parts, conversation, turn)
    return None


def _late(*, closing: bool) -> Problem:
    where = "The message was stored; its answer will be in the session's history."
    if closing:
        return unavailable(f"This server restarts. {where}", code="restarting", retry_after_s=2)
    return Problem(504, "reply_late", f"The answer takes longer than this request may. {where}")
