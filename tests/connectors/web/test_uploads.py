"""Files of visitors: sent on their own, read at once, and named in the message they belong to."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from connectors.web import uploads
from connectors.web.connector import WebConnector
from connectors.web.uploads import FILES_AT_ONCE_PER_ADDRESS, FILES_PER_VISITOR, MAX_FILE_BYTES
from hub.api.body import max_body_bytes
from hub.settings import ApiSettings
from hub.web_settings import WebSettings, WebSiteSettings
from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.page import open_page, start_session, upload

SHOP = "https://shop.example"


async def test_file_comes_along_with_its_message(full_hub: HubProcess, bus: Bus) -> None:
    """Its text reaches the bus with the name the visitor knows."""
    async with open_page(full_hub) as page:
        status, file = await upload(full_hub, page.token, "Grüße".encode(), name="../Büro/a\nb.txt")
        await page.send(t="message", id="m1", text="What is this?", files=[file["id"]])
        assert (await page.receive())["t"] == "accepted"

    message = bus.messages[await bus.next_turn()]
    (attachment,) = message.attachments
    assert (status, file["name"], file["size_bytes"]) == (201, ".. Büro a b.txt", 7)
    assert (attachment.name, attachment.media_type, attachment.text) == (file["name"], "text/plain", "Grüße")
    assert message.text == "What is this?"
    assert page.ready["features"]["files"] == {"bytes": MAX_FILE_BYTES, "count": 5}


async def test_file_without_a_word_is_asked_about(full_hub: HubProcess, bus: Bus) -> None:
    """The text of the message is then its name; a message sent again finds the file again."""
    async with open_page(full_hub) as page:
        files = [(await upload(full_hub, page.token, name=name))[1]["id"] for name in ("a.txt", "b.txt")]
        for _ in range(2):
            await page.send(t="message", id="m1", text=" ", files=files)
            assert (await page.receive())["t"] == "accepted"

    assert [message.text for message in bus.messages.values()] == ["a.txt, b.txt"]


async def test_file_of_somebody_else_is_not_there(full_hub: HubProcess, bus: Bus) -> None:
    """Nor one that was made up, nor one whose hour has passed."""
    async with open_page(full_hub) as mine, open_page(full_hub) as other:
        _, file = await upload(full_hub, mine.token)
        codes = []
        for page, file_id in ((other, file["id"]), (mine, "0" * 32)):
            await page.send(t="message", id="m1", text="Hi", files=[file_id])
            codes.append((await page.receive())["code"])
        bus.store.now += 3601
        await mine.send(t="message", id="m1", text="Hi", files=[file["id"]])
        codes.append((await mine.receive())["code"])

    assert codes == ["no_file"] * 3
    assert not bus.messages


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ("a", "bad_type"),
        ([1], "no_file"),
        (["../x"], "no_file"),
        (["0" * 32] * 6, "bad_type"),
        ({}, "bad_type"),
    ],
    ids=str,
)
async def test_files_that_are_no_ids_are_refused(full_hub: HubProcess, files: object, code: str) -> None:
    """The message as a whole."""
    async with open_page(full_hub) as page:
        await page.send(t="message", id="m1", text="Hi", files=files)

        assert await page.receive() == {"t": "err", "code": code, "id": "m1"}


@pytest.mark.parametrize(
    ("name", "data", "status", "code"),
    [
        ("a.txt", b"", 422, "empty"),
        ("unsupported.problem", b"x", 422, "unsupported"),
        ("encrypted.problem", b"x", 422, "encrypted"),
        ("damaged.problem", b"x", 422, "damaged"),
        ("a.txt", b"x" * (MAX_FILE_BYTES + 1), 413, "too_large"),
    ],
    ids=["empty", "unsupported", "encrypted", "damaged", "too large"],
)
async def test_file_that_cannot_be_read_is_told_at_once(
    full_hub: HubProcess, bus: Bus, name: str, data: bytes, status: int, code: str
) -> None:
    """Before the visitor asks about it; nothing of it is kept."""
    async with open_page(full_hub) as page:
        assert await upload(full_hub, page.token, data, name=name) == (status, {"error": {"code": code}})
    assert not [key for key in bus.store.values if key.startswith("file:")]


async def test_size_is_counted_where_it_is_not_told(full_hub: HubProcess) -> None:
    """A body in chunks has no length beforehand."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 1024 * 1024

    async with open_page(full_hub) as page:
        headers = {"Origin": full_hub.url, "X-Visitor": page.token}
        async with (
            ClientSession() as client,
            client.post(f"{full_hub.url}/widget/files", data=chunks(), headers=headers) as response,
        ):
            assert response.status == 413


