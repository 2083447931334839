"""Asks the operator's retrieval service about a gap; what it says is a proposal to the operator, never an answer."""

from collections.abc import Mapping
from typing import Annotated, Any

import aiohttp
import orjson
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hub.errors import KnowledgeError
from hub.guard_settings import GapSettings
from hub.http_client import connection_fault
from hub.public_addresses import AddressRefused, check_host, checked_connector, checked_url
from hub.text import normalise

MAX_BODY_BYTES = 262_144
MAX_PROPOSALS = 5
_MAX_TEXT_CHARS = 2_000


def _line(value: object) -> object:
    return " ".join(normalise(value).split())[:_MAX_TEXT_CHARS] if isinstance(value, str) else value


Line = Annotated[str, BeforeValidator(_line)]


class Proposal(BaseModel):
    """One document that a retrieval service found."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Line = Field(validation_alias=AliasChoices("text", "summary", "content", "snippet"), min_length=1)
    title: Line = Field(default="", validation_alias=AliasChoices("title", "name"))
    url: Line = Field(default="", validation_alias=AliasChoices("url", "source", "link"))


class _Found(BaseModel):
    model_config = ConfigDict(extra="ignore")

    documents: list[Any] = Field(validation_alias=AliasChoices("documents", "results"))


class Lookup:
    """Asks `gaps.retrieval_url`: `POST {"query": ...}`, answered by `{"documents": [{"title", "text", "url"}]}`."""

    def __init__(self, settings: GapSettings) -> None:
        """Prepare to ask.

        Raises: KnowledgeError: the settings name no address that may be asked.
        """
        if not settings.retrieval_url:
            raise KnowledgeError("nothing is looked up: gaps.retrieval_url is empty in the settings")
        try:
            self._url = checked_url(settings.retrieval_url)
            if not settings.retrieval_private:
                check_host(self._url)
        except AddressRefused as error:
            raise KnowledgeError(f"gaps.retrieval_url: {error}") from error
        self._settings = settings

    async def ask(self, question: str) -> list[Mapping[str, str]]:
        """Return what the service found for a question, best first; it may be nothing.

        Raises: KnowledgeError: it cannot be reached, is too slow, or says what nobody understands.
        """
        try:
            body = await self._body(question)
        except AddressRefused as error:
            raise KnowledgeError(f"gaps.retrieval_url: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KnowledgeError(f"{self._url.host}: {connection_fault(error)}") from error
        return _read(body)

    async def _body(self, question: str) -> bytes:
        timeout = aiohttp.ClientTimeout(total=self._settings.retrieval_timeout_s)
        link = aiohttp.TCPConnector() if self._settings.retrieval_private else checked_connector()
        async with (
            aiohttp.ClientSession(
                connector=link, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            # A redirection could lead anywhere.
            session.post(self._url, json={"query": question}, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise KnowledgeError(f"{self._url.host}: it answered with status {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(16_384):
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise KnowledgeError(
                        f"{self._url.host}: its answer is longer than {MAX_BODY_BYTES} bytes"
                    )
            return bytes(body)


def _read(body: bytes) -> list[Mapping[str, str]]:
    try:
        found = _Found.model_validate(orjson.loads(body)).documents
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise KnowledgeError("the retrieval service's answer is no list of documents") from error
    proposals: list[Mapping[str, str]] = []
    for each in found[: 4 * MAX_PROPOSALS]:
        try:
            proposals.append(Proposal.model_validate(each).model_dump())
        except ValidationError:
            # One bad document says nothing of the others.
            continue
    return proposals[:MAX_PROPOSALS]
