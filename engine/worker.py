"""A member of the consumer group `engine`: takes one message at a time from each conversation and commits its reply."""

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from engine.answers import Answer, Answers, Recollection, TextSink, TurnStats
from engine.memory.conversation import ConversationMemory
from engine.receipts import Receipts
from engine.record import TurnRecord
from engine.stopping import RunningTurns, Stopped
from hub.bus.bus import Bus, outbound, parse_inbound
from hub.bus.consumer import GiveBack
from hub.bus.control import Order
from hub.bus.effects import Effect, event_effect, publish_effect, set_effect
from hub.bus.keys import Keys
from hub.bus.queue import Commit, Lease
from hub.errors import ContextWindowExceeded, HubError, ModelBusy, UnreadableEntry
from hub.events import TurnEvent
from hub.live import DeltaWriter, Live
from hub.messages import Course, InboundMessage, OutboundMessage, reply_id_of, utc_now
from hub.people import identity_of

log = structlog.get_logger(__name__)

GIVEN_UP = "I am sorry, I could not answer this message. Its operator has been told. Please try again in other words."
TOO_LONG = (
    "This message is too long for me: with its answer it takes at least {needed} tokens (words and parts of words), and I "
    "can hold {limit}. Please send a shorter one."
)
BUSY = "The model is busy: as much waits for it as may. Please try again in {wait_s} seconds."
LONGEST_BUSY_S = 30.0
"""A line may empty sooner than was estimated: whoever was refused is tried again after so long at most."""
CANCELLED_KEPT_S = 86_400
"""How long whoever asks for a cancelled turn is told what became of it."""
TYPING_AFTER_S = 0.02
"""A channel that shows no text on the way is told "typing" only when the answer takes longer."""


class TurnTimeout(HubError):
    """The model took longer than a turn may."""


