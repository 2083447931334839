"""Web pages: which are fetched, within what limits, and that nobody can make this machine ask its own network."""

import asyncio
import gzip
import socket
import zlib
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hub.errors import DocumentUnreadable
from knowledge.sources.base import Content, DocumentGone, SourceUnreadable
from knowledge.sources.fetch import FetchLimits, checked_url, fetch_page
from knowledge.sources.web import WebListSource, WebSource

LOOPBACK = (ip_network("127.0.0.0/8"),)
LIMITS = FetchLimits(max_bytes=100_000, timeout_s=5, allowed=LOOPBACK)
PAGE = "<html><head><title>Ferry</title></head><body><p>The ferry leaves at noon.</p></body></html>"
ZEROS = b"0" * 50_000_000
HTML = {"Content-Type": "text/html"}
FIXED = {
    "/raw/notes.md": (b"# Title", {"Content-Type": "application/octet-stream"}),
    "/large": (b"x" * 100_001, {"Content-Type": "text/plain"}),
    "/bomb/gzip": (gzip.compress(ZEROS), {"Content-Type": "text/plain", "Content-Encoding": "gzip"}),
    "/bomb/deflate": (zlib.compress(ZEROS), {"Content-Type": "text/plain", "Content-Encoding": "deflate"}),
    "/packed": (gzip.compress(PAGE.encode()), {**HTML, "Content-Encoding": "gzip"}),
    "/cut": (gzip.compress(PAGE.encode())[:-20], {**HTML, "Content-Encoding": "gzip"}),
    "/brotli": (b"x", {**HTML, "Content-Encoding": "br"}),
    "/headers": (PAGE.encode(), {**HTML, "X-Long": "x" * 60_000}),
}


class Site:
    """A site on loopback with a page of every kind."""

    def __init__(self) -> None:
        self.port = 0
        self.paths: list[str] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Give the address of a page."""
        return f"http://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as the path wants it."""
        self.paths.append(request.path)
        if request.path in FIXED:
            body, headers = FIXED[request.path]
            return web.Response(body=body, headers=headers)
        kind, _, rest = request.path.strip("/").partition("/")
        match kind:
            case "page" if request.headers.get("If-None-Match") == '"1"':
                return web.Response(status=304)
            case "page":
                return web.Response(text=PAGE, content_type="text/html", headers={"ETag": '"1"'})
            case "status":
                return web.Response(status=int(rest))
            case "type":
                return web.Response(body=b"some text", headers={"Content-Type": rest})
            case "hops":
                target = "/page" if rest == "1" else f"/hops/{int(rest) - 1}"
                return web.Response(status=301, headers={"Location": target})
            case "to":
                return web.Response(status=302, headers={"Location": request.query["url"]})
        response = web.StreamResponse(headers={"Content-Type": "text/html"})
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Run the site."""
    one = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.port = runner.addresses[0][1]
    yield one
    await runner.cleanup()


async def get(address: str, limits: FetchLimits = LIMITS, known: str = "") -> Content | None:
    """Fetch a page."""
    return await fetch_page(checked_url(address), limits, known=known)


async def test_a_page_is_fetched_with_its_version(site: Site) -> None:
    """What it says, how it is read, and what its server calls this version."""
    page = await get(site.url("/page#part"))

    assert page == Content(data=PAGE.encode(), name="page.html", charset="utf-8", source_version='"1"')
    assert await get(site.url("/page"), known='"1"') is None


@pytest.mark.parametrize("path", ["/packed", "/hops/5"])
async def test_packed_pages_and_a_few_redirects_are_fine(site: Site, path: str) -> None:
    """Some servers pack without being asked, many lead on."""
    page = await get(site.url(path))

    assert page is not None
    assert page.data == PAGE.encode()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/hops/6", "redirects"),
        ("/large", "larger than 100000 bytes"),
        ("/bomb/gzip", "larger than 100000 bytes"),
        ("/bomb/deflate", "larger than 100000 bytes"),
        ("/cut", "damaged"),
        ("/brotli", "packed by br"),
        ("/type/image/png", "image/png are not read"),
        ("/type/application/zip", "not read"),
        ("/type/text/javascript", "not read"),
        ("/status/500", "500"),
        ("/status/204", "204"),
        ("/status/304", "304"),
        ("/headers", "not HTTP"),
        ("/to?url=file:///etc/passwd", "expected http"),
        ("/to?url=ftp://example.org/", "expected http"),
        ("/to?url=http://me:secret@example.org/", "name or password"),
        ("/to?url=http://[bad", "no address"),
    ],
)
async def test_bad_pages_are_refused(site: Site, path: str, said: str) -> None:
    """Each with its reason."""
    with pytest.raises(DocumentUnreadable, match=said):
        await get(site.url(path))


@pytest.mark.parametrize("code", [404, 410])
async def test_a_page_that_is_gone_is_told_apart(site: Site, code: int) -> None:
    """It may be removed then."""
    with pytest.raises(DocumentGone):
        await get(site.url(f"/status/{code}"))


async def test_a_page_that_drips_is_given_up(site: Site) -> None:
    """The limit is on the whole of it, not on each piece."""
    with pytest.raises(DocumentUnreadable, match="longer than"):
        await get(site.url("/slow"), FetchLimits(max_bytes=100_000, timeout_s=0.5, allowed=LOOPBACK))


async def test_a_suffix_counts_where_the_type_says_nothing(site: Site) -> None:
    """Servers of files often know no Markdown."""
    page = await get(site.url("/raw/notes.md"))

    assert page is not None
    assert page.name == "notes.md"


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/page",
        "http://[::1]:{port}/page",
        "http://[::ffff:127.0.0.1]:{port}/page",
        "http://localhost:{port}/page",
        "http://0.0.0.0:{port}/page",
        "http://2130706433:{port}/page",
        "http://0x7f.1:{port}/page",
        "http://0177.0.0.1:{port}/page",
        "http://127.1:{port}/page",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://100.100.100.200/",
    ],
)
async def test_the_own_network_is_not_asked(site: Site, target: str) -> None:
    """Not at first, and not behind a redirect of a server that may be asked."""
    only_public = FetchLimits(max_bytes=100_000, timeout_s=5)
    only_this = FetchLimits(max_bytes=100_000, timeout_s=5, allowed=(ip_network("127.0.0.77/32"),))
    address = target.format(port=site.port)

    with pytest.raises(DocumentUnreadable):
        await get(address, only_public)
    assert site.paths == []
    if "127.0.0.77" not in address:
        runner_port, seen = await _redirecting(address)
        with pytest.raises(DocumentUnreadable):
            await get(f"http://127.0.0.77:{runner_port}/", only_this)
        assert seen == ["/"]
    assert site.paths == []


async def _redirecting(target: str) -> tuple[int, list[str]]:
    """Run a server on another loopback address that leads to a target; it ends with the test's loop."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode())
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        server.close()

    server = await asyncio.start_server(serve, "127.0.0.77", 0)
    return server.sockets[0].getsockname()[1], seen


