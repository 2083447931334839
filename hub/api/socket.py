"""GET /ws/generate: requests and their answers over one WebSocket, one after another."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
import structlog
from aiohttp import WSMessage, WSMsgType, web
from pydantic import Field

from hub.api.addresses import limit_name, parse_address
from hub.api.auth import MAX_KEY_CHARS, authenticate, given_key, spend, verified
from hub.api.body import NotStrict, strict_json, validated
from hub.api.chat import SEND_TIMEOUT_S, asking_of, chat_answer
from hub.api.exchange import Question, exchanging, question_for
from hub.api.origins import is_own_page
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import Problem, of_status, too_many
from hub.api.replies import ClientGone, Outcome
from hub.api.requests import AskRequest
from hub.api.routes import OPEN, About, Answer, Gives, Route, Takes
from hub.api.schemas import Asked
from hub.errors import HubError
from hub.live import LiveEvent
from hub.settings import ApiSettings

log = structlog.get_logger(__name__)

HEARTBEAT_S = 20.0
"""How often a silent client is asked whether it is there; it has half as long to answer."""
CLOSE_TIMEOUT_S = 2.0
SOCKETS_PER_ADDRESS = 1000
BAD_MESSAGES = 3

# Close codes. Source: RFC 6455 section 7.4.1; 4xxx are ours.
UNSUPPORTED, BAD_DATA, RESTARTING, TRY_AGAIN = 1003, 1007, 1012, 1013
NOT_SIGNED_IN = 4401

MessageId = Annotated[str, Field(max_length=64)]


class SignIn(Asked):
    """The first message, where no header carried the key."""

    api_key: Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARS)]


class Cancel(Asked):
    """Stop the request that is being answered."""

    type: Literal["cancel"]
    id: MessageId = ""


class Ask(AskRequest):
    """A request."""

    type: Literal["generate"] = "generate"
    id: MessageId = ""
    """Comes back with everything that belongs to this request."""


class SocketRoutes:
    """The socket of the API."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts
        self._open: Counter[str] = Counter()

    def routes(self) -> list[Route]:
        """Return the route."""
        about = About(
            "socket",
            "Opens a WebSocket for requests and their answers; the key is a header or the first message.",
            "chat",
        )
        gives = Gives(
            Answer(status=101, media_type="", says="It is open."),
            faults={
                400: ("bad_handshake",),
                401: ("unauthorized",),
                403: ("origin_not_allowed",),
                426: ("upgrade_required",),
                429: ("too_many_connections", "too_many_failures"),
                503: ("unavailable",),
            },
        )
        return [Route("GET", "/ws/generate", self.serve, OPEN, about, Takes(), gives)]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it is closed."""
        _check_handshake(request, self._parts.settings)
        address = limit_name(parse_address(request.remote or ""))
        if self._open[address] >= SOCKETS_PER_ADDRESS:
            raise too_many("too_many_connections", "Too many sockets are open from here.", 30)
        self._open[address] += 1
        try:
            if key_text := given_key(request):
                await authenticate(self._parts, request)
            socket = web.WebSocketResponse(
                timeout=CLOSE_TIMEOUT_S,
                heartbeat=HEARTBEAT_S,
                compress=False,
                # aiohttp refuses what reaches the limit.
                max_msg_size=self._parts.settings.max_body_bytes + 1,
            )
            await socket.prepare(request)
            await _Session(self._parts, request, socket, key_text).run()
            return socket
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


class _Session:
    """A client that is connected: this task reads, another one answers."""

    def __init__(
        self, parts: ApiParts, request: web.Request, socket: web.WebSocketResponse, key_text: str
    ) -> None:
        self._parts = parts
        self._request = request
        self._socket = socket
        self._key_text = key_text
        self._is_gone = False
        self._answering: asyncio.Task[None] | None = None
        # Set when nobody wants the answer any more that is being made.
        self._unwanted = asyncio.Event()
        self._bad_messages = 0

    async def run(self) -> None:
        """Serve the client until it leaves or the server closes."""
        closing = asyncio.create_task(self._close_with_server())
        try:
            if await self._sign_in():
                while (message := await self._socket.receive()).type is WSMsgType.TEXT:
                    if not await self._take(message):
                        break
                if message.type is WSMsgType.BINARY:
                    await self._close(UNSUPPORTED)
        except ConnectionError:
            # It left while it was told something.
            pass
        finally:
            self._is_gone = True
            self._unwanted.set()
            closing.cancel()
            await asyncio.gather(closing, *filter(None, [self._answering]), return_exceptions=True)

    async def _close_with_server(self) -> None:
        await self._parts.stopping.wait()
        if self._answering is not None:
            # It is told by itself that the server closes.
            await asyncio.gather(self._answering, return_exceptions=True)
        await self._close(RESTARTING)

    # In

    async def _sign_in(self) -> bool:
        """Learn who it is, from the first message where no header told."""
        try:
            if not self._key_text:
                async with asyncio.timeout(self._parts.settings.read_timeout_s):
                    message = await self._socket.receive()
                text = message.data if message.type is WSMsgType.TEXT else ""
                self._key_text = validated(SignIn, _document(text)).api_key
                await verified(self._parts, self._request, self._key_text)
        except (Problem, TimeoutError, HubError) as error:
            late = Problem(401, "unauthorized", 'The first message must be {"api_key": ...}.')
            problem = (
                error if isinstance(error, Problem) else _away() if isinstance(error, HubError) else late
            )
            await self._tell_end(problem, "")
            await self._close(NOT_SIGNED_IN)
            return False
        await self._send({"type": "ready"})
        return True

    async def _take(self, message: WSMessage) -> bool:
        """Take one message; False when the client sends nothing but rubbish."""
        message_id = ""
        try:
            document = _document(message.data)
            message_id = _id_of(document)
            if document.get("type") == "cancel":
                self._cancel(validated(Cancel, document))
            else:
                await self._ask(validated(Ask, document))
        except Problem as problem:
            await self._refuse(problem, message_id)
            self._bad_messages += problem.code == "invalid_json"
            if self._bad_messages >= BAD_MESSAGES:
                await self._close(BAD_DATA)
                return False
        except HubError as error:
            log.warning("socket_request_failed", error=str(error))
            await self._refuse(_away(), message_id)
        return True

    async def _ask(self, asked: Ask) -> None:
        if self._answering is not None and not self._answering.done():
            raise Problem(409, "in_progress", "Another request of this socket is being answered.")
        # Looked up each time: a key that was revoked meanwhile opens nothing more.
        key = await verified(self._parts, self._request, self._key_text)
        await spend(self._parts, key, self._request)
        asking = asking_of(asked.model_copy(update={"stream": True}), asked.session_id or "")
        question = question_for(key, asking)
        self._unwanted = asyncio.Event()
        self._answering = asyncio.create_task(self._answer(asked.id, question), name="socket-answer")

    def _cancel(self, cancel: Cancel) -> None:
        if self._answering is None or self._answering.done():
            raise Problem(404, "not_found", "There is nothing to cancel.")
        self._unwanted.set()

    # Out

    async def _answer(self, message_id: str, question: Question) -> None:
        try:
            async with exchanging(self._parts, question, self._unwanted) as exchange:
                started = {"turn": exchange.turn, "session_id": question.session_id}
                await self._send({"type": "turn", "id": message_id, **started})
                async for event in exchange.progress:
                    if event is not None:
                        await self._show(event, message_id, question)
        except ClientGone:
            if not self._is_gone:
                await self._tell_end(Problem(409, "cancelled", "This request was cancelled."), message_id)
        except Problem as problem:
            await self._tell_end(problem, message_id)
        except HubError as error:
            log.warning("socket_request_failed", error=str(error))
            await self._tell_end(_away(), message_id)
        except Exception:
            log.exception("socket_answer_failed")
            await self._close(TRY_AGAIN)

    async def _show(self, event: LiveEvent | Outcome, message_id: str, question: Question) -> None:
        match event:
            case Outcome():
                answer = chat_answer(event, question).model_dump(mode="json")
                await self._send({"type": "final", "id": message_id, **answer})
            case LiveEvent(kind="delta"):
                piece = {"offset": event.offset, "text": event.text}
                await self._send({"type": "delta", "id": message_id, "turn": event.turn, **piece})
            case LiveEvent(kind="waiting"):
                waiting = {"turn": event.turn, "wait_s": event.wait_s}
                await self._send({"type": "waiting", "id": message_id, **waiting})
            case LiveEvent(kind="reset"):
                await self._send({"type": "reset", "id": message_id, "turn": event.turn})

    async def _tell_end(self, problem: Problem, message_id: str) -> None:
        with contextlib.suppress(ConnectionError):
            await self._refuse(problem, message_id)

    async def _refuse(self, problem: Problem, message_id: str) -> None:
        document = orjson.loads(problem.document(self._request[CONTEXT].request_id))
        told = {name: value for name, value in document.items() if name not in ("type", "title")}
        if retry := problem.headers.get("Retry-After"):
            told["retry_after_s"] = int(retry)
        await self._send({"type": "error", "id": message_id, **told})

    async def _send(self, document: Mapping[str, Any]) -> None:
        """Send a message.

        Raises: ConnectionError: the client has gone, or takes nothing.
        """
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send_str(orjson.dumps(document).decode())
        except TimeoutError:
            log.warning("socket_too_slow")
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionError("the client takes nothing") from None

    async def _close(self, code: int) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code=code, drain=False)


def _check_handshake(request: web.Request, settings: ApiSettings) -> None:
    """Refuse what is no WebSocket of this version, and pages of other sites.

    A key is no cookie, so a foreign page could do nothing with a socket; but none has a reason to open one.
    """
    if request.headers.get("Upgrade", "").lower() != "websocket":
        problem = of_status(426)
        problem.headers.update({"Upgrade": "websocket", "Connection": "Upgrade"})
        raise problem
    if request.headers.get("Sec-WebSocket-Version") != "13":
        # aiohttp would speak the drafts 7 and 8 as well.
        raise Problem(
            400, "bad_handshake", "This server speaks version 13.", headers={"Sec-WebSocket-Version": "13"}
        )
    if not is_own_page(request, settings.public_url, also=settings.cors_origins):
        raise Problem(403, "origin_not_allowed", "Pages of other sites may not open this socket.")


def _document(text: str) -> dict[str, Any]:
    try:
        document = strict_json(text.encode())
    except (NotStrict, UnicodeError):
        raise Problem(400, "invalid_json", "The message is no JSON this server takes.") from None
    if not isinstance(document, dict):
        raise Problem(400, "invalid_json", "A message is a JSON object.")
    return document


def _id_of(document: Mapping[str, Any]) -> str:
    """Return the id a message is answered with, if it is one."""
    given = document.get("id", "")
    return given if isinstance(given, str) and len(given) <= 64 else ""


def _away() -> Problem:
    return Problem(503, "unavailable", "A part of the hub is away for now.")