class Worker:
    """Works on the heads of conversations; the handler of the inbound queue's consumer."""

    def __init__(
        self,
        bus: Bus,
        live: Live,
        assistant: Answers,
        *,
        memory: ConversationMemory,
        turn_timeout_s: float,
        receipts: Receipts | None = None,
        cleaned: Callable[[InboundMessage], InboundMessage] = lambda message: message,
    ) -> None:
        """Prepare to work.

        Args:
            cleaned: makes of a message what may be read, remembered and quoted of it.
        """
        self._bus = bus
        self._live = live
        self._assistant = assistant
        self._turn_timeout_s = turn_timeout_s
        self._memory = memory
        self._receipts = receipts
        self._cleaned = cleaned
        self._running = RunningTurns(bus)

    def obey(self, order: Order) -> None:
        """Stop turns that are cancelled, and hold nothing of who is forgotten; other orders are not for a worker."""
        if order.action == "forget":
            self._memory.let_go(order.audiences)
        self._running.obey(order)

    async def handle(self, lease: Lease) -> Commit:
        """Answer the message at the head of a conversation, unless it is cancelled."""
        try:
            message = self._cleaned(parse_inbound(lease.body))
        except UnreadableEntry as error:
            log.error("message_unreadable", turn=lease.head, error=str(error))
            return Commit(dead_letter=str(error))
        record = TurnRecord(self._bus.traces, lease, message)
        with record.running():
            try:
                return await self._running.run(
                    lease.head, message.conversation, partial(self._turn, lease, message, record)
                )
            except Stopped:
                return await self._withdraw(lease, message, record)

    async def _turn(self, lease: Lease, message: InboundMessage, record: TurnRecord) -> Commit:
        try:
            with record.recalling():
                recalled = await self._memory.recall(message, lease.head)
            answer = _said_by_operator(message) or await self._answer(lease, message, recalled.recollection)
        except ContextWindowExceeded as error:
            log.warning("message_too_long", turn=lease.head, limit=error.limit, needed=error.needed)
            text = TOO_LONG.format(needed=error.needed, limit=error.limit)
            return self._close(lease, message, record, text, code="context_length_exceeded")
        except ModelBusy as error:
            return await self._busy(lease, message, record, error.retry_after_s)
        stats = answer.stats
        course = record.course(stats)
        event = _event(
            lease,
            message,
            course,
            route=stats.route,
            kind_of_answer=answer.kind,
            code=answer.code,
            replaces=recalled.undone.turn,
            forgets=answer.forget,
            flagged=stats.flagged,
        )
        reply = _reply(lease, message, record, course, kind=answer.kind, text=answer.text).model_copy(
            update={
                "sources": answer.sources,
                "usage": answer.usage,
                "code": answer.code,
                "replaces": recalled.undone.turn,
            }
        )
        await self._memory.forget_elsewhere(message, answer, lease.head)
        keys = self._bus.keys(message.conversation)
        effects = (
            _publish(keys, reply),
            *self._memory.keep(message, answer, reply, recalled),
            *(await self._receipts.effects(keys, message, lease.head, answer) if self._receipts else ()),
            event_effect(keys, event.fields()),
        )
        told = partial(
            record.ended,
            course,
            route=stats.route,
            kind=answer.kind,
            sources=len(answer.sources),
            flagged=stats.flagged,
        )
        return Commit(effects, unless_cancelled=True, ended=told)

    async def _answer(self, lease: Lease, message: InboundMessage, recollection: Recollection) -> Answer:
        writer = self._live.writer(lease.head, message.conversation)
        if lease.attempts > 1 or lease.retries:
            await writer.reset()
        answered = asyncio.Event()
        typing = asyncio.create_task(_say_typing(writer, answered, at_once=message.stream))
        try:
            if message.stream:
                # What is shown of the turn comes after the word that it was taken up.
                await typing
            answer = await self._answer_in_time(
                message, recollection, writer if message.stream else _Unseen()
            )
        except asyncio.CancelledError:
            # The turn is another worker's by now, or cancelled: what still waits to be shown is not.
            typing.cancel()
            await writer.abandon()
            raise
        except Exception:
            await writer.close()
            raise
        finally:
            answered.set()
            await asyncio.gather(typing, return_exceptions=True)
        await writer.close()
        return answer

    async def _answer_in_time(
        self, message: InboundMessage, recollection: Recollection, sink: TextSink
    ) -> Answer:
        try:
            async with asyncio.timeout(self._turn_timeout_s):
                return await self._assistant.answer(message, recollection, sink)
        except TimeoutError:
            raise TurnTimeout(f"no answer within {self._turn_timeout_s:.0f} s") from None

    async def bury(self, lease: Lease) -> Commit:
        """Tell the person that a message is given up, and keep it for the operator."""
        reason = f"{lease.attempts - 1} attempts failed"
        try:
            message = self._cleaned(parse_inbound(lease.body))
        except UnreadableEntry as error:
            return Commit(dead_letter=str(error))
        record = TurnRecord(self._bus.traces, lease, message)
        with record.running():
            if await self._bus.is_cancelled(message.conversation, lease.head):
                return await self._withdraw(lease, message, record)
            log.error("message_given_up", turn=lease.head, conversation=message.conversation, reason=reason)
            return self._close(lease, message, record, GIVEN_UP, code="given_up", dead_letter=reason)

    async def _busy(
        self, lease: Lease, message: InboundMessage, record: TurnRecord, retry_after_s: float
    ) -> Commit:
        """Refuse whoever comes again by themselves; every other message waits and is tried again.

        Raises: GiveBack: it waits. That is no failed attempt, however often it happens.
        """
        log.info("model_busy", turn=lease.head, retry_after_s=round(retry_after_s, 1))
        wait_s = math.ceil(retry_after_s)
        if message.is_refusable:
            text = BUSY.format(wait_s=wait_s)
            return self._close(lease, message, record, text, code="model_busy", retry_after_s=wait_s)
        if message.stream:
            await self._live.writer(lease.head, message.conversation).waiting(retry_after_s)
        raise GiveBack(min(retry_after_s, LONGEST_BUSY_S))

    async def _withdraw(self, lease: Lease, message: InboundMessage, record: TurnRecord) -> Commit:
        """End a turn as if it had never been asked: what was shown is taken back, nothing is remembered."""
        await self._live.writer(lease.head, message.conversation).reset()
        keys = self._bus.keys(message.conversation)
        course = record.course()
        event = _event(lease, message, course, route="cancelled", kind_of_answer="cancelled")
        return Commit(
            (
                _publish(keys, _reply(lease, message, record, course, kind="cancelled", text="")),
                event_effect(keys, event.fields()),
                set_effect(keys.stopped(lease.head), {"at": utc_now().isoformat()}, ttl_s=CANCELLED_KEPT_S),
            ),
            ended=partial(record.ended, course, route="cancelled", kind="cancelled"),
        )

    def _close(
        self,
        lease: Lease,
        message: InboundMessage,
        record: TurnRecord,
        text: str,
        *,
        code: str,
        dead_letter: str = "",
        retry_after_s: int = 0,
    ) -> Commit:
        keys = self._bus.keys(message.conversation)
        course = record.course()
        reply = _reply(lease, message, record, course, kind="error", text=text)
        event = _event(lease, message, course, route="error", kind_of_answer="error", code=code)
        effects = (
            _publish(keys, reply.model_copy(update={"code": code, "retry_after_s": retry_after_s})),
            event_effect(keys, event.fields()),
        )
        told = partial(record.ended, course, route="error", kind="error", code=code)
        return Commit(effects, dead_letter, unless_cancelled=not dead_letter, ended=told)


