"""/api/v1/admin/erasures: people who are to be removed everywhere, and the receipts."""

from typing import Annotated, Literal

from aiohttp import web
from pydantic import AwareDatetime, Field

from hub.admin.erasures import Erasures
from hub.api.actors import Actor, note_change
from hub.api.admin.paging import CURSORS, Page, PageQuery, json_answer, not_found, page_of_all
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.problems import FieldError, invalid_fields
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import Asked, NoQuery, such_as
from hub.erasure.eraser import ErasureJob
from hub.erasure.person import NobodyNamed, Principal, parse_identity
from hub.erasure.receipt import ErasureReceipt
from hub.settings import ApiSettings

PATH = f"{PREFIX}/admin/erasures"
MAX_IDENTITIES = 20
MAX_IDENTITY_CHARS = 500
IDENTITY_PATTERN = r"^[^/\s]+/(https?://[^/\s]+|[^/\s:]+)/\S"
"""What an identity looks like, for the API's document."""


class ErasuresQuery(PageQuery):
    """Which erasures."""

    state: Literal["erasing", "compacting", "done"] | None = None


class ErasureRequest(Asked):
    """Who is to be erased."""

    model_config = such_as({"identities": ["telegram/123456789/42"]})

    identities: Annotated[
        list[
            Annotated[
                str,
                Field(
                    min_length=1,
                    max_length=MAX_IDENTITY_CHARS,
                    json_schema_extra={"pattern": IDENTITY_PATTERN},
                ),
            ]
        ],
        Field(min_length=1, max_length=MAX_IDENTITIES),
    ]
    """As the command takes them: `connector/account/person`."""


class ErasureShown(Shown):
    """How far an erasure is."""

    id: str
    state: str
    """`erasing`, `compacting` (nothing is left, files are written anew) or `done`."""
    begun_at: AwareDatetime
    receipt: ErasureReceipt | None
    """Signed; once it is done."""

    @classmethod
    def of(cls, job: ErasureJob) -> "ErasureShown":
        """Tell of a job, but not whose it is."""
        return cls(id=job.id, state=job.stage, begun_at=job.begun_at, receipt=job.receipt)


class ErasureRoutes:
    """Erasures."""

    def __init__(self, parts: AdminParts, settings: ApiSettings) -> None:
        self._erasures: Erasures = parts.erasures
        self._settings = settings

    def routes(self) -> list[Route]:
        """Return the routes."""
        tag = "people"
        return [
            Route(
                "GET", PATH, self.list_erasures, operators("viewer"),
                About("list_erasures", "Lists all erasures, oldest first.", tag),
                Takes(query=ErasuresQuery),
                Gives(Answer(model=Page[ErasureShown], says="A page."), faults=CURSORS),
            ),
            Route(
                "POST", PATH, self.begin, operators("operator"),
                About("begin_erasure", "Begins to remove somebody everywhere, known or not.", tag),
                Takes(query=NoQuery, body=ErasureRequest),
                Gives(Answer(model=ErasureShown, status=202, says="It is done in the background.")),
            ),
            Route(
                "GET", f"{PATH}/{{erasure}}", self.show, operators("viewer"),
                About("show_erasure", "Tells how far an erasure is, and gives its receipt once it is done.", tag),
                Takes(query=NoQuery),
                Gives(Answer(model=ErasureShown, says="How far it is.")),
            ),
        ]  # fmt: skip

    async def begin(self, request: web.Request, who: Actor) -> web.Response:
        """Begin an erasure; the answer is the same whether anybody is known by the name or not."""
        read_query(request, NoQuery)
        asked = await read_json(request, ErasureRequest, self._settings)
        job = await self._erasures.begin(*_principals(asked.identities))
        note_change(who, "erasure_begun", job.id)
        shown = ErasureShown.of(job).model_dump(mode="json")
        return json_answer(shown, 202, {"Location": f"{PATH}/{job.id}"})

    async def list_erasures(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of all erasures, oldest first."""
        query = read_query(request, ErasuresQuery)
        found = [job for job in await self._erasures.all() if query.state in (None, job.stage)]
        return page_of_all(map(ErasureShown.of, found), query, _place)

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with how far an erasure is, and with its receipt once it is done."""
        read_query(request, NoQuery)
        job = await self._erasures.one(request.match_info["erasure"])
        if job is None:
            raise not_found("erasure")
        return json_answer(ErasureShown.of(job).model_dump(mode="json"))


def _place(erasure: ErasureShown) -> str:
    return f"{erasure.begun_at.timestamp():020.6f} {erasure.id}"


def _principals(identities: list[str]) -> list[Principal]:
    found = []
    for at, identity in enumerate(identities):
        try:
            found.append(parse_identity(identity))
        except NobodyNamed:
            raise invalid_fields(
                FieldError(f"identities.{at}", "expected connector/account/person")
            ) from None
    return found
