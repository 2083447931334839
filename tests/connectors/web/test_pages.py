"""What the web channel serves besides the socket."""

import gzip

import pytest
from aiohttp import ClientSession

from connectors.web.pages import Asset, widget_script
from hub.web_settings import WebSettings
from tests.connectors.web.edges import SOURCE, Bus, HubProcess, NoProgress


def test_widget_is_small() -> None:
    """A page that holds the widget loads less than 30 kB for it."""
    script = Asset(widget_script(title="Hubbub", greeting="Hello!"), "text/javascript", {})

    assert len(script.compressed) < 30_000


def test_title_cannot_break_out_of_the_script() -> None:
    """Settings stand in the script as JSON."""
    script = widget_script(title='"; alert(1); //', greeting="</script>\u2028")

    assert r'const TITLE = "\"; alert(1); //";' in script
    assert r"\u2028" in script


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_widget_is_kept_by_browsers_until_it_changes(hub: HubProcess, encoding: str) -> None:
    """The second request is answered by 304."""
    headers = {"Accept-Encoding": encoding}
    async with ClientSession(auto_decompress=False) as client:
        async with client.get(f"{hub.url}/widget.js", headers=headers) as first:
            body = await first.read()
        again = headers | {"If-None-Match": f'"old", {first.headers["ETag"]}'}
        async with client.get(f"{hub.url}/widget.js", headers=again) as second:
            assert (second.status, await second.read()) == (304, b"")

    assert first.status == 200
    assert first.content_type == "text/javascript"
    assert "max-age" in first.headers["Cache-Control"]
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    assert b"hubbub-chat" in (gzip.decompress(body) if encoding == "gzip" else body)


async def test_title_and_greeting_come_from_the_settings(bus: Bus) -> None:
    """A page needs no attribute to show the operator's own."""
    hub = HubProcess(bus, WebSettings(title="Büro", greeting="Grüß Gott"))
    await hub.start()
    async with ClientSession() as client, client.get(f"{hub.url}/widget.js") as response:
        script = await response.text()
    await hub.stop()

    assert r'const TITLE = "B\u00fcro";' in script


async def test_demo_page_allows_itself_only_what_it_needs(hub: HubProcess) -> None:
    """No inline scripts and styles, nothing from elsewhere."""
    async with ClientSession() as client, client.get(hub.url) as response:
        page = await response.text()

    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http://" not in page
    assert "https://" not in page
    assert "style=" not in page


@pytest.mark.parametrize(
    "path", ["/", "/widget.js", "/assets/demo.css", "/assets/demo.js", "/assets/logo.svg"]
)
async def test_files_can_be_asked_for_by_head(hub: HubProcess, path: str) -> None:
    """Monitors ask so."""
    async with ClientSession() as client, client.head(hub.url + path) as response:
        assert response.status == 200


async def test_reply_is_announced_once(hub: HubProcess, bus: Bus) -> None:
    """The pump may ask again after a crash; what was placed is not said again."""
    async with ClientSession() as client, client.ws_connect(f"{hub.url}/ws/chat", origin=hub.url) as socket:
        await socket.send_json({"t": "auth", "token": ""})
        await socket.receive_json()
        await socket.send_json({"t": "message", "id": "m1", "text": "Hi"})
        reply = bus.reply(await bus.next_turn(), "Hello", SOURCE)
    progress = NoProgress()
    await hub.connector.send(reply, progress)
    await hub.connector.send(reply, progress)

    assert bus.live.announced == [reply]
    assert progress.begun == [0]
    assert progress.placed_parts == {0: reply.reply_id}
