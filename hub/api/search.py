"""GET /search: passages of the documents, as the engine finds them."""

import orjson
import structlog
from aiohttp import web
from pydantic import ValidationError

from hub.api.body import read_query
from hub.api.parts import ApiParts
from hub.api.problems import Problem, unavailable
from hub.api.routes import KEY, PREFIX, About, Answer, Gives, Route, Takes, with_short_forms
from hub.api.schemas import SearchAnswer, SearchQuery
from hub.bus.calls import CallFailed
from hub.keys import ApiKey

log = structlog.get_logger(__name__)

SEARCH_TIMEOUT_S = 10.0


class SearchRoutes:
    """Search."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the routes."""
        about = About("search", "Gives the passages nearest to a question.", "search")
        gives = Gives(
            Answer(model=SearchAnswer, says="The passages, best first."),
            faults={502: ("bad_answer",), 503: ("no_engine",)},
        )
        route = Route("GET", f"{PREFIX}/search", self.search, KEY, about, Takes(query=SearchQuery), gives)
        return with_short_forms([route])

    async def search(self, request: web.Request, key: ApiKey) -> web.Response:
        """Answer with the passages nearest to the query."""
        query = read_query(request, SearchQuery)
        try:
            found = await self._parts.caller.call(
                "search", {"q": query.q, "k": query.k}, timeout_s=SEARCH_TIMEOUT_S
            )
            answer = SearchAnswer.model_validate(found)
        except CallFailed as error:
            log.warning("search_failed", error=str(error))
            raise unavailable("No engine answers searches for now.", code="no_engine") from error
        except ValidationError as error:
            log.error("search_answer_unreadable", faults=error.error_count())
            raise Problem(502, "bad_answer", "The engine's answer cannot be read.") from error
        return web.Response(
            body=orjson.dumps(answer.model_dump(mode="json")), content_type="application/json"
        )