async def test_a_name_is_looked_up_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means a good address when it is checked and another one afterwards gains nothing."""
    answers = iter(["127.0.0.1", "127.0.0.9", "127.0.0.9"])
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    only = FetchLimits(max_bytes=100_000, timeout_s=5, allowed=(ip_network("127.0.0.1/32"),))

    assert await get(site.url("/page", "rebinding.invalid"), only) is not None
    with pytest.raises(DocumentUnreadable, match=r"rebinding\.invalid is not on the public internet"):
        await get(site.url("/page", "rebinding.invalid"), only)
    assert asked == ["rebinding.invalid", "rebinding.invalid"]
    assert site.paths == ["/page"]


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "0", "017700000001"])
async def test_an_address_in_an_old_spelling_is_refused_as_such(site: Site, host: str) -> None:
    """A socket would read it as one of this machine; no client is asked to."""
    with pytest.raises(DocumentUnreadable, match=f"{host} is no address"):
        await get(site.url("/page", host))

    assert site.paths == []


async def test_of_several_addresses_only_good_ones_are_asked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may mean one of each."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, site.port))
        for address in ("10.0.0.1", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    assert await get(site.url("/page", "mixed.invalid")) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "http://",
        "http:///path",
        "ftp://example.org",
        "javascript:alert(1)",
        "http://h:99999/",
        "//example.org",
        "http://user@example.org/",
        "https://u:p@example.org/",
        "http://example.org/" + "x" * 2048,
        "http://[::1",
    ],
)
def test_what_is_no_address_of_a_page_is_refused(text: str) -> None:
    """Before anything is asked."""
    with pytest.raises(DocumentUnreadable):
        checked_url(text)


def test_a_list_of_pages_is_read(tmp_path: Path) -> None:
    """Comments and blank lines are passed over, repeated ones are one, bad ones are told."""
    file = tmp_path / "pages.txt"
    file.write_text(
        "# Ours\n\nhttps://example.org/a#top\nhttps://example.org/a\nhttps://example.org/b  # second\nnonsense\n"
    )

    with WebListSource(file, LIMITS).open() as listing:
        items = list(listing.items)

    assert [item.location for item in items] == ["https://example.org/a", "https://example.org/b", "nonsense"]
    assert [bool(item.problem) for item in items] == [False, False, True]
    assert listing.is_whole


@pytest.mark.parametrize("content", [b"\xff\xfe\x00x", b"x" * 5_000_000])
def test_a_list_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    """It is read with a limit, as text."""
    file = tmp_path / "pages.txt"
    file.write_bytes(content)

    with pytest.raises(SourceUnreadable), WebListSource(file, LIMITS).open():
        pass


async def test_a_source_reads_from_threads(site: Site) -> None:
    """As an ingestion does."""
    with WebSource([site.url("/page")], LIMITS).open() as listing:
        (item,) = listing.items
        page = await asyncio.to_thread(item.read, "")

    assert page is not None
    assert page.data == PAGE.encode()
    assert not listing.is_whole
