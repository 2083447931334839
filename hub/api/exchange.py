"""One message and its reply: stored, followed while it is answered, cancelled when nobody waits for it any more."""

import asyncio
import contextlib
import math
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import structlog

from hub.api.parts import ApiParts
from hub.api.problems import FieldError, Problem, too_many, unavailable
from hub.api.replies import ClientGone, NotWaited, Outcome, Progress, finished, follow, is_open
from hub.bus.queue import MAX_BODY_BYTES
from hub.errors import BusError
from hub.keys import ApiKey
from hub.messages import Address, Generation, InboundMessage, PromptMessage, conversation_id
from hub.traces.intake import caller_trace

log = structlog.get_logger(__name__)

CONNECTOR = "api"
ALONE_KEPT_S = 3600
"""How long a turn is kept that belongs to no session: long enough for whoever missed its end."""
NAMED_KEPT_S = 25 * 3600
"""The same with an Idempotency-Key, which may be repeated for a day."""
PLACE_AGAIN_S = 2
"""When a key comes again whose requests are as many as they may be: about the time of a short answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What a client asks, however it came."""

    text: str = ""
    """For the assistant."""
    earlier: tuple[PromptMessage, ...] = ()
    generation: Generation | None = None
    """For a model itself."""
    session_id: str = ""
    """Empty: it belongs to no session."""
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """One request, ready to be published."""

    message: InboundMessage
    session_id: str
    is_named: bool
    """Whether it carries an Idempotency-Key."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message that is stored."""

    turn: str
    progress: Progress


def question_for(key: ApiKey, asking: Asking, *, name: str = "", alone: str = "") -> Question:
    """Make the message for what a key's owner asks.

    Args:
        name: the Idempotency-Key.
        alone: what the conversation is called when it belongs to no session; made up when it is empty.

    Raises: Problem: 413 when it is larger than a message may be.
    """
    is_alone = not asking.session_id
    session_id = asking.session_id or alone or secrets.token_urlsafe(16)
    generation = asking.generation
    if generation is not None:
        generation = generation.model_copy(update={"with_history": not is_alone})
    kept_s = NAMED_KEPT_S if name else ALONE_KEPT_S
    message = InboundMessage(
        # The blank cannot stand in an Idempotency-Key: the two kinds never meet.
        external_key=f"api:{key.id}:{name or ' ' + secrets.token_hex(16)}",
        conversation=conversation_id(CONNECTOR, key.id, session_id),
        address=Address(
            connector=CONNECTOR, account=key.id, chat=session_id, person=f"{key.id}:{session_id}"
        ),
        text=asking.text,
        stream=asking.stream,
        earlier=asking.earlier,
        generation=generation,
        # One that is repeated by its name would be told of the refusal again and again.
        is_refusable=generation is not None and not name,
        tier=key.tier,
        kept_s=kept_s if is_alone else 0,
        trace=caller_trace(),
    )
    if len(message.model_dump_json().encode("utf-8", "replace")) > MAX_BODY_BYTES:
        raise Problem(
            413,
            "prompt_too_large",
            f"What is asked, written as JSON, takes more than {MAX_BODY_BYTES} bytes.",
            errors=[FieldError("", f"at most {MAX_BODY_BYTES} bytes")],
        )
    return Question(message, session_id, bool(name))


@asynccontextmanager
async def exchanging(parts: ApiParts, question: Question, gone: asyncio.Event) -> AsyncIterator[Exchange]:
    """Store a message and follow it while the block lasts.

    When the client leaves before the end the turn is cancelled, unless the request can be repeated by its name.

    Raises:
        Problem: it was not stored, or the answer takes too long.
        ClientGone: the client has left.
        BusError: Redis is away.
    """
    conversation = question.message.conversation
    # Listening before publishing: a quick reply must not be missed.
    async with AsyncExitStack() as place, parts.live.listen(conversation) as events:
        _take(place, parts, question.message)
        turn, known = await _publish(parts, question)
        progress = _only(known) if known else follow(parts, events, conversation, turn, gone)
        # Whoever has read the end may ask again at once.
        progress = _leaving(progress, place)
        try:
            async with aclosing(progress):
                yield Exchange(turn, progress)
        except ConnectionError:
            if known is None and not question.is_named:
                await _cancel(parts, conversation, turn)
            raise ClientGone from None
        except NotWaited as problem:
            # Of a session the answer can be read later; of any other request nobody could ever get it.
            if question.is_named or not question.message.kept_s:
                raise
            await _cancel(parts, conversation, turn)
            raise problem.for_good() from None


def _take(place: AsyncExitStack, parts: ApiParts, message: InboundMessage) -> None:
    """Take one of the places of a key, so that the others' requests find room in the engines.

    Raises: Problem: 429 when all of them are taken.
    """
    key, tier = message.address.account, parts.key_settings.tiers.get(message.tier)
    most = tier.at_once if tier else 1
    if not place.enter_context(parts.places.take(key, most)):
        detail = f"{most} requests of this key are being answered, which is as many as there may be at once."
        raise too_many("too_many_at_once", detail, PLACE_AGAIN_S)


async def _cancel(parts: ApiParts, conversation: str, turn: str) -> None:
    """Stop a turn that nobody waits for; a Redis that is away is no reason to fail."""
    with contextlib.suppress(BusError):
        await parts.bus.cancel(conversation, turn)


async def _publish(parts: ApiParts, question: Question) -> tuple[str, Outcome | None]:
    """Store the message; returns its turn, and its end when it was asked and answered before."""
    published = await parts.bus.publish(question.message)
    match published.status:
        case "FULL":
            raise unavailable(
                "The hub is busy.", code="busy", retry_after_s=math.ceil(published.retry_after_s)
            )
        case "LANE_FULL":
            raise too_many("session_busy", "Too many messages wait in this session.", 5)
        case "OK":
            return published.entry, None
    if not question.is_named:
        # Our own repetition after a lost answer of Redis, not the client's.
        return published.entry, None
    return published.entry, await _earlier(parts, question.message.conversation, published.entry)


async def _earlier(parts: ApiParts, conversation: str, turn: str) -> Outcome:
    # The order matters: a turn that ends in between is in the history when it is no longer open.
    still_open = await is_open(parts, conversation, turn)
    if found := await finished(parts, conversation, turn):
        return found
    if still_open:
        raise Problem(
            409,
            "in_progress",
            "The first request with this key is being answered.",
            headers={"Retry-After": "2"},
        )
    raise Problem(410, "answer_gone", "This was answered before; the answer is no longer kept.")


async def _leaving(progress: Progress, place: AsyncExitStack) -> Progress:
    """Give the place back before the end is told."""
    async with aclosing(progress):
        async for event in progress:
            if isinstance(event, Outcome):
                await place.aclose()
            yield event


async def _only(outcome: Outcome) -> Progress:
    yield outcome
