"""The web channel: sockets in, `publish` to the bus, live text and final replies back to the pages."""

import asyncio

import structlog
from aiohttp import web

from connectors.base import Progress, Publish
from connectors.web import frames, pages
from connectors.web.guard import GuardedSocket
from connectors.web.kept_files import KeptFiles
from connectors.web.mailed import MailedAnswers
from connectors.web.pace import Pace, address_name
from connectors.web.ports import Ports
from connectors.web.replies import refuse
from connectors.web.services import Services
from connectors.web.session import CLOSE_TIMEOUT_S, RESTARTING, ChatSession
from connectors.web.sign_in import SignIn
from connectors.web.sites import Sites
from connectors.web.tickets import Tickets
from connectors.web.uploads import Uploads
from connectors.web.visitors import VisitorTokens
from hub.messages import OutboundMessage
from hub.web_settings import WebSettings

log = structlog.get_logger(__name__)

HEARTBEAT_S = 20.0
"""How often a silent page is asked whether it is there; it has half as long to answer."""
SILENT_BEATS = 3
"""Heartbeats after which a page that has ended no frame is closed."""


class WebConnector:
    """Serves the widget and its WebSocket.

    It keeps nothing of its own: who a visitor is stands in the signed token, what was said in the history, what is
    being said in the live text, and what waits for something in the store. Any process of the hub can take a
    visitor over.

    Args:
        ports: the hub's side of it.
        public_url: where the hub is reached from outside; empty where that is not told.
        signing_key: signs the tokens of visitors; the same in all processes.
        heartbeat_s: how often a silent page is asked whether it is there.
    """

    name = "web"

    def __init__(
        self,
        *,
        settings: WebSettings,
        ports: Ports,
        public_url: str,
        signing_key: bytes,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._live = ports.live
        self._heartbeat_s = heartbeat_s
        self._publish: Publish | None = None
        self._sessions: set[ChatSession] = set()
        self._services = Services(
            live=ports.live,
            history=ports.history,
            turns=ports.turns,
            sites=Sites(settings, public_url),
            tokens=VisitorTokens(signing_key),
            tickets=Tickets(signing_key, ports.store),
            pace=Pace(
                messages_per_10s=settings.messages_per_10s,
                connections_per_address=settings.max_connections_per_address,
            ),
            store=ports.store,
            files=KeptFiles(ports.store),
            mailed=MailedAnswers(ports.store, ports.mail_out),
            feedback=ports.feedback,
            reader=ports.reader,
            settings=settings,
            publish=lambda: self._publish,
        )
        script = pages.widget_script(title=settings.title, greeting=settings.greeting)
        self._assets = pages.page_assets() | {
            "/widget.js": pages.Asset(script, "text/javascript", pages.WIDGET_HEADERS)
        }

    def routes(self) -> list[web.RouteDef]:
        """Return what the hub's HTTP server shows of this channel."""
        static = [web.get(path, asset.serve) for path, asset in self._assets.items()]
        sign_in = SignIn(self._services)
        return [
            *static,
            web.get("/ws/chat", self._serve_socket, allow_head=False),
            web.post("/widget/session", sign_in.serve),
            web.options("/widget/session", sign_in.allow),
            web.post("/widget/files", Uploads(self._services).serve),
            web.options("/widget/files", sign_in.allow),
        ]

    async def run(self, publish: Publish) -> None:
        """Take messages in until cancelled; then every page is told to come back (1012)."""
        self._publish = publish
        try:
            if self._services.mailed.is_on:
                await self._services.mailed.run()
            await asyncio.Event().wait()
        finally:
            self._publish = None
            await asyncio.gather(*(session.close(RESTARTING) for session in self._sessions))

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Show the reply on every page of its visitor; pages that are away find it in the history, or in the mail."""
        if 0 in progress.placed_parts:
            return
        await progress.begin(0)
        # First: a page may confirm the reply before `announce` has returned.
        await self._services.mailed.expect(message)
        await self._live.announce(message)
        await progress.placed(0, message.reply_id)

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return refuse(426, "upgrade_required", Upgrade="websocket", Connection="Upgrade")
        if request.headers.get("Sec-WebSocket-Version") != "13":
            # aiohttp would speak the drafts 7 and 8 as well.
            return refuse(400, "bad_handshake", **{"Sec-WebSocket-Version": "13"})
        origin = request.headers.get("Origin", "")
        if not self._services.sites.admits(origin, request.host):
            log.warning("origin_refused", origin=origin[:200], host=request.host[:200])
            return refuse(403, "origin_not_allowed")
        address = address_name(request)
        if not self._services.pace.connect(address):
            return refuse(429, "too_many_connections", **{"Retry-After": "30"})
        try:
            return await self._serve_session(request)
        finally:
            self._services.pace.disconnect(address)

    async def _serve_session(self, request: web.Request) -> web.WebSocketResponse:
        socket = GuardedSocket(
            timeout=CLOSE_TIMEOUT_S,
            autoping=False,  # pings are counted like any other frame
            heartbeat=self._heartbeat_s,
            compress=False,
            max_msg_size=frames.MAX_FRAME_BYTES + 1,  # aiohttp refuses what reaches the limit
        )
        await socket.prepare(request)
        session = ChatSession(socket, request, self._services, silence_s=SILENT_BEATS * self._heartbeat_s)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
        return socket
