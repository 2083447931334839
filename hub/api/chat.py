"""POST /chat and /generate: a message in, its reply out, at once or as it is generated; and a session's turns."""

import asyncio
import secrets

import orjson
from aiohttp import web
from pydantic import BaseModel

from hub.api.body import read_json, read_query
from hub.api.deadline import client_gone
from hub.api.exchange import CONNECTOR, Asking, Exchange, Question, exchanging, question_for
from hub.api.idempotency import idempotency_key, remember
from hub.api.outcomes import problem_of
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import Problem, ProblemDocument
from hub.api.replies import ClientGone, Outcome
from hub.api.requests import ASSISTANT, AskRequest
from hub.api.routes import EVENTS, KEY, PREFIX, About, Answer, Faults, Gives, Route, Takes, with_short_forms
from hub.api.schemas import (
    ChatAnswer,
    DeltaEvent,
    HistoryAnswer,
    HistoryQuery,
    NoQuery,
    ShownTurn,
    TurnStarted,
    WaitingEvent,
)
from hub.keys import ApiKey
from hub.live import LiveEvent
from hub.messages import conversation_id

SEND_TIMEOUT_S = 30.0
"""A client that takes nothing for so long is let go."""
CLIENT_LEFT = 499
"""Status in the log of a request whose client did not wait; nobody sees it on the wire."""

TAG = "chat"
STREAMED = {
    "turn": TurnStarted,
    "waiting": WaitingEvent,
    "delta": DeltaEvent,
    "reset": None,
    "final": ChatAnswer,
    "error": ProblemDocument,
}
"""Events of a stream."""
ANSWERING: Faults = {
    400: ("invalid_id", "option_refused", "context_length_exceeded", "blocked"),
    404: ("model_not_found",),
    409: ("in_progress", "cancelled"),
    410: ("answer_gone",),
    413: ("prompt_too_large",),
    429: ("session_busy", "too_many_at_once"),
    502: ("not_answered",),
    503: ("busy", "restarting", "model_unavailable", "model_busy"),
    504: ("reply_late",),
}
"""What can become of a message that is to be answered."""


