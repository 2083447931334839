"""A page without a browser: its socket, its ticket and its files."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.connectors.web.edges import HubProcess


class Page:
    """A page with an open socket, without a browser."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.token = ""
        self.ready: dict[str, Any] = {}

    async def send(self, **frame: Any) -> None:
        """Send a frame."""
        await self.socket.send_str(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        """Return the next frame."""
        async with asyncio.timeout(30):
            message = await self.socket.receive()
        assert message.type is WSMsgType.TEXT, f"{message.type!r} {self.socket.close_code}"
        frame = json.loads(message.data)
        assert isinstance(frame, dict)
        return frame

    async def closed(self) -> int | None:
        """Read until the socket is closed and return the code."""
        async with asyncio.timeout(30):
            while not self.socket.closed:
                await self.socket.receive()
        return self.socket.close_code

    async def sign_in(self, token: str = "", **fields: str) -> dict[str, Any]:
        """Become a visitor; return `ready`."""
        await self.send(t="auth", token=token, **fields)
        self.ready = await self.receive()
        assert self.ready["t"] == "ready", self.ready
        self.token = self.ready["token"]
        return self.ready

    async def ask(self, message_id: str, text: str = "Hello") -> str:
        """Send a message and return the handle of its turn."""
        await self.send(t="message", id=message_id, text=text)
        frame = await self.receive()
        assert frame["t"] == "accepted", frame
        assert frame["id"] == message_id
        return str(frame["turn"])


@asynccontextmanager
async def open_page(
    hub: HubProcess, token: str = "", *, ticket: str = "", origin: str = "", sign_in: bool = True
) -> AsyncIterator[Page]:
    """Open a socket as the hub's own page does, or one of another origin."""
    async with (
        ClientSession() as session,
        session.ws_connect(f"{hub.url}/ws/chat", headers={"Origin": origin or hub.url}) as socket,
    ):
        page = Page(socket)
        if sign_in:
            await page.sign_in(token, **({"ticket": ticket} if ticket else {}))
        yield page


async def start_session(hub: HubProcess, origin: str = "", **fields: Any) -> tuple[int, dict[str, Any]]:
    """Ask for a ticket; return status and answer."""
    url, headers = f"{hub.url}/widget/session", {"Origin": origin or hub.url}
    async with ClientSession() as client, client.post(url, json=fields, headers=headers) as response:
        return response.status, await response.json()


async def upload(
    hub: HubProcess, visitor: str, data: bytes = b"Hello", *, name: str = "a.txt", origin: str = ""
) -> tuple[int, dict[str, Any]]:
    """Send a file; return status and answer."""
    headers = {
        "Origin": origin or hub.url,
        "X-Visitor": visitor,
        "X-File-Name": quote(name),
        "Content-Type": "text/plain",
    }
    url = f"{hub.url}/widget/files"
    async with (
        ClientSession() as client,
        client.post(url, data=io.BytesIO(data), headers=headers) as response,
    ):
        return response.status, await response.json()
