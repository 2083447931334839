"""POST /chat and /generate: a message in, its reply out, at once or as it is generated; and a session's turns."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import orjson
from aiohttp import web
from pydantic import BaseModel

from hub.api.body import Model, read_json, read_query
from hub.api.idempotency import idempotency_key, remember
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import Problem, too_many, unavailable
from hub.api.replies import finished, follow, is_open
from hub.api.schemas import (
    ChatAnswer,
    ChatRequest,
    DeltaEvent,
    GenerateRequest,
    HistoryAnswer,
    HistoryQuery,
    NoQuery,
    TurnStarted,
)
from hub.keys import ApiKey
from hub.live import LiveEvent
from hub.messages import Address, InboundMessage, conversation_id

CONNECTOR = "api"


@dataclass(frozen=True, slots=True)
class Question:
    """One request, ready to be published."""

    message: InboundMessage
    session_id: str
    is_named: bool
    """Whether it carries an Idempotency-Key."""


class ChatRoutes:
    """Chat and history."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    async def chat(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """Publish a message and answer with its reply."""
        asked = await self._read(request, ChatRequest)
        return await self._answer(request, await self._question(request, key, asked))

    async def generate(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """Publish a message in a session of its own and answer with its reply."""
        alone = await self._read(request, GenerateRequest)
        asked = ChatRequest(prompt=alone.prompt, stream=alone.stream)
        return await self._answer(request, await self._question(request, key, asked))

    async def _answer(self, request: web.Request, question: Question) -> web.StreamResponse:
        conversation = question.message.conversation
        # Before publishing: a quick reply must not be missed.
        async with self._parts.live.listen(conversation) as events:
            turn, known = await self._publish(question)
            if known is not None:
                progress = _only(known)
            else:
                progress = follow(
                    self._parts, events, turn, conversation=conversation, session_id=question.session_id
                )
            async with aclosing(progress):
                if question.message.stream:
                    started = TurnStarted(turn=turn, session_id=question.session_id)
                    return await _stream(request, progress, started)
                async for event in progress:
                    if isinstance(event, ChatAnswer):
                        return _json(event)
        raise AssertionError("follow ends with an answer or raises")

    async def history(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with the latest turns of one of the key's sessions."""
        query = read_query(request, HistoryQuery)
        turns = await self._parts.bus.history.turns(
            conversation_id(CONNECTOR, key.id, query.session_id), query.last
        )
        return _json(HistoryAnswer(session_id=query.session_id, turns=turns))

    async def _read(self, request: web.Request, model: type[Model]) -> Model:
        read_query(request, NoQuery)
        return await read_json(request, model, self._parts.settings)

    async def _question(self, request: web.Request, key: ApiKey, asked: ChatRequest) -> Question:
        name = idempotency_key(request)
        session_id = asked.session_id or secrets.token_urlsafe(16)
        if name:
            session_id = await remember(self._parts.bus.redis, key.id, name, asked, session_id)
        message = InboundMessage(
            # The blank cannot stand in an Idempotency-Key: the two kinds never meet.
            external_key=f"api:{key.id}:{name or ' ' + secrets.token_hex(16)}",
            conversation=conversation_id(CONNECTOR, key.id, session_id),
            address=Address(
                connector=CONNECTOR, account=key.id, chat=session_id, person=f"{key.id}:{session_id}"
            ),
            text=asked.prompt,
            stream=asked.stream,
        )
        return Question(message, session_id, bool(name))

    async def _publish(self, question: Question) -> tuple[str, ChatAnswer | None]:
        """Store the message; returns its turn, and its answer when it was asked and answered before."""
        published = await self._parts.bus.publish(question.message)
        match published.status:
            case "FULL":
                raise unavailable("The hub is busy.", code="busy")
            case "LANE_FULL":
                raise too_many("session_busy", "Too many messages wait in this session.", 5)
            case "OK":
                return published.entry, None
        if not question.is_named:
            # Our own repetition after a lost answer of Redis, not the client's.
            return published.entry, None
        return published.entry, await self._earlier(question, published.entry)

    async def _earlier(self, question: Question, turn: str) -> ChatAnswer:
        conversation = question.message.conversation
        # The order matters: a turn that ends in between is in the history when it is no longer open.
        still_open = await is_open(self._parts, conversation, turn)
        if found := await finished(self._parts, conversation, turn):
            return ChatAnswer.of_turn(found, question.session_id)
        if still_open:
            raise Problem(
                409,
                "in_progress",
                "The first request with this key is being answered.",
                headers={"Retry-After": "2"},
            )
        raise Problem(410, "answer_gone", "This was answered before; the answer is no longer kept.")


async def _only(answer: ChatAnswer) -> AsyncGenerator[LiveEvent | ChatAnswer | None, None]:
    yield answer


async def _stream(
    request: web.Request, progress: AsyncIterator[LiveEvent | ChatAnswer | None], started: TurnStarted
) -> web.StreamResponse:
    """Send server-sent events: `turn`, then `delta` and `reset`, at last `final` or `error`."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            # nginx would hold the text back.
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    await response.write(_event("turn", started))
    try:
        async for event in progress:
            await response.write(_shown(event))
    except Problem as problem:
        document = problem.document(request[CONTEXT].request_id)
        await response.write(b"event: error\ndata: " + document + b"\n\n")
    await response.write_eof()
    return response


def _shown(event: LiveEvent | ChatAnswer | None) -> bytes:
    match event:
        case ChatAnswer():
            return _event("final", event)
        case LiveEvent(kind="delta"):
            return _event("delta", DeltaEvent(turn=event.turn, offset=event.offset, text=event.text))
        case LiveEvent(kind="reset"):
            return b"event: reset\ndata: {}\n\n"
    # A comment: it keeps proxies from closing, and finds out that the client has gone.
    return b":\n\n"


def _event(name: str, data: BaseModel) -> bytes:
    return f"event: {name}\ndata: ".encode() + orjson.dumps(data.model_dump(mode="json")) + b"\n\n"


def _json(answer: BaseModel) -> web.Response:
    return web.Response(body=orjson.dumps(answer.model_dump(mode="json")), content_type="application/json")
