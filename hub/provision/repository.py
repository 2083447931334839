"""A Hugging Face style hub: which files a repository has, and the bytes of one.

The hub's own client is not used: it compares sizes but no sums, refuses files of more than 50 GB without Xet, and reads
HF_HUB_OFFLINE, which the image sets for everything else, once and for the whole process.
Source: the Hub's OpenAPI description, `/api/models/{repo}/revision/{rev}` and `/api/models/{repo}/tree/{rev}`.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import orjson
from yarl import URL

from hub.egress.guard import connecting_for
from hub.egress.resolver import GuardedResolver
from hub.egress.rule import MODEL_HUB
from hub.errors import ProvisionError
from hub.http_client import connection_fault, is_refused
from hub.model_settings import HUGGING_FACE, ProvisionSettings
from hub.provision.http import failed, passing_pause_s

MAX_PAGE_BYTES = 16 << 20
MAX_FILES = 20_000
MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 60.0
"""Longest wait for the next bytes."""

T = TypeVar("T")

_COMMIT = re.compile(r"[0-9A-Za-z]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often something is tried again."""

    attempts: int = 5
    """In a row without anything coming."""
    first_pause_s: float = 1.0
    """Doubles with each attempt."""

    def pause_s(self, failures: int) -> float:
        """Return how long to wait after so many failures."""
        return min(30.0, self.first_pause_s * 2.0 ** (failures - 1)) * random.uniform(0.8, 1.2)  # noqa: S311


