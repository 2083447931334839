"""POST /api/v1/review/rag-context: what the ingested code and documents say about a change."""

import asyncio

import orjson
import structlog
from aiohttp import web
from pydantic import ValidationError

from hub.api.body import read_json, read_query
from hub.api.parts import ApiParts
from hub.api.routes import KEY, PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery, ReviewAnswer, ReviewRequest
from hub.bus.calls import CallFailed
from hub.errors import BusError
from hub.keys import ApiKey

log = structlog.get_logger(__name__)


class ReviewRoutes:
    """Context for a review."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the route."""
        about = About(
            "review_context", "Tells what the ingested code and documents say about a change.", "review"
        )
        takes = Takes(query=NoQuery, body=ReviewRequest)
        gives = Gives(Answer(model=ReviewAnswer, says="What bears on the change."))
        return [Route("POST", f"{PREFIX}/review/rag-context", self.context, KEY, about, takes, gives)]

    async def context(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with focus areas and references; a reviewer without them can work, one who waits cannot."""
        read_query(request, NoQuery)
        asked = await read_json(request, ReviewRequest, self._parts.settings)
        answer = await self._answer(asked) if self._parts.review.enabled else ReviewAnswer(enabled=False)
        return web.Response(
            body=orjson.dumps(answer.model_dump(mode="json")), content_type="application/json"
        )

    async def _answer(self, asked: ReviewRequest) -> ReviewAnswer:
        settings = self._parts.review
        wanted = asked.model_dump(mode="json")
        wanted["max_results"] = min(asked.max_results or settings.max_results, settings.max_results)
        try:
            # Redis itself may be what does not answer.
            async with asyncio.timeout(settings.timeout_s):
                found = await self._parts.caller.call("review", wanted, timeout_s=settings.timeout_s)
            return ReviewAnswer.model_validate({**found, "enabled": True})
        except (CallFailed, BusError, TimeoutError) as error:
            log.warning("review_without_context", error=type(error).__name__)
        except (ValidationError, TypeError) as error:
            log.error("review_context_unreadable", error=type(error).__name__)
        return ReviewAnswer(enabled=True, degraded=True)
