"""/api/v1/admin/audit: what was changed, by whom, and what was refused."""

from typing import Annotated

from aiohttp import web
from pydantic import AwareDatetime, Field

from hub.api.actors import Actor
from hub.api.admin.moments import SpanQuery
from hub.api.admin.paging import CURSORS, Page, PageQuery, page
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_query
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.audit import ActorKind, Filter, Outcome

PATH = f"{PREFIX}/admin/audit"
MAX_WORD_CHARS = 300

Word = Annotated[str, Field(max_length=MAX_WORD_CHARS)]


class AuditQuery(PageQuery, SpanQuery):
    """Which entries."""

    actor: Word = ""
    """Id of an operator or a key; of a command the number of its user."""
    actor_kind: ActorKind | None = None
    action: Word = ""
    """Name of a route in the OpenAPI document, or a command such as `hubbub keys create`."""
    change: Word = ""
    """What was done, such as `collection_removed`."""
    target: Word = ""
    """Id of what it was done to."""
    outcome: Outcome | None = None


class EntryShown(Shown):
    """One entry."""

    id: int
    at: AwareDatetime
    actor_kind: str
    """`operator`, `key`, `command`, or `anybody`, who was given a key of self-service."""
    actor: str
    actor_name: str
    """What the operator was called then; of a command, its user."""
    address: str
    request: str
    """As in `X-Request-ID` and the log."""
    action: str
    change: str
    """Empty where nothing was changed."""
    target: str
    outcome: Outcome
    """`begun`: under way, or killed; `unchanged`: all was so already; `refused`, `failed`: `code` says why."""
    code: str
    numbers: dict[str, int]


class AuditRoutes:
    """The audit log."""

    def __init__(self, parts: AdminParts) -> None:
        self._audit = parts.audit

    def routes(self) -> list[Route]:
        """Return the route."""
        about = About("list_audit", "Lists what was changed and what was refused, latest first.", "operators")
        answers = Gives(Answer(model=Page[EntryShown], says="A page."), faults=CURSORS)
        return [
            Route("GET", PATH, self.list_entries, operators("admin"), about, Takes(query=AuditQuery), answers)
        ]

    async def list_entries(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of entries, latest first."""
        query = read_query(request, AuditQuery)
        which = Filter(
            actor=query.actor,
            actor_kind=query.actor_kind or "",
            action=query.action,
            change=query.change,
            target=query.target,
            outcome=query.outcome or "",
            since=query.since,
            until=query.until,
        )
        found = await self._audit.entries(which, before=query.after_id, limit=query.limit + 1)
        return page([EntryShown.model_validate(one) for one in found], query.limit, lambda one: str(one.id))
