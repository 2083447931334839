"""What the tests of operators' routes share: an operator who calls them, and the engine's real embedding service."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import select

from engine.embedding import EmbeddingService
from hub.bus.calls import serve
from hub.bus.connection import connect_reader
from hub.database import sync_engine
from hub.operators.roles import Role
from hub.settings import Settings
from knowledge.embedder import Embedder
from knowledge.passages import Vectors
from knowledge.tables import ChunkRow, DocumentRow
from tests.hub.api.serving import Api, serving
from tests.hub.operators.desk import CHEAP, HERE, PASSWORD
from tests.servers.redis import RedisServer

PREFIX = "/api/v1/admin"
FERRY = b"# Ferry\n\nThe ferry to Divar leaves every twenty minutes, from six in the morning on.\n"


ALL = ("models", "admin")
"""Every scope."""


class Operator:
    """Calls the routes with a key that may."""

    def __init__(self, api: Api, headers: Mapping[str, str]) -> None:
        self.api = api
        self.headers = dict(headers)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        data: bytes | None = None,
        query: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Send a request below the operators' prefix; returns status and answer, None where that is empty."""
        async with self.api.session.request(
            method,
            f"{self.api.url}{PREFIX}{path}",
            json=body,
            data=None if data is None else io.BytesIO(data),
            params=query or {},
            headers=self.headers,
        ) as response:
            is_empty = response.status == 204
            return response.status, None if is_empty else await response.json(content_type=None)

    async def upload(self, collection: str, name: str, data: bytes) -> tuple[int, Any]:
        """Send a document."""
        return await self.call("PUT", f"/collections/{collection}/documents", data=data, query={"name": name})

    async def pages(self, path: str, **query: str) -> list[list[Any]]:
        """Read a list to its end, page by page."""
        pages, cursor = [], ""
        while True:
            status, answer = await self.call(
                "GET", path, query=query | ({"cursor": cursor} if cursor else {})
            )
            assert status == 200, answer
            pages.append(answer["items"])
            if (cursor := answer["next"]) is None:
                return pages


class SharedEmbeddings:
    """The bundled embedding model, as an engine's knowledge base gives it."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.embedding_model = embedder.model.rpartition("@")[0]
        self.texts: list[str] = []
        """What it was asked to embed."""

    async def embed(self, texts: Any) -> Vectors:
        """Embed."""
        self.texts += texts
        return await self._embedder.embed(texts)

    async def count_tokens(self, texts: Any) -> int:
        """Count."""
        return await asyncio.to_thread(self._embedder.count_tokens, texts)


async def holder(api: Api, *scopes: str, tier: str = "own", **rights: Any) -> Operator:
    """Make an operator whose key has these rights."""
    made = await api.parts.keys.create(tier, scopes=scopes or ALL, **rights)
    return Operator(api, {"X-API-Key": made.text})


def start_embedding(api: Api, embeddings: SharedEmbeddings) -> None:
    """Let an engine answer calls for vectors from now on."""
    bus, services = api.parts.bus, {"embed": EmbeddingService(embeddings).answer}
    api.tasks.create_task(serve(bus.redis, connect_reader(bus.url), services, api.stop))


@asynccontextmanager
async def operating(server: RedisServer, data: Path, **tables: Any) -> AsyncIterator[Operator]:
    """Run a server and give its operator.

    Args:
        tables: of the settings.
    """
    settings = Settings(data=data, bus={"redis_url": server.url}, **({"operators": CHEAP} | tables))
    async with serving(server.url, data, admin=settings) as api:
        yield Operator(api, await api.new_key("own", "admin"))


async def signed_in(api: Api, role: Role) -> Operator:
    """Sign an operator of a role in; they send no key."""
    assert api.parts.admin is not None
    operators = api.parts.admin.operators
    await operators.store.add(role, role, PASSWORD)
    given = await operators.sessions.sign_in(role, PASSWORD, HERE)
    assert given is not None
    return Operator(api, {"Authorization": f"Bearer {given.access_token}"})


async def until_done(operator: Operator, erasure: str) -> Any:
    """Wait until an erasure is done; returns what is told of it."""
    async with asyncio.timeout(60):
        while True:
            status, answer = await operator.call("GET", f"/erasures/{erasure}")
            assert status == 200
            if answer["state"] == "done":
                return answer
            await asyncio.sleep(0.05)


async def bytes_of(operator: Operator, path: str) -> tuple[aiohttp.ClientResponse, bytes]:
    """Fetch a file."""
    async with operator.api.session.get(
        f"{operator.api.url}{PREFIX}{path}", headers=operator.headers
    ) as response:
        return response, await response.read()


async def make(operator: Operator, name: str, audience: str = "public") -> None:
    """Make a collection."""
    status, answer = await operator.call("PUT", f"/collections/{name}", {"audience": audience})
    assert status == 201, answer


def document_rows(data: Path) -> list[tuple[str, str]]:
    """Read what the database holds of documents: names and texts."""
    engine = sync_engine(f"sqlite:///{data / 'hubbub.db'}")
    query = select(DocumentRow.location, ChunkRow.text).outerjoin(ChunkRow).order_by(ChunkRow.id)
    with engine.connect() as connection:
        found = [(row.location, row.text) for row in connection.execute(query)]
    engine.dispose()
    return found