async def test_file_that_does_not_come_is_not_waited_for(
    full_hub: HubProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that stops in the middle has a deadline."""
    monkeypatch.setattr(uploads, "READ_TIMEOUT_S", 0.2)

    async def half() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(30)

    async with open_page(full_hub) as page:
        headers = {"Origin": full_hub.url, "X-Visitor": page.token}
        async with (
            ClientSession() as client,
            client.post(f"{full_hub.url}/widget/files", data=half(), headers=headers) as response,
        ):
            assert response.status == 408


async def test_file_that_is_broken_off_is_no_error_of_the_hub(
    full_hub: HubProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """Visitors change their minds; the next file is taken."""
    async with open_page(full_hub) as page:
        _, writer = await asyncio.open_connection("127.0.0.1", full_hub.port)
        head = (
            f"POST /widget/files HTTP/1.1\r\nHost: 127.0.0.1:{full_hub.port}\r\nOrigin: {full_hub.url}\r\n"
            f"X-Visitor: {page.token}\r\nContent-Length: 100\r\n\r\nhalf"
        )
        writer.write(head.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

        assert (await upload(full_hub, page.token))[0] == 201
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("visitor", ["", "made up", "v1.x", "t1.e30." + "A" * 43])
async def test_stranger_sends_no_file(full_hub: HubProcess, visitor: str) -> None:
    """A token or a ticket of this site is needed."""
    assert await upload(full_hub, visitor) == (401, {"error": {"code": "not_signed_in"}})


async def test_page_that_is_not_welcome_sends_no_file(full_hub: HubProcess) -> None:
    """As it opens no socket."""
    async with open_page(full_hub) as page:
        answer = await upload(full_hub, page.token, origin="https://evil.example")

    assert answer == (403, {"error": {"code": "origin_not_allowed"}})


async def test_hub_without_a_reader_takes_no_files(hub: HubProcess) -> None:
    """And says so with `ready`, so that no page offers it."""
    async with open_page(hub) as page:
        assert page.ready["features"]["files"] is None
        assert await upload(hub, page.token) == (404, {"error": {"code": "no_files_here"}})


async def test_visitor_sends_so_many_files(full_hub: HubProcess, bus: Bus) -> None:
    """Twenty in ten minutes."""
    async with open_page(full_hub) as page:
        statuses = [(await upload(full_hub, page.token))[0] for _ in range(FILES_PER_VISITOR + 1)]
        bus.store.now += 601
        later, _ = await upload(full_hub, page.token)

    assert statuses == [201] * FILES_PER_VISITOR + [429]
    assert later == 201


async def test_one_address_takes_so_many_places(full_hub: HubProcess) -> None:
    """Five files that come slowly; what comes beside them is refused, and taken once one of them has ended."""
    may_end = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await may_end.wait()

    async def send_slowly(client: ClientSession, token: str) -> int:
        headers = {"Origin": full_hub.url, "X-Visitor": token}
        async with client.post(f"{full_hub.url}/widget/files", data=slowly(), headers=headers) as response:
            return response.status

    async with open_page(full_hub) as page, open_page(full_hub) as other, ClientSession() as client:
        # All at once: none may slip in while another one is being counted.
        slow = [
            asyncio.create_task(send_slowly(client, page.token)) for _ in range(FILES_AT_ONCE_PER_ADDRESS + 3)
        ]
        async with asyncio.timeout(30):
            while (await upload(full_hub, other.token))[0] != 429 or sum(one.done() for one in slow) < 3:
                await asyncio.sleep(0.1)
        may_end.set()

        assert sorted(await asyncio.gather(*slow)) == [201] * FILES_AT_ONCE_PER_ADDRESS + [429] * 3
        assert (await upload(full_hub, page.token))[0] == 201


async def test_store_that_is_away_is_said(full_hub: HubProcess, bus: Bus) -> None:
    """The page may try again."""
    async with open_page(full_hub) as page:
        bus.store.fail()

        assert await upload(full_hub, page.token) == (503, {"error": {"code": "unavailable"}})


async def test_site_with_a_key_sends_files_by_ticket(bus: Bus) -> None:
    """Used up by one file; the site's visitor alone can name it."""
    settings = WebSettings(sites=(WebSiteSettings(key="shop", origins=(SHOP,)),))
    hub = HubProcess(bus, settings, extras=True)
    await hub.start()
    _, first = await start_session(hub, SHOP, site="shop")
    status, file = await upload(hub, first["ticket"], origin=SHOP)
    again, _ = await upload(hub, first["ticket"], origin=SHOP)
    _, second = await start_session(hub, SHOP, site="shop", token=first["token"])
    async with open_page(hub, ticket=second["ticket"], origin=SHOP) as page:
        await page.send(t="message", id="m1", text="Hi", files=[file["id"]])

        assert (await page.receive())["t"] == "accepted"
    assert (status, again) == (201, 401)
    assert (await upload(hub, first["token"], origin=SHOP))[0] == 401
    await hub.stop()


async def test_hubs_server_lets_files_of_ten_megabytes_in(bus: Bus) -> None:
    """Its limit for all other bodies is lower."""
    seen: list[int] = []
    connector: WebConnector = HubProcess(bus, extras=True).connector

    @web.middleware
    async def look(request: web.Request, handler: object) -> web.StreamResponse:
        seen.append(max_body_bytes(request, ApiSettings()))
        return web.Response()

    app = web.Application(middlewares=[look])
    app.add_routes(connector.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        for path in ("/widget/files", "/widget/session"):
            async with client.post(path, data=b"x"):
                pass
    await runner.cleanup()

    assert seen == [MAX_FILE_BYTES, ApiSettings().max_body_bytes]
