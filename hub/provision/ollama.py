"""An Ollama server: lets it pull models, and registers them as remote ones.

Source: Ollama's documentation docs/api.md, "List Local Models", "Pull a Model" and "Show Model Information".
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from yarl import URL

from hub.egress.guard import connecting_for
from hub.egress.rule import OLLAMA
from hub.errors import ProvisionError
from hub.http_client import connection_fault
from hub.provision.models_file import check_free, register
from hub.provision.names import check_model_name
from hub.provision.pull import Progress, Pulled
from hub.provision.repository import open_session
from hub.settings import Settings

MAX_LINE_BYTES = 1 << 20
MAX_ANSWER_BYTES = 32 << 20
DEFAULT_CONTEXT = 4096
"""Tokens Ollama gives a model whose parameters name no `num_ctx`, however many it could hold."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*(:[A-Za-z0-9][A-Za-z0-9._-]*)?", re.ASCII)
_MAX_NAME_CHARS = 200
_CONTEXT = re.compile(r"(?m)^\s*num_ctx\s+(\d{1,9})\s*$")

Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """A model that an Ollama server has."""

    name: str
    size_bytes: int
    quantization: str
    parameters: str
    """How large it is, such as `3.2B`."""


class Ollama:
    """Asks one Ollama server."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = URL(url.rstrip("/"))
        self._session = session
        if self._url.scheme not in {"http", "https"} or not self._url.host:
            raise ProvisionError(
                "provision.ollama_url: an address such as http://127.0.0.1:11434 is expected"
            )

    @property
    def base_url(self) -> str:
        """Where its OpenAI-compatible protocol is."""
        return f"{str(self._url).rstrip('/')}/v1"

    async def models(self) -> list[OllamaModel]:
        """List the models it has.

        Raises: ProvisionError: it does not answer, or is no Ollama server.
        """
        answer = await self._ask("GET", "api/tags")
        rows = answer.get("models")
        return [_model(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def context_length(self, name: str) -> int:
        """Tell how many tokens a model holds as this server runs it.

        Raises: ProvisionError: it does not know the model.
        """
        about = await self._ask("POST", "api/show", {"model": name})
        if named := _CONTEXT.search(str(about.get("parameters", ""))):
            return max(1, int(named[1]))
        info = about.get("model_info")
        sizes = (
            [value for key, value in info.items() if key.endswith(".context_length")]
            if isinstance(info, dict)
            else []
        )
        known = [size for size in sizes if isinstance(size, int) and size > 0]
        return min([DEFAULT_CONTEXT, *known])

    async def pull(self, name: str, report: Report) -> int:
        """Let it pull a model; it goes on by itself where it was interrupted.

        Returns: how many bytes the model has.
        Raises: ProvisionError: it could not.
        """
        sizes: dict[str, tuple[int, int]] = {}
        async for step in self._steps(name):
            if error := step.get("error"):
                raise ProvisionError(f"Ollama could not pull {name}: {_shown(error)}")
            digest, total = step.get("digest"), step.get("total")
            if isinstance(digest, str) and isinstance(total, int):
                completed = step.get("completed")
                sizes[digest] = (completed if isinstance(completed, int) else 0, total)
            done, whole = (sum(pair[at] for pair in sizes.values()) for at in (0, 1))
            report(Progress(file=_shown(step.get("status", "")), done_bytes=done, total_bytes=whole))
            if step.get("status") == "success":
                return whole
        raise ProvisionError(
            f"Ollama ended the pull of {name} in the middle; the next attempt goes on from there"
        )

    async def _steps(self, name: str) -> AsyncIterator[dict[str, Any]]:
        async with self._opened("POST", "api/pull", {"model": name, "stream": True}) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    raise ProvisionError(f"{self._url.host} is no Ollama server: it sends a line without end")
                for line in lines:
                    yield self._object(line)
            if rest.strip():
                yield self._object(rest)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        async with self._opened(method, path, body) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise ProvisionError(
                        f"{self._url.host} is no Ollama server: it sends an answer without end"
                    )
            return self._object(bytes(content))

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        # A large layer is verified without a word; only the connection has a deadline.
        timeout = aiohttp.ClientTimeout(total=None, connect=10)
        data = None if body is None else orjson.dumps(body)
        try:
            with connecting_for(OLLAMA):
                response = await self._session.request(
                    method,
                    self._url.joinpath(*path.split("/")),
                    data=data,
                    allow_redirects=False,
                    timeout=timeout,
                )
            async with response:
                if response.status != 200:
                    error = self._error(await response.content.read(MAX_LINE_BYTES))
                    raise ProvisionError(f"Ollama at {self._url.host} refused ({response.status}): {error}")
                yield response
        except (aiohttp.ClientError, OSError) as error:
            raise ProvisionError(
                f"Ollama at {self._url.host}:{self._url.port}: {connection_fault(error)}. Does it run? "
                "provision.ollama_url says where."
            ) from error

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise ProvisionError(
                f"{self._url.host}:{self._url.port} is no Ollama server: it does not answer in JSON"
            )
        return value

    def _error(self, content: bytes) -> str:
        try:
            return _shown(self._object(content).get("error", ""))
        except ProvisionError:
            return _shown(content.decode("utf-8", "replace"))


async def pull_by_ollama(
    settings: Settings, model: str, report: Report = lambda progress: None, *, name: str = ""
) -> Pulled:
    """Let the Ollama server of the settings pull a model, and put it into the registry as a remote one.

    Args:
        settings: say where the server is.
        model: such as `llama3.2:1b`.
        report: told of every step.
        name: in the registry; empty takes the model's.

    Raises: ProvisionError: the server could not, or does not answer.
    """
    if not _NAME.fullmatch(model) or len(model) > _MAX_NAME_CHARS or ".." in model:
        raise ProvisionError(f"{model[:100]!a} is no model of Ollama; one looks like llama3.2:1b")
    name = check_model_name(name or model)
    async with open_session() as session:
        server = Ollama(settings.provision.ollama_url, session)
        entry: dict[str, object] = {"type": "remote", "base_urls": [server.base_url], "model": model}
        check_free(settings, name, entry)
        size_bytes = await server.pull(model, report)
        entry["context_length"] = await server.context_length(model)
    await asyncio.to_thread(register, settings, name, entry)
    return Pulled(name=name, type="remote", location=server.base_url, size_bytes=size_bytes)


async def ollama_models(settings: Settings) -> list[OllamaModel]:
    """List the models of the Ollama server of the settings.

    Raises: ProvisionError: it does not answer.
    """
    async with open_session() as session:
        return await Ollama(settings.provision.ollama_url, session).models()


def _model(row: dict[str, Any]) -> OllamaModel:
    about = row.get("details")
    details = about if isinstance(about, dict) else {}
    size = row.get("size")
    return OllamaModel(
        name=_shown(row.get("name", "")),
        size_bytes=size if isinstance(size, int) else 0,
        quantization=_shown(details.get("quantization_level") or ""),
        parameters=_shown(details.get("parameter_size") or ""),
    )


def _shown(value: Any) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in str(value)[:300])
    return " ".join(text.split())
