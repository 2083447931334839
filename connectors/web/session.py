"""One socket: who it is, what it asks, and the live text that goes back to it."""

import asyncio
import contextlib

import structlog
from aiohttp import WSMsgType, web

from connectors.live import LiveEvent
from connectors.web import frames
from connectors.web.afterwards import Afterwards
from connectors.web.asking import Asking
from connectors.web.frames import (
    Ask,
    Auth,
    ClientFrame,
    FrameError,
    Got,
    Judge,
    Leave,
    Ping,
    Resume,
    ShowHistory,
    Stop,
)
from connectors.web.mailed import RENEW_S
from connectors.web.pace import Bucket, address_name
from connectors.web.services import Services
from connectors.web.sites import Site
from connectors.web.uploads import MAX_FILE_BYTES
from connectors.web.visitors import Visitor
from hub.errors import BusError
from hub.text import language_tag, normalise

log = structlog.get_logger(__name__)

AUTH_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
QUEUE_FRAMES = 64
FRAMES_PER_10S = 100
"""Frames of any kind, pings included, before a socket is closed."""
AFTERWARDS_PER_10S = 20
"""Judgements, confirmations and addresses: each costs some work."""
BAD_FRAMES = 3
SLOW_DOWNS = 10

# Close codes. Source: RFC 6455 section 7.4.1 and the IANA registry; 4xxx are ours.
UNSUPPORTED, BAD_DATA, POLICY, RESTARTING, TRY_AGAIN = 1003, 1007, 1008, 1012, 1013
NOT_SIGNED_IN, OTHER_VISITOR = 4401, 4403


