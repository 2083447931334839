"""POST /v1/embeddings: texts as vectors, by the model the documents are found with."""

import base64

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from hub.api.body import read_json, read_query
from hub.api.openai.requests import EmbeddingRequest
from hub.api.openai.schemas import EmbeddingList
from hub.api.parts import ApiParts
from hub.api.problems import FieldError, Problem, invalid_fields, unavailable
from hub.api.requests import without_controls
from hub.api.routes import KEY, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery
from hub.bus.calls import Caller, CallFailed
from hub.keys import ApiKey

EMBED_TIMEOUT_S = 60.0
BATCH = 32
"""Texts in one call: other questions get their turn in between."""


class Embedded(BaseModel):
    """What the engine answers."""

    model: str
    dimension: int
    vectors: list[str]
    """In the order of the texts: float32, little endian, as base64."""
    tokens: int


class EmbeddingRoutes:
    """Embeddings."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the route."""
        about = About("embeddings", "Gives texts as vectors.", "openai")
        takes = Takes(query=NoQuery, body=EmbeddingRequest)
        gives = Gives(
            Answer(model=EmbeddingList, says="The vectors."),
            faults={404: ("model_not_found",), 502: ("bad_answer",), 503: ("no_engine",)},
        )
        return [Route("POST", "/v1/embeddings", self.embed, KEY, about, takes, gives)]

    async def embed(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with one vector for each text."""
        read_query(request, NoQuery)
        asked = await read_json(request, EmbeddingRequest, self._parts.settings)
        texts = [without_controls(text) for text in asked.texts]
        tokens, rows = 0, list[str]()
        for start in range(0, len(texts), BATCH):
            found = await embedded(self._parts.caller, texts[start : start + BATCH])
            _check(asked, found)
            rows += found.vectors
            tokens += found.tokens
        as_text = asked.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": row if as_text else _floats(row)}
            for index, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": asked.model, "usage": usage}
        return web.Response(
            body=orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), content_type="application/json"
        )


async def embedded(caller: Caller, texts: list[str], *, timeout_s: float = EMBED_TIMEOUT_S) -> Embedded:
    """Ask the engine for vectors; without texts it only tells which model makes them.

    Raises: Problem: 503 when no engine answers, 502 when its answer cannot be read. BusError: Redis is away.
    """
    try:
        found = Embedded.model_validate(await caller.call("embed", {"texts": texts}, timeout_s=timeout_s))
    except CallFailed as error:
        raise unavailable("No engine embeds texts for now.", code="no_engine") from error
    except ValidationError as error:
        raise Problem(502, "bad_answer", "The engine's answer cannot be read.") from error
    if len(found.vectors) != len(texts):
        raise Problem(502, "bad_answer", "The engine's answer cannot be read.")
    return found


def _check(asked: EmbeddingRequest, found: Embedded) -> None:
    if asked.model != found.model:
        raise Problem(404, "model_not_found", f"The model that embeds texts here is {found.model}.")
    if asked.dimensions not in (None, found.dimension):
        raise invalid_fields(
            FieldError("dimensions", f"vectors of this model have {found.dimension} dimensions")
        )


def _floats(row: str) -> list[float]:
    return list(memoryview(base64.b64decode(row)).cast("f"))
