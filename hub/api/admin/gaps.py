"""/api/v1/admin/gaps: the questions that the documents could not answer."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from hub.api.actors import Actor, note_change
from hub.api.admin.moments import SpanQuery
from hub.api.admin.paging import CURSORS, Page, PageQuery, bad_cursor, not_found, page
from hub.api.admin.ports import AdminParts, GapShown
from hub.api.auth import operators
from hub.api.body import read_query
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery, YesNo, is_yes

MAX_NAME_CHARS = 64
MAX_TEXT_CHARS = 200

Order = tuple[int, float, int]


class GapsQuery(PageQuery, SpanQuery):
    """Which questions; the times are those at which they were last asked."""

    connector: Annotated[str, Field(max_length=MAX_NAME_CHARS)] = ""
    """Asked there, and perhaps elsewhere, too."""
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    """A part of the question, or of another wording of it, in whatever case."""
    is_looked_up: YesNo | None = None

    def holds_for(self, gap: GapShown) -> bool:
        """Tell whether a question is one of them."""
        part = self.text.casefold()
        return (
            (not self.connector or self.connector in gap.connectors)
            and (not part or any(part in words.casefold() for words in (gap.question, *gap.examples)))
            and is_yes(self.is_looked_up) in (None, gap.is_looked_up)
            and (self.since is None or gap.last_asked >= self.since)
            and (self.until is None or gap.last_asked < self.until)
        )


class GapRoutes:
    """Open questions."""

    def __init__(self, parts: AdminParts) -> None:
        self._desk = parts.gaps

    def routes(self) -> list[Route]:
        """Return the routes."""
        tag, path = "questions", f"{PREFIX}/admin/gaps"
        return [
            Route(
                "GET", path, self.list_gaps, operators("viewer"),
                About("list_gaps", "Lists the questions that the documents could not answer.", tag),
                Takes(query=GapsQuery),
                Gives(Answer(model=Page[GapShown], says="A page, those asked most often first."), faults=CURSORS),
            ),
            Route(
                "DELETE", f"{path}/{{gap}}", self.forget, operators("operator"),
                About("forget_gap", "Forgets one with all its questions.", tag),
                Takes(query=NoQuery),
                Gives(Answer(status=204, media_type="", says="It is forgotten.")),
            ),
        ]  # fmt: skip

    async def list_gaps(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of them, those asked most often first."""
        query = read_query(request, GapsQuery)
        after = _read_place(query.after)
        # What is one question shows only when all of them are put together.
        found = sorted(filter(query.holds_for, await self._desk.gaps()), key=_order)
        if after is not None:
            found = [gap for gap in found if _order(gap) > after]
        return page(found[: query.limit + 1], query.limit, _place)

    async def forget(self, request: web.Request, who: Actor) -> web.Response:
        """Forget one with all its questions, because it is filled or not worth filling."""
        read_query(request, NoQuery)
        given = request.match_info["gap"]
        is_id = given.isascii() and given.isdigit() and len(given) <= 18
        if not is_id or not await self._desk.forget(int(given)):
            raise not_found("gap")
        note_change(who, "gap_forgotten", str(int(given)))
        return web.Response(status=204)


def _order(gap: GapShown) -> Order:
    return -gap.count, -gap.last_asked.timestamp(), gap.id


def _place(gap: GapShown) -> str:
    return " ".join(repr(part) for part in _order(gap))


def _read_place(text: str) -> Order | None:
    if not text:
        return None
    try:
        count, asked, number = text.split(" ")
        return int(count), float(asked), int(number)
    except ValueError:
        raise bad_cursor() from None
