"""Fetches one page of the web, within limits on where it leads, how large it is and how long it takes."""

import asyncio
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import aiohttp
from yarl import URL

from hub.documents.parsing import DOCX, MEDIA_TYPES
from hub.egress.guard import connecting_for
from hub.egress.rule import PAGES
from hub.errors import DocumentUnreadable
from hub.http_client import connection_fault
from hub.public_addresses import AddressRefused, Network, NotPublic, check_host, checked_connector
from hub.public_addresses import checked_url as checked_web_address
from knowledge.sources.base import Content, DocumentGone

MAX_URL_CHARS = 2048
MAX_REDIRECTS = 5
MAX_HEADER_BYTES = 16_384
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({404, 410})
SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".xhtml",
    "text/markdown": ".md",
    "text/x-markdown": ".md",
    "text/plain": ".txt",
    "application/pdf": ".pdf",
    DOCX: ".docx",
}
"""Content types that are read, and how."""
VAGUE = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
"""Content types that servers give where they know no better; the address's suffix tells more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What a page may take."""

    max_bytes: int
    timeout_s: float
    """From the first connection to the last byte, redirects included."""
    allowed: tuple[Network, ...] = ()
    """Networks beyond the public internet."""


def checked_url(text: str) -> URL:
    """Read the address of a page.

    Raises: DocumentUnreadable: it is none that may be fetched.
    """
    if len(text) > MAX_URL_CHARS:
        raise DocumentUnreadable(f"is an address of more than {MAX_URL_CHARS} characters", "unsupported")
    try:
        return checked_web_address(text)
    except AddressRefused as error:
        raise DocumentUnreadable(str(error), "unsupported") from error


def fetch(url: URL, limits: FetchLimits, *, known: str = "") -> Content | None:
    """Fetch a page; blocks, and may be called from any thread.

    Args:
        url: as `checked_url` gives it.
        known: ETag of the version that is known; empty where there is none.

    Returns: its content; None where it is still the known version.
    Raises: DocumentUnreadable: it cannot be had, or is nothing that is read. DocumentGone: the server has none.
    """
    # A loop of its own, and none that an event loop policy of the program chooses.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(fetch_page(url, limits, known=known))


async def fetch_page(url: URL, limits: FetchLimits, *, known: str = "") -> Content | None:
    """Fetch a page; see `fetch`."""
    try:
        with connecting_for(PAGES):
            async with asyncio.timeout(limits.timeout_s), _session(limits) as session:
                return await _follow(session, url, limits, known)
    except NotPublic as error:
        said = f"{error}; knowledge.web_networks can allow its network"
        raise DocumentUnreadable(said, "unreachable") from error
    except AddressRefused as error:
        raise DocumentUnreadable(str(error), "unsupported") from error
    except TimeoutError as error:
        raise DocumentUnreadable(f"took longer than {limits.timeout_s:.0f} s", "unreachable") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise DocumentUnreadable(f"cannot be fetched: {connection_fault(error)}", "unreachable") from error


def _session(limits: FetchLimits) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=checked_connector(limits.allowed),
        cookie_jar=aiohttp.DummyCookieJar(),
        # What unpacks to too much is not to be unpacked before it is looked at.
        auto_decompress=False,
        trust_env=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        headers={
            "User-Agent": "Hubbub",
            "Accept": ", ".join(SUFFIXES),
            "Accept-Encoding": "identity",
        },
    )


async def _follow(
    session: aiohttp.ClientSession, url: URL, limits: FetchLimits, known: str
) -> Content | None:
    headers = {"If-None-Match": known} if known else {}
    for _ in range(MAX_REDIRECTS + 1):
        check_host(url, limits.allowed)
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status in REDIRECTS and (target := response.headers.get("Location")):
                url = _next(url, target)
                continue
            if response.status == 304 and known:
                return None
            if response.status in GONE:
                raise DocumentGone(f"is not there any more ({response.status})")
            if response.status != 200:
                raise DocumentUnreadable(f"cannot be fetched ({response.status})", "unreachable")
            return Content(
                name=_name(url, response.content_type if "Content-Type" in response.headers else ""),
                data=await _body(response, limits.max_bytes),
                charset=response.charset or "",
                source_version=response.headers.get("ETag", "")[:200],
            )
    raise DocumentUnreadable(f"leads through more than {MAX_REDIRECTS} redirects", "unreachable")


def _next(url: URL, target: str) -> URL:
    try:
        return checked_url(str(url.join(URL(target))))
    except ValueError as error:
        raise DocumentUnreadable("leads to something that is no address", "unreachable") from error


def _name(url: URL, content_type: str) -> str:
    """Name the file so that its suffix tells how it is read.

    Raises: DocumentUnreadable: it is of a type that is not read.
    """
    path = PurePosixPath(url.path)
    stem = path.stem or url.host or "page"
    if content_type in VAGUE and path.suffix.lower() in MEDIA_TYPES:
        return path.name
    if suffix := SUFFIXES.get(content_type):
        return stem + suffix
    raise DocumentUnreadable(f"pages of type {content_type[:60] or 'unknown'} are not read", "unsupported")


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise DocumentUnreadable(f"is packed by {encoding[:20]}, which was not asked for", "unsupported")
    # 47 unpacks gzip and zlib alike. Source: zlib manual, inflateInit2.
    unpack = None if encoding == "identity" else zlib.decompressobj(47)
    data = bytearray()
    async for piece in response.content.iter_chunked(65_536):
        try:
            # One byte more than is allowed shows that there is more.
            data += unpack.decompress(piece, max_bytes + 1 - len(data)) if unpack else piece
        except zlib.error as error:
            raise DocumentUnreadable("is damaged: it cannot be unpacked") from error
        if len(data) > max_bytes:
            raise DocumentUnreadable(f"is larger than {max_bytes} bytes", "too_large")
    if unpack and not unpack.eof:
        raise DocumentUnreadable("is damaged: its end is missing")
    return bytes(data)
