"""Who is let in: pages of welcome origins with a proper handshake, and visitors who sign in with the first frame."""

import asyncio
import json

import pytest
from aiohttp import ClientSession, WSServerHandshakeError
from structlog.testing import capture_logs

from connectors.web import session
from connectors.web.visitors import Visitor, VisitorTokens
from hub.web_settings import WebSettings
from tests.connectors.web.edges import KEY, UPGRADE, Bus, HubProcess
from tests.connectors.web.page import Page, open_page


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "https://evil.example",
        "https://good.example.evil.example",
        "https://GOOD.example",
        "https://good.example.",
        "https://sub.good.example",
        "https://good.example:8443",
        "http://good.example",
        "https://good.example/",
        "https://user@good.example",
        "{hub}.evil.example",
        "ftp://127.0.0.1",
    ],
)
async def test_other_origins_are_refused_before_the_upgrade(bus: Bus, origin: str | None) -> None:
    """Scheme, host and port have to match letter by letter."""
    hub = HubProcess(bus, WebSettings(allowed_origins=("https://good.example",)))
    await hub.start()
    headers = UPGRADE if origin is None else UPGRADE | {"Origin": origin.format(hub=hub.url)}
    async with ClientSession() as client, client.get(f"{hub.url}/ws/chat", headers=headers) as response:
        assert response.status == 403
        assert await response.json() == {"error": {"code": "origin_not_allowed"}}
    await hub.stop()


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 426),
        ("POST", UPGRADE, 405),
        ("GET", UPGRADE | {"Sec-WebSocket-Version": "8"}, 400),
        ("GET", UPGRADE | {"Sec-WebSocket-Key": "short"}, 400),
        ("GET", UPGRADE | {"Connection": "close"}, 400),
    ],
)
async def test_broken_handshakes_get_their_status(
    hub: HubProcess, method: str, headers: dict[str, str], status: int
) -> None:
    """Plain requests and wrong handshakes end before a socket exists."""
    sent = headers | {"Origin": hub.url}
    async with (
        ClientSession() as client,
        client.request(method, f"{hub.url}/ws/chat", headers=sent) as response,
    ):
        assert response.status == status


async def test_one_address_gets_so_many_sockets(bus: Bus) -> None:
    """The next one is refused with 429 until another one is closed."""
    hub = HubProcess(bus, WebSettings(max_connections_per_address=2))
    await hub.start()
    async with open_page(hub), open_page(hub):
        with pytest.raises(WSServerHandshakeError) as refused:
            async with open_page(hub):
                pass
        assert refused.value.status == 429
    async with asyncio.timeout(30), open_page(hub) as page:
        assert page.ready["t"] == "ready"
    await hub.stop()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (b"de-CH,de;q=0.9", "de-CH"),
        (b"*", ""),
        (b"\xff\xfe", ""),
        (b"<script>", ""),
        (b"x" * 5000, ""),
    ],
)
async def test_languages_of_browsers_are_tags_or_nothing(
    hub: HubProcess, bus: Bus, header: bytes, language: str
) -> None:
    """A header may hold any bytes; the bus gets only what is a language."""
    headers = {"Origin": hub.url, "Accept-Language": header.decode("utf-8", "surrogateescape")}
    async with ClientSession() as client, client.ws_connect(f"{hub.url}/ws/chat", headers=headers) as socket:
        page = Page(socket)
        await page.sign_in()
        await page.ask("m1")

    message = bus.messages[await bus.next_turn()]
    assert message.language == language
    assert message.model_dump_json()


def _foreign_token() -> str:
    return VisitorTokens(KEY).sign(Visitor("0" * 32, "https://www.example.org"))


@pytest.mark.parametrize(
    "first",
    [
        '{"t": "message", "id": "m1", "text": "Hi"}',
        "{",
        "null",
        '{"t": "auth", "token": 5}',
        '{"t": "auth", "token": "v1.00000000000000000000000000000000.1700000000.' + "A" * 43 + '"}',
        '{"t": "auth", "token": "' + "x" * 9000 + '"}',
        json.dumps({"t": "auth", "token": _foreign_token()}),
    ],
)
async def test_first_frame_that_does_not_sign_in_closes(hub: HubProcess, bus: Bus, first: str) -> None:
    """No token, a forged one, one of another site: 4401 and nothing else is read."""
    async with open_page(hub, sign_in=False) as page:
        await page.socket.send_str(first)

        assert await page.closed() == 4401
    assert not bus.messages


async def test_silence_before_signing_in_closes(hub: HubProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket nobody signs in on is not kept."""
    assert session.AUTH_TIMEOUT_S == 5
    monkeypatch.setattr(session, "AUTH_TIMEOUT_S", 0.1)
    async with open_page(hub, sign_in=False) as page:
        assert await page.closed() == 4401


async def test_token_in_the_address_is_worth_nothing(
    hub: HubProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first frame signs in."""
    monkeypatch.setattr(session, "AUTH_TIMEOUT_S", 0.1)
    async with open_page(hub) as page:
        token = page.token
    address = f"{hub.url}/ws/chat?token={token}"
    with capture_logs() as logs:
        async with (
            ClientSession() as client,
            client.ws_connect(address, headers={"Origin": hub.url}) as socket,
        ):
            await socket.receive()
            assert socket.close_code == 4401

    assert token not in str(logs)
