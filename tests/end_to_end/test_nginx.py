"""A hub behind nginx with the configuration that the project ships: everything works by TLS as it does without."""

import io
import ssl
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.browser import chromium
from tests.hub_process import HubProcess
from tests.servers.nginx import NginxServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

QUESTION = "Where is my data kept?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """Run a hub that trusts nginx to tell the visitors' addresses."""
    settings = {"HUBBUB_API__TRUSTED_PROXIES": '["127.0.0.1/32"]'}
    async with HubProcess(tmp_path_factory.mktemp("hub") / "data", settings) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nginx(tmp_path_factory: pytest.TempPathFactory, hub: HubProcess) -> AsyncIterator[NginxServer]:
    """Run nginx in front of it."""
    with NginxServer(tmp_path_factory.mktemp("nginx"), hub.port) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(nginx: NginxServer, hub: HubProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """Speak TLS with it, and believe its certificate alone."""
    tls = ssl.create_default_context(cafile=str(nginx.certificate))
    connector = aiohttp.TCPConnector(ssl=tls)
    async with aiohttp.ClientSession(connector=connector, headers={"X-API-Key": hub.key}) as session:
        yield session


async def test_plain_http_is_sent_to_https(client: aiohttp.ClientSession, nginx: NginxServer) -> None:
    """A request keeps its method and its path."""
    async with client.post(f"{nginx.http_url}/chat?x=1", allow_redirects=False) as answer:
        assert answer.status == 308
        assert answer.headers["Location"] == "https://localhost/chat?x=1"


async def test_an_answer_comes_while_it_is_generated(
    client: aiohttp.ClientSession, nginx: NginxServer
) -> None:
    """Server-sent events are handed on one by one, not when all are there."""
    body = {"model": "smollm2-135m", "prompt": "Count from one to twenty.", "max_tokens": 30, "stream": True}
    pieces = []
    async with client.post(f"{nginx.url}/generate", json=body) as answer:
        assert answer.status == 200
        assert answer.headers["Strict-Transport-Security"]
        async for data, _ in answer.content.iter_chunks():
            pieces.append(data)

    assert len([piece for piece in pieces if b"event: delta" in piece]) > 5
    assert b"event: final" in b"".join(pieces)


async def test_a_websocket_is_carried_through(client: aiohttp.ClientSession, nginx: NginxServer) -> None:
    """`/ws/generate` answers as it does without nginx."""
    async with client.ws_connect(f"{nginx.url}/ws/generate") as socket:
        assert (await socket.receive_json(loads=orjson.loads))["type"] == "ready"
        await socket.send_json({"id": "1", "prompt": QUESTION})
        kinds: list[str] = []
        while not kinds or kinds[-1] not in ("final", "error"):
            kinds.append((await socket.receive_json(loads=orjson.loads))["type"])

    assert kinds[-1] == "final"


async def test_figures_are_not_shown_outside(
    client: aiohttp.ClientSession, nginx: NginxServer, hub: HubProcess
) -> None:
    """The metrics are there for this machine, and for nobody behind nginx."""
    for path in ("/metrics", "/metrics/cache_accounting", "/api/v1/metrics", "//metrics", "/%6detrics"):
        async with client.get(f"{nginx.url}{path}") as answer:
            assert answer.status in (403, 404), path

    assert (await hub.get("/api/v1/health"))[0] == 200
    async with client.get(f"{hub.url}/metrics") as answer:
        assert answer.status == 200


async def test_too_large_is_told_by_the_hub(client: aiohttp.ClientSession, nginx: NginxServer) -> None:
    """Beyond a megabyte the hub says so in its own words; beyond any document nginx cuts it off."""
    async with client.post(f"{nginx.url}/chat", data=io.BytesIO(bytes(3 << 20))) as answer:
        assert answer.status == 413
        assert (await answer.json(content_type=None))["code"] == "too_large"
    async with client.post(f"{nginx.url}/chat", headers={"Content-Length": str(64 << 20)}) as answer:
        assert answer.status == 413


async def test_wrong_keys_are_counted_for_the_visitor_and_not_for_what_they_claim(
    client: aiohttp.ClientSession, nginx: NginxServer
) -> None:
    """An address that a client makes up is replaced by its own."""
    statuses = []
    for number in range(25):
        headers = {"X-API-Key": "cc_live_wrong", "X-Forwarded-For": f"203.0.113.{number}"}
        async with client.get(f"{nginx.url}/search", params={"q": "x"}, headers=headers) as answer:
            statuses.append(answer.status)

    assert statuses[:20] == [401] * 20
    assert statuses[20:] == [429] * 5


async def test_a_visitor_asks_in_the_widget(nginx: NginxServer) -> None:
    """The page, its scripts and its socket work by TLS."""
    async with chromium() as browser:
        context = await browser.new_context(ignore_https_errors=True)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(nginx.url)
        await expect(page.locator(".state")).to_have_text("Online")

        await page.get_by_label("Your message").fill(QUESTION)
        await page.keyboard.press("Enter")

        await expect(page.locator(".entry[data-state=done]")).to_have_count(1, timeout=60_000)
        await expect(page.locator(".entry .body").last).to_contain_text("data")
    assert complaints == []
