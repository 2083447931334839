"""POST /v1/chat/completions and /v1/completions."""

import math
import secrets

import orjson
from aiohttp import web
from pydantic import BaseModel

from hub.api.body import Model, read_json, read_query
from hub.api.chat import ANSWERING, CLIENT_LEFT, event_stream, write_in_time
from hub.api.deadline import client_gone
from hub.api.exchange import Asking, Exchange, exchanging, question_for
from hub.api.idempotency import idempotency_key, remember
from hub.api.openai.answers import ChatForm, Completion, Form, Json, TextForm
from hub.api.openai.errors import error_object
from hub.api.openai.requests import ChatCompletionRequest, CompletionRequest, Shared
from hub.api.openai.schemas import ChatCompletion, ChatCompletionChunk, TextCompletion
from hub.api.openai.transcript import Transcript
from hub.api.outcomes import problem_of
from hub.api.parts import ApiParts
from hub.api.problems import Problem
from hub.api.replies import ClientGone, Outcome, Progress
from hub.api.requests import Said, earlier_of, for_assistant, prompt_messages, question_of
from hub.api.routes import EVENTS, KEY, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery
from hub.keys import ApiKey
from hub.live import LiveEvent
from hub.messages import utc_now

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b":\n\n"


class CompletionRoutes:
    """Chat completions and completions."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the routes."""
        chat = About("chat_completion", "Answers messages.", "openai")
        text = About("completion", "Continues a prompt as it stands.", "openai")
        return [
            Route(
                "POST", "/v1/chat/completions", self.chat, KEY, chat,
                Takes(query=NoQuery, body=ChatCompletionRequest, can_repeat=True),
                _gives(ChatCompletion, ChatCompletionChunk),
            ),
            Route(
                "POST", "/v1/completions", self.text, KEY, text,
                Takes(query=NoQuery, body=CompletionRequest, can_repeat=True),
                _gives(TextCompletion, TextCompletion),
            ),
        ]  # fmt: skip

    async def chat(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """Answer messages."""
        asked = await self._read(request, ChatCompletionRequest)
        return await self._answer(
            request, key, asked, _asking_chat(asked), ChatForm(with_sources=for_assistant(asked.model))
        )

    async def text(self, request: web.Request, key: ApiKey) -> web.StreamResponse:
        """Go on from a prompt."""
        asked = await self._read(request, CompletionRequest)
        return await self._answer(request, key, asked, _asking_text(asked), TextForm())

    async def _read(self, request: web.Request, model: type[Model]) -> Model:
        read_query(request, NoQuery)
        return await read_json(request, model, self._parts.settings)

    async def _answer(
        self, request: web.Request, key: ApiKey, asked: Shared, asking: Asking, form: Form
    ) -> web.StreamResponse:
        name, alone = idempotency_key(request), secrets.token_urlsafe(16)
        if name:
            alone = await remember(self._parts.bus.redis, key.id, name, asked, alone)
        question = question_for(key, asking, name=name, alone=alone)
        try:
            async with exchanging(self._parts, question, client_gone(request)) as exchange:
                completion = Completion(form, turn=exchange.turn, model=asked.model, began=utc_now())
                if asked.stream:
                    return await _stream(request, exchange, completion, with_usage=asked.includes_usage)
                async for event in exchange.progress:
                    if isinstance(event, Outcome):
                        return _json(completion.whole(_checked(event)))
        except ClientGone:
            return web.Response(status=CLIENT_LEFT)
        raise AssertionError("progress ends with an outcome or raises")


def _gives(whole: type[BaseModel], piece: type[BaseModel]) -> Gives:
    return Gives(
        Answer(model=whole, says="The answer."),
        Answer(
            media_type=EVENTS,
            says="With `stream`: the answer as it is generated; after the last piece comes `[DONE]`.",
            events={"": piece},
        ),
        faults={**ANSWERING, 502: ("not_answered", "answer_changed")},
    )


def _asking_chat(asked: ChatCompletionRequest) -> Asking:
    stream = bool(asked.stream)
    if for_assistant(asked.model):
        return Asking(text=question_of(asked.said), earlier=earlier_of(asked.said), stream=stream)
    messages = prompt_messages(asked.said)
    return Asking(generation=asked.sampling().generation(asked.model, messages, ""), stream=stream)


def _asking_text(asked: CompletionRequest) -> Asking:
    stream = bool(asked.stream)
    if for_assistant(asked.model):
        return Asking(text=question_of([Said(role="user", content=asked.text)]), stream=stream)
    return Asking(generation=asked.sampling().generation(asked.model, (), asked.text), stream=stream)


async def _stream(
    request: web.Request, exchange: Exchange, completion: Completion, *, with_usage: bool
) -> web.StreamResponse:
    """Send the pieces as server-sent events; an error before the first of them is answered with its status."""
    event = await _begun(exchange.progress)
    if isinstance(event, Outcome):
        _checked(event)
    response = event_stream()
    await response.prepare(request)
    transcript = Transcript()

    async def send(*documents: Json) -> None:
        lines = b"".join(b"data: " + orjson.dumps(document) + b"\n\n" for document in documents)
        await write_in_time(request, response, lines or KEEP_ALIVE)

    try:
        await send(*completion.first())
        while not isinstance(event, Outcome):
            if event is None:
                await send()
            elif event.kind == "waiting":
                await write_in_time(request, response, _waiting(event.wait_s))
            elif more := transcript.take(event):
                await send(completion.piece(more))
            event = await anext(exchange.progress)
        if rest := transcript.rest(_checked(event).text):
            await send(completion.piece(rest))
        await send(*completion.last(event, with_usage=with_usage))
    except Problem as problem:
        await send(error_object(problem))
    await response.write(DONE)
    await response.write_eof()
    return response


async def _begun(progress: Progress) -> LiveEvent | Outcome | None:
    """Wait until there is something to tell; that the turn was taken up is nothing."""
    async for event in progress:
        if not (isinstance(event, LiveEvent) and event.kind in ("typing", "reset")):
            return event
    raise AssertionError("progress ends with an outcome or raises")


def _waiting(wait_s: float) -> bytes:
    """Tell a person how long it will take; to clients of the protocol it is a comment, which they pass over."""
    return f": waiting {math.ceil(wait_s)} s\n\n".encode()


def _checked(outcome: Outcome) -> Outcome:
    """Return an answer or a notice.

    Raises: Problem: it is neither.
    """
    if (problem := problem_of(outcome)) is not None:
        raise problem
    return outcome


def _json(document: Json) -> web.Response:
    return web.Response(body=orjson.dumps(document), content_type="application/json")