def _said_by_operator(message: InboundMessage) -> Answer | None:
    """Return what an operator says in the assistant's place; None where it is for the assistant to answer."""
    if not message.spoken:
        return None
    return Answer(kind="notice", text=message.spoken, stats=TurnStats(route="operator"))


class _Unseen:
    """The sink of a channel that shows nothing before the answer is whole."""

    async def add(self, text: str) -> None:
        pass

    async def waiting(self, wait_s: float) -> None:
        pass

    async def reset(self) -> None:
        pass


async def _say_typing(writer: DeltaWriter, answered: asyncio.Event, *, at_once: bool) -> None:
    # An answer that is there at once needs no announcement, and its commit does not wait behind one.
    if not at_once:
        try:
            await asyncio.wait_for(answered.wait(), TYPING_AFTER_S)
        except TimeoutError:
            pass
        else:
            return
    await writer.typing()


def _event(lease: Lease, message: InboundMessage, course: Course, **what: Any) -> TurnEvent:
    """Tell what became of a message, what that took, and who had written it."""
    address = message.address
    fields: dict[str, Any] = {**course.model_dump(exclude={"received_at"}), "tier": message.tier, **what}
    return TurnEvent(
        turn=lease.head,
        connector=address.connector,
        conversation=message.conversation,
        account=address.account,
        person=address.person,
        identity=identity_of(address),
        is_group=address.is_group,
        asked_at_ms=round(message.received_at.timestamp() * 1000),
        is_passing=bool(message.kept_s),
        **fields,
    )


def _publish(keys: Keys, reply: OutboundMessage) -> Effect:
    body = reply.model_dump_json().encode("utf-8", "replace")
    return publish_effect(keys, outbound(reply.address.connector), reply.conversation, body)


def _reply(
    lease: Lease, message: InboundMessage, record: TurnRecord, course: Course, *, kind: str, text: str
) -> OutboundMessage:
    return OutboundMessage.model_validate(
        {
            "reply_id": reply_id_of(lease.head),
            "turn": lease.head,
            "conversation": message.conversation,
            "address": message.address,
            "kind": kind,
            "text": text,
            "reply": message.reply,
            "question": message.question,
            "course": course,
            "trace": record.trace,
        }
    )
