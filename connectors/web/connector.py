"""The web channel: sockets in, `publish` to the bus, live text and final replies back to the pages."""

import asyncio

import structlog
from aiohttp import web

from connectors.base import Progress, Publish
from connectors.live import Live
from connectors.web import frames, pages
from connectors.web.origins import Origins
from connectors.web.pace import Pace, address_name
from connectors.web.ports import History, Turns
from connectors.web.session import CLOSE_TIMEOUT_S, RESTARTING, ChatSession, Services
from connectors.web.visitors import VisitorTokens
from hub.messages import OutboundMessage
from hub.settings import WebSettings

log = structlog.get_logger(__name__)

HEARTBEAT_S = 20.0
"""How often a silent page is asked whether it is there; it has half as long to answer."""


class WebConnector:
    """Serves the widget and its WebSocket.

    It keeps nothing: who a visitor is stands in the signed token, what was said in the history, what is being
    said in the live text. Any process of the hub can take a visitor over.

    Args:
        heartbeat_s: how often a silent page is asked whether it is there.
    """

    name = "web"

    def __init__(
        self,
        *,
        settings: WebSettings,
        public_url: str,
        live: Live,
        history: History,
        turns: Turns,
        signing_key: bytes,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._live = live
        self._heartbeat_s = heartbeat_s
        self._publish: Publish | None = None
        self._sessions: set[ChatSession] = set()
        self._origins = Origins(settings.allowed_origins, public_url)
        self._services = Services(
            live=live,
            history=history,
            turns=turns,
            tokens=VisitorTokens(signing_key),
            pace=Pace(
                messages_per_10s=settings.messages_per_10s,
                connections_per_address=settings.max_connections_per_address,
            ),
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
        return [*static, web.get("/ws/chat", self._serve_socket, allow_head=False)]

    async def run(self, publish: Publish) -> None:
        """Take messages in until cancelled; then every page is told to come back (1012)."""
        self._publish = publish
        try:
            await asyncio.Event().wait()
        finally:
            self._publish = None
            await asyncio.gather(*(session.close(RESTARTING) for session in self._sessions))

    async def send(self, message: OutboundMessage, progress: Progress) -> None:
        """Show the reply on every page of its visitor; pages that are away find it in the history."""
        if 0 in progress.placed_parts:
            return
        await progress.begin(0)
        await self._live.announce(message)
        await progress.placed(0, message.reply_id)

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _refuse(426, "upgrade_required", Upgrade="websocket", Connection="Upgrade")
        if request.headers.get("Sec-WebSocket-Version") != "13":
            # aiohttp would speak the drafts 7 and 8 as well.
            return _refuse(400, "bad_handshake", **{"Sec-WebSocket-Version": "13"})
        origin = request.headers.get("Origin", "")
        site = self._origins.site(origin, request.host)
        if site is None:
            log.warning("origin_refused", origin=origin[:200], host=request.host[:200])
            return _refuse(403, "origin_not_allowed")
        address = address_name(request)
        if not self._services.pace.connect(address):
            return _refuse(429, "too_many_connections", **{"Retry-After": "30"})
        try:
            return await self._serve_session(request, site)
        finally:
            self._services.pace.disconnect(address)

    async def _serve_session(self, request: web.Request, site: str) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT_S,
            autoping=False,  # pings are counted like any other frame
            heartbeat=self._heartbeat_s,
            compress=False,
            max_msg_size=frames.MAX_FRAME_BYTES + 1,  # aiohttp refuses what reaches the limit
        )
        await socket.prepare(request)
        session = ChatSession(socket, request, site, self._services)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
        return socket


def _refuse(status: int, code: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"code": code}}, status=status, headers=headers)
