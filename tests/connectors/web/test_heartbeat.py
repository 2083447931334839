"""A page that is gone without a word is noticed and let go."""

import asyncio
import struct

from aiohttp import ClientSession, WSMsgType

from connectors.web.connector import HEARTBEAT_S
from tests.connectors.web.edges import UPGRADE, Bus, HubProcess
from tests.connectors.web.page import Page

LONGEST_S = 40


def test_heartbeat_lets_go_in_time() -> None:
    """A ping and half as long for its answer."""
    assert HEARTBEAT_S * 1.5 <= LONGEST_S


async def _signed_in(hub: HubProcess) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a socket byte by byte and sign in as a new visitor."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    lines = [f"GET /ws/chat HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nOrigin: {hub.url}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in UPGRADE.items()]
    writer.write("".join(lines).encode() + b"\r\n")
    auth = b'{"t":"auth","token":""}'
    await reader.readuntil(b"\r\n\r\n")
    writer.write(bytes([0x81, 0x80 | len(auth), 0, 0, 0, 0]) + auth)
    await reader.readuntil(b'"ready"')
    return reader, writer


async def test_peer_that_vanishes_without_a_word_is_closed(bus: Bus) -> None:
    """The network is gone, no FIN ever comes: the socket, its listener and its place are free again."""
    hub = HubProcess(bus, heartbeat_s=1)
    await hub.start()
    async with asyncio.timeout(30):
        reader, writer = await _signed_in(hub)
        # From here on the peer is there for TCP alone, and answers no ping.
        while await reader.read(4096):
            pass
        await bus.live.left.wait()

    assert not any(bus.live.listeners.values())
    writer.close()
    await hub.stop()


async def test_frame_that_comes_bit_by_bit_is_not_waited_for(bus: Bus) -> None:
    """One byte now and then keeps the line alive and says nothing: it is closed all the same."""
    hub = HubProcess(bus, heartbeat_s=0.5)
    await hub.start()
    async with asyncio.timeout(30):
        reader, writer = await _signed_in(hub)
        writer.write(bytes([0x81, 0x80 | 100, 0, 0, 0, 0]))
        closing = asyncio.create_task(reader.readuntil(bytes([0x88, 2]) + struct.pack(">H", 1008)))
        while not closing.done():
            writer.write(b" ")
            await asyncio.wait({closing}, timeout=0.2)
        await closing
    writer.close()
    await hub.stop()


async def test_page_that_answers_pings_stays(bus: Bus) -> None:
    """Silence alone is no reason: whoever answers is kept for as long as it likes."""
    hub = HubProcess(bus, heartbeat_s=2)  # an answer has half of it: more than a busy machine needs
    await hub.start()
    async with (
        ClientSession() as client,
        client.ws_connect(f"{hub.url}/ws/chat", origin=hub.url, autoping=False) as socket,
        asyncio.timeout(30),
    ):
        page = Page(socket)
        await page.sign_in()
        for _ in range(2):
            assert (await socket.receive()).type is WSMsgType.PING
            await socket.pong()
        await page.ask("m1")
    await hub.stop()