class PassingFailure(ProvisionError):
    """The hub did not answer as it should, and may do so a moment later."""

    def __init__(self, text: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoFile:
    """A file as the hub lists it."""

    path: str
    size_bytes: int
    sha256: str = ""
    """Of large files."""
    git_sha1: str = ""
    """Of small ones: the sum git has of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A repository at one commit."""

    repo: str
    commit: str
    files: tuple[RepoFile, ...]


class Repository:
    """Asks one hub; the token goes to it alone, never where it redirects to."""

    def __init__(
        self, settings: ProvisionSettings, session: aiohttp.ClientSession, patience: Patience | None = None
    ) -> None:
        self.endpoint = URL(settings.hub_url.rstrip("/"))
        self.patience = patience or Patience()
        self._token = settings.hub_token.get_secret_value()
        self._session = session
        if self.endpoint.scheme not in {"http", "https"} or not self.endpoint.host or self.endpoint.user:
            named = "provision.endpoint" if settings.endpoint else "HF_ENDPOINT"
            raise ProvisionError(f"{named}: an address such as {HUGGING_FACE} is expected")

    async def files_of(self, repo: str, revision: str = "main") -> Listing:
        """Tell which files a repository has.

        Raises: ProvisionError: there is none, it may not be read, or the hub does not answer.
        """
        about, _ = await self._json(self._url("api", "models", repo, "revision", revision))
        commit = about.get("sha") if isinstance(about, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise ProvisionError(f"{self.endpoint.host} did not say at which commit {repo} is")
        files: list[RepoFile] = []
        url: URL | None = self._url("api", "models", repo, "tree", commit).with_query(recursive="true")
        while url is not None:
            page, url = await self._json(url)
            files += [file for entry in page if (file := _file(entry))] if isinstance(page, list) else []
            if len(files) > MAX_FILES:
                raise ProvisionError(f"{repo} has more than {MAX_FILES} files, which no model has")
        return Listing(repo=repo, commit=commit, files=tuple(files))

    @asynccontextmanager
    async def bytes_of(
        self, listing: Listing, file: RepoFile, *, start: int
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for a file from a byte on; the answer may begin at 0 all the same.

        Raises: ProvisionError: it is not given. PassingFailure: not now.
        """
        url = self._url(listing.repo, "resolve", listing.commit, file.path)
        async with self._opened(url, {"Range": f"bytes={start}-"} if start else {}) as response:
            if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
                raise ProvisionError(f"{url.host} sends {file.path} compressed although it was asked not to")
            yield response

    async def again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something until it succeeds, or has failed too often."""
        failures = 0
        while True:
            try:
                return await work()
            except PassingFailure as error:
                failures += 1
                if failures >= self.patience.attempts:
                    raise
                await asyncio.sleep(max(error.retry_after_s, self.patience.pause_s(failures)))

    def _url(self, *parts: str) -> URL:
        # Joined part by part: a repository or file of a strange name stays one.
        return self.endpoint.joinpath(*(piece for part in parts for piece in part.split("/")))

    async def _json(self, url: URL) -> tuple[Any, URL | None]:
        """Return a page, and where the next one is."""

        async def ask() -> tuple[Any, URL | None]:
            async with self._opened(url, {}) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_PAGE_BYTES:
                        raise ProvisionError(
                            f"{url.host} sent more than {MAX_PAGE_BYTES} bytes about a repository"
                        )
                link = response.links.get("next")
                following = link.get("url") if link else None
                try:
                    return orjson.loads(body), self._following(following)
                except orjson.JSONDecodeError:
                    raise ProvisionError(
                        f"{url.host} is no Hugging Face style hub: no JSON at {url.path}"
                    ) from None

        return await self.again(ask)

    def _following(self, url: Any) -> URL | None:
        if url is None:
            return None
        following = _joined(self.endpoint, str(url))
        if following.origin() != self.endpoint.origin():
            raise ProvisionError(f"{self.endpoint.host} continues its list of files on another server")
        return following

    @asynccontextmanager
    async def _opened(self, url: URL, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            response = await self._follow(url, headers)
            try:
                if response.status not in {200, 206}:
                    await self._refuse(response, url)
                yield response
            finally:
                response.close()
        except (aiohttp.ClientError, OSError) as error:
            if is_refused(error):
                raise ProvisionError(
                    f"{url.host} sends elsewhere for it: {connection_fault(error)}"
                ) from error
            raise PassingFailure(f"{url.host}: {connection_fault(error)}") from error

    async def _follow(self, url: URL, headers: dict[str, str]) -> aiohttp.ClientResponse:
        for _ in range(MAX_REDIRECTS):
            is_home = url.origin() == self.endpoint.origin()
            token = {"Authorization": f"Bearer {self._token}"} if self._token and is_home else {}
            with connecting_for(MODEL_HUB):
                response = await self._session.get(url, headers=headers | token, allow_redirects=False)
            if response.status not in {301, 302, 303, 307, 308}:
                return response
            location = response.headers.get("Location", "")
            response.close()
            following = _joined(url, location)
            if (url.scheme, following.scheme) == ("https", "http"):
                raise ProvisionError(f"{url.host} redirects from an address with TLS to one without")
            url = following
        raise ProvisionError(f"{url.host} redirects more than {MAX_REDIRECTS} times")

    async def _refuse(self, response: aiohttp.ClientResponse, url: URL) -> None:
        text = failed(response.status, url, has_token=bool(self._token))
        if (pause_s := passing_pause_s(response)) is not None:
            raise PassingFailure(text, retry_after_s=pause_s)
        raise ProvisionError(text)


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Give connections that neither follow, unpack nor remember anything by themselves."""
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=GuardedResolver()),
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        # No version, no machine, no session id: nobody is told more than that a file is wanted.
        headers={"User-Agent": "hubbub", "Accept-Encoding": "identity"},
    ) as session:
        yield session


def _joined(url: URL, location: str) -> URL:
    try:
        # Left as it is written: many of these addresses are signed, and any other spelling breaks the signature.
        following = url.join(URL(location, encoded=True))
        is_web = following.scheme in {"http", "https"} and bool(following.origin())
    except ValueError:
        is_web = False
    if not is_web:
        raise ProvisionError(f"{url.host} redirects to what is no address of a web server")
    return following


def _file(entry: Any) -> RepoFile | None:
    if not isinstance(entry, dict) or entry.get("type") != "file":
        return None
    lfs = entry.get("lfs") if isinstance(entry.get("lfs"), dict) else {}
    path, size = entry.get("path"), lfs.get("size", entry.get("size")) if lfs else entry.get("size")
    if not isinstance(path, str) or not isinstance(size, int) or size < 0:
        return None
    return RepoFile(
        path=path,
        size_bytes=size,
        sha256=_sum(lfs.get("oid") or lfs.get("sha256"), 64) if lfs else "",
        git_sha1="" if lfs else _sum(entry.get("oid"), 40),
    )


def _sum(value: Any, digits: int) -> str:
    text = value.removeprefix("sha256:").lower() if isinstance(value, str) else ""
    return text if len(text) == digits and not set(text) - set("0123456789abcdef") else ""
