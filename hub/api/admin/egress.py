"""/api/v1/admin/egress: what the hub may connect to, and where it has connected to or tried to."""

from aiohttp import web

from hub.api.actors import Actor
from hub.api.admin.paging import json_answer
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_query
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery
from hub.egress.book import EgressEntry
from hub.egress.guard import present


class AllowedShown(Shown):
    """A destination that a setting names."""

    host: str
    """A name, `*.` and a domain, an address, a network, or `*` for all."""
    port: int
    """0: every port."""
    purpose: str
    only_for_it: bool
    """Whether only what connects for this purpose may go there."""


class EgressShown(Shown):
    """The allowlist of the API's process, and the ledger of all processes."""

    allowed: tuple[AllowedShown, ...]
    connections: tuple[EgressEntry, ...]
    """The latest first."""


class EgressRoutes:
    """Outgoing connections."""

    def __init__(self, parts: AdminParts) -> None:
        self._book = parts.egress

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(
                "GET", f"{PREFIX}/admin/egress", self.show, operators("viewer"),
                About("show_egress", "Shows what may be connected to, and where processes have connected to.", "egress"),
                Takes(query=NoQuery),
                Gives(Answer(model=EgressShown, says="The allowlist and the ledger.")),
            )
        ]  # fmt: skip

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with both."""
        read_query(request, NoQuery)
        if guard := present():
            # What this process has counted since it last wrote.
            await self._book.write(guard)
        shown = EgressShown(
            allowed=tuple(
                AllowedShown(host=rule.host, port=rule.port, purpose=rule.purpose, only_for_it=rule.is_scoped)
                for rule in (guard.rules if guard else ())
            ),
            connections=tuple(await self._book.entries()),
        )
        return json_answer(shown.model_dump(mode="json"))