class ChatRoutes:
    """Chat and history."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the routes."""
        takes = Takes(query=NoQuery, body=AskRequest, can_repeat=True)
        gives = Gives(
            Answer(model=ChatAnswer, says="The reply."),
            Answer(media_type=EVENTS, says="With `stream`: the reply as it is generated.", events=STREAMED),
            faults=ANSWERING,
        )
        chat = About("chat", "Gives the reply to a message of a session.", TAG)
        generate = About("generate", "Gives the reply to a message that belongs to no session.", TAG)
        history = About("history", "Gives the latest turns of a session, oldest first.", TAG)
        told = Gives(Answer(model=HistoryAnswer, says="The turns."), faults={400: ("invalid_id",)})
        return [
            *with_short_forms(
                [
                    Route("POST", f"{PREFIX}/chat", self.chat, KEY, chat, takes, gives),
                    Route("POST", f"{PREFIX}/generate", self.generate, KEY, generate, takes, gives),
                ]
            ),
            Route("GET", f"{PREFIX}/history", self.history, KEY, history, Takes(query=HistoryQuery), told),
        ]

    async def chat(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """Publish a message in its session and answer with its reply."""
        return await self._serve(request, key, in_session=True)

    async def generate(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """Publish a message that belongs to no session, unless it names one, and answer with its reply."""
        return await self._serve(request, key, in_session=False)

    async def _serve(self, request: web.Request, key: ApiKey, *, in_session: bool) -> web.StreamResponse:
        read_query(request, NoQuery)
        asked = await read_json(request, AskRequest, self._parts.settings)
        name = idempotency_key(request)
        session_id = asked.session_id or secrets.token_urlsafe(16)
        if name:
            session_id = await remember(self._parts.bus.redis, key.id, name, asked, session_id)
        # What is continued as it stands has no session that could go on.
        is_alone = asked.raw or not (in_session or asked.session_id)
        asking = asking_of(asked, "" if is_alone else session_id)
        question = question_for(key, asking, name=name, alone=session_id)
        try:
            async with exchanging(self._parts, question, client_gone(request)) as exchange:
                if asked.stream:
                    return await _stream(request, exchange, question)
                return await _whole(exchange, question)
        except ClientGone:
            return web.Response(status=CLIENT_LEFT)

    async def history(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with the latest turns of one of the key's sessions."""
        query = read_query(request, HistoryQuery)
        turns = await self._parts.bus.history.turns(
            conversation_id(CONNECTOR, key.id, query.session_id), query.last
        )
        if self._parts.citations is not None:
            turns = await self._parts.citations.marked(turns)
        return _json(
            HistoryAnswer(session_id=query.session_id, turns=[ShownTurn(**dict(turn)) for turn in turns])
        )


def asking_of(asked: AskRequest, session_id: str) -> Asking:
    """Say what a request asks, of the assistant or of a model itself.

    Args:
        session_id: empty when it belongs to no session.
    """
    if (generation := asked.direct()) is not None:
        return Asking(generation=generation, session_id=session_id, stream=asked.stream)
    return Asking(text=asked.question, earlier=asked.earlier, session_id=session_id, stream=asked.stream)


def chat_answer(outcome: Outcome, question: Question) -> ChatAnswer:
    """Make the answer to a question.

    Raises: Problem: a model that was asked itself has none.
    """
    generation = question.message.generation
    problem = problem_of(outcome)
    # What the assistant could not answer it says in a reply of kind `error`.
    if problem is not None and (generation is not None or outcome.kind == "cancelled"):
        raise problem
    return ChatAnswer.of(outcome, question.session_id, generation.model if generation else ASSISTANT)


async def _whole(exchange: Exchange, question: Question) -> web.Response:
    async for event in exchange.progress:
        if isinstance(event, Outcome):
            return _json(chat_answer(event, question))
    raise AssertionError("progress ends with an outcome or raises")


async def _stream(request: web.Request, exchange: Exchange, question: Question) -> web.StreamResponse:
    """Send server-sent events: `turn`, then `delta` and `reset`, at last `final` or `error`."""
    response = event_stream()
    await response.prepare(request)
    started = TurnStarted(turn=exchange.turn, session_id=question.session_id)
    await write_in_time(request, response, _event("turn", started))
    try:
        async for event in exchange.progress:
            await write_in_time(request, response, _shown(event, question))
    except Problem as problem:
        document = problem.document(request[CONTEXT].request_id)
        await write_in_time(request, response, b"event: error\ndata: " + document + b"\n\n")
    await response.write_eof()
    return response


async def write_in_time(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Send a piece of a streamed answer.

    Raises: ConnectionError: the client has gone, or takes nothing any more.
    """
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionError("the client takes nothing") from None


def event_stream() -> web.StreamResponse:
    """Begin an answer that consists of server-sent events."""
    return web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            # nginx would hold the text back.
            "X-Accel-Buffering": "no",
        }
    )


def _shown(event: LiveEvent | Outcome | None, question: Question) -> bytes:
    match event:
        case Outcome():
            return _event("final", chat_answer(event, question))
        case LiveEvent(kind="delta"):
            return _event("delta", DeltaEvent(turn=event.turn, offset=event.offset, text=event.text))
        case LiveEvent(kind="reset"):
            return b"event: reset\ndata: {}\n\n"
        case LiveEvent(kind="waiting"):
            return _event("waiting", WaitingEvent(turn=event.turn, wait_s=event.wait_s))
    # A comment: it keeps proxies from closing.
    return b":\n\n"


def _event(name: str, data: BaseModel) -> bytes:
    return f"event: {name}\ndata: ".encode() + orjson.dumps(data.model_dump(mode="json")) + b"\n\n"


def _json(answer: BaseModel) -> web.Response:
    return web.Response(body=orjson.dumps(answer.model_dump(mode="json")), content_type="application/json")