class ChatSession:
    """A page that is connected.

    Three tasks: this one reads frames, one passes live events on, one writes. Whatever goes out waits in a
    bounded queue; a page that does not read is closed with 1013 and takes up again where it was.
    """

    def __init__(
        self, socket: web.WebSocketResponse, request: web.Request, services: Services, *, silence_s: float
    ) -> None:
        self._socket = socket
        self._transport = request.transport
        self._address = address_name(request)
        self._language = language_tag(
            request.headers.get("Accept-Language", "").partition(",")[0].partition(";")[0].strip()
        )
        self._origin = request.headers.get("Origin", "")
        self._page = services.sites.of_page(self._origin, request.host)
        """The site of the page where it needs no key; None where it does."""
        self._services = services
        self._silence_s = silence_s
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_FRAMES)
        # While a message is being published, events wait: `accepted` always comes before the first of its turn.
        self._order = asyncio.Lock()
        self._frames = Bucket(FRAMES_PER_10S)
        self._afterwards_pace = Bucket(AFTERWARDS_PER_10S)
        self._bad_frames = 0
        self._slow_downs = 0
        self._closing: asyncio.Task[None] | None = None
        self._close_code: int | None = None

    async def run(self) -> None:
        """Serve the socket until it is closed."""
        try:
            visitor = await self._authenticate()
        except BusError:
            await self._socket.send_str(frames.dump("err", code="unavailable", retry_ms=2000))
            await self.close(TRY_AGAIN)
            return
        site = None if visitor is None else self._site_of(visitor)
        if visitor is None or site is None:
            await self.close(NOT_SIGNED_IN)
            return
        if self._services.publish() is None:
            await self._socket.send_str(frames.dump("err", code="starting", retry_ms=1000))
            await self.close(TRY_AGAIN)
            return
        log.info("widget_connected", conversation=visitor.conversation, site=site.name)
        try:
            await self._serve(visitor, site)
        finally:
            code = self._close_code or self._socket.close_code
            log.info("widget_disconnected", conversation=visitor.conversation, code=code)

    async def _serve(self, visitor: Visitor, site: Site) -> None:
        self._asking = Asking(self._services, site, visitor, self._language)
        self._afterwards = Afterwards(self._services, visitor, self._address)
        tasks = [
            asyncio.create_task(self._listen(visitor), name="web-listen"),
            asyncio.create_task(self._write(), name="web-write"),
            asyncio.create_task(self._stay(visitor), name="web-stay"),
        ]
        try:
            await self._read(visitor)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._closing is not None:
                await self._closing

    async def close(self, code: int) -> None:
        """Close with this code; a peer that does not answer is cut off."""
        self._close_code = self._close_code or code
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code=code, drain=False)
        except TimeoutError:
            pass
        finally:
            if self._transport is not None and self._socket.close_code == 1006:
                self._transport.abort()

    def close_soon(self, code: int) -> None:
        """Close from inside one of the session's own tasks; the first code stands."""
        if self._closing is None:
            self._closing = asyncio.create_task(self.close(code), name="web-close")

    async def _authenticate(self) -> Visitor | None:
        try:
            async with asyncio.timeout(AUTH_TIMEOUT_S):
                message = await self._socket.receive()
            if message.type is not WSMsgType.TEXT:
                return None
            frame = frames.parse(message.data, max_text_chars=self._services.settings.max_text_chars)
        except (TimeoutError, FrameError):
            return None
        if not isinstance(frame, Auth):
            return None
        self._language = language_tag(frame.language) or self._language
        if not frame.token and not frame.ticket:
            return self._services.tokens.new_visitor(self._page.name) if self._page else None
        visitor = await self._who(frame)
        if visitor is None:
            # Said apart from a late frame, which closes alike: only this makes the page drop its token.
            code = "bad_ticket" if frame.ticket else "bad_token"
            await self._socket.send_str(frames.dump("err", code=code))
        return visitor

    async def _who(self, auth: Auth) -> Visitor | None:
        if auth.ticket:
            return await self._services.tickets.redeem(auth.ticket, self._origin)
        return self._services.tokens.read(auth.token, self._page.name) if self._page else None

    def _site_of(self, visitor: Visitor) -> Site | None:
        if self._page is not None and self._page.name == visitor.site:
            return self._page
        return self._services.sites.named(visitor.site, self._origin)

    # Out

    def _post(self, frame_type: str, **fields: object) -> None:
        try:
            self._queue.put_nowait(frames.dump(frame_type, **fields))
        except asyncio.QueueFull:
            if self._closing is None:
                log.warning("widget_too_slow", origin=self._origin[:200])
            self.close_soon(TRY_AGAIN)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._socket.send_str(await self._queue.get())

    async def _listen(self, visitor: Visitor) -> None:
        """Pass live events on; entered before the history is read, so that nothing falls between the two."""
        try:
            async with self._services.live.listen(visitor.conversation) as events:
                self._post("ready", **await self._greeting(visitor))
                async for event in events:
                    async with self._order:
                        self._pass_on(visitor, event)
        except BusError:
            self._post("err", code="unavailable", retry_ms=2000)
        except Exception:
            log.exception("widget_listening_failed", conversation=visitor.conversation)
        # Without events the page would wait for ever: let it connect again, perhaps to another process.
        self.close_soon(TRY_AGAIN)

    async def _stay(self, visitor: Visitor) -> None:
        """Show to all processes that a page is open, where an answer could go by mail instead."""
        while self._services.mailed.is_on:
            with contextlib.suppress(BusError):
                await self._services.mailed.note_presence(visitor.conversation)
            await asyncio.sleep(RENEW_S)

    async def _greeting(self, visitor: Visitor) -> frames.Json:
        services = self._services
        files = {"bytes": MAX_FILE_BYTES, "count": frames.MAX_FILES}
        return {
            # What a site signs lasts as long as its signature: a token would outlive it.
            "token": "" if visitor.is_verified else services.tokens.sign(visitor),
            "conversation": visitor.conversation,
            "history": await self._past(visitor, frames.MAX_HISTORY),
            "limits": {
                "text_chars": services.settings.max_text_chars,
                "frame_bytes": frames.MAX_FRAME_BYTES,
            },
            "features": {
                "feedback": services.feedback is not None,
                "files": files if services.reader else None,
                "mail": services.mailed.is_on,
            },
            "person": {"name": visitor.name, "email": visitor.email},
        }

    def _pass_on(self, visitor: Visitor, event: LiveEvent) -> None:
        handle = self._services.tokens.handle(visitor.conversation, event.turn)
        match event.kind:
            case "delta":
                self._post("delta", turn=handle, offset=event.offset, text=event.text)
            case "final" if event.message is not None:
                self._post("final", **frames.final_fields(event.message, handle))
            case "waiting":
                self._post("waiting", turn=handle, wait_s=round(event.wait_s, 1))
            case "typing" | "reset":
                self._post(event.kind, turn=handle)

    async def _past(self, visitor: Visitor, last: int) -> list[frames.Json]:
        turns = await self._services.history.turns(visitor.conversation, last=last)
        handle = self._services.tokens.handle
        return [frames.turn_fields(turn, handle(visitor.conversation, turn.turn)) for turn in turns]

    # In

    async def _read(self, visitor: Visitor) -> None:
        while True:
            try:
                message = await self._socket.receive(self._silence_s)
            except TimeoutError:
                # Pings are answered even by an idle page: whoever ends no frame for so long sends one bit by bit.
                self.close_soon(POLICY)
                return
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            if self._frames.take():
                self.close_soon(POLICY)
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.BINARY:
                self.close_soon(UNSUPPORTED)
            elif message.type is WSMsgType.TEXT and self._closing is None:
                await self._take(visitor, message.data)

    async def _take(self, visitor: Visitor, data: str) -> None:
        try:
            await self._obey(
                visitor, frames.parse(data, max_text_chars=self._services.settings.max_text_chars)
            )
        except FrameError as error:
            if error.code == "bad_json":
                self._bad_frames += 1
                if self._bad_frames >= BAD_FRAMES:
                    self.close_soon(BAD_DATA)
                    return
            self._post("err", code=error.code, **error.fields)
        except BusError:
            self._post("err", code="unavailable", retry_ms=2000)

    async def _obey(self, visitor: Visitor, frame: ClientFrame) -> None:
        match frame:
            case Ask():
                await self._ask(visitor, frame)
            case Resume():
                await self._resume(visitor, frame)
            case Stop():
                await self._stop(visitor, frame)
            case ShowHistory():
                await self._show_history(visitor, frame)
            case Judge() | Got() | Leave():
                if wait_ms := self._afterwards_pace.take():
                    raise FrameError("slow_down", retry_ms=wait_ms)
                kind, fields = await self._afterwards.take(frame)
                self._post(kind, **fields)
            case Ping():
                self._post("pong")
            case Auth():
                if await self._who(frame) != visitor:
                    self.close_soon(OTHER_VISITOR)

    async def _show_history(self, visitor: Visitor, wish: ShowHistory) -> None:
        if wish.conversation not in (None, visitor.conversation):
            raise FrameError("not_found")
        self._post("history", history=await self._past(visitor, wish.last))

    async def _ask(self, visitor: Visitor, ask: Ask) -> None:
        if not ask.files and not normalise(ask.text).strip():
            raise FrameError("empty", id=ask.id)
        if wait_ms := self._services.pace.take_message(visitor.id, self._address):
            self._slow_downs += 1
            if self._slow_downs >= SLOW_DOWNS:
                self.close_soon(POLICY)
            raise FrameError("slow_down", id=ask.id, retry_ms=wait_ms)
        async with self._order:
            accepted = await self._asking.publish(ask)
            handle = self._services.tokens.handle(visitor.conversation, accepted.turn)
            self._post("accepted", id=ask.id, turn=handle)
        self._slow_downs = 0
        if self._asking.said_otherwise(ask):
            raise FrameError("conflict", id=ask.id)

    async def _stop(self, visitor: Visitor, stop: Stop) -> None:
        """Cancel what the visitor no longer wants to know, and tell which turns that were."""
        tokens, conversation = self._services.tokens, visitor.conversation
        turn = tokens.turn(conversation, stop.turn) if stop.turn else ""
        if turn is None:
            raise FrameError("not_found")
        stopped = await self._services.turns.cancel(conversation, turn)
        self._post("stopped", turns=[tokens.handle(conversation, each) for each in stopped])

    async def _resume(self, visitor: Visitor, resume: Resume) -> None:
        """Send what is missing of a turn: its final reply if there is one, else the text so far."""
        turn = self._services.tokens.turn(visitor.conversation, resume.turn)
        if turn is None:
            # An unknown turn and somebody else's look alike.
            self.close_soon(OTHER_VISITOR)
            return
        for past in await self._services.history.turns(visitor.conversation, last=frames.MAX_HISTORY):
            if past.turn == turn:
                self._post("final", **frames.past_final_fields(past, resume.turn))
                return
        if await self._services.turns.was_cancelled(visitor.conversation, turn):
            self._post("final", **frames.cancelled_fields(resume.turn))
            return
        async with self._order:
            text = await self._services.live.partial(turn)
            have = resume.missing(text)
            if have < 0:
                self._post("reset", turn=resume.turn)
            if text[max(have, 0) :] or have < 0:
                self._post("delta", turn=resume.turn, offset=max(have, 0), text=text[max(have, 0) :])
            else:
                # Whoever asks hears something, or would take the line for dead.
                self._post("pong")
