"""/api/v1/admin/operators: who works on the hub."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from hub.api.actors import Actor, note_change
from hub.api.admin.paging import CURSORS, Page, PageQuery, json_answer, not_found, page_of_all
from hub.api.admin.rights import check_may_admit
from hub.api.admin.session import MAX_SENT_CHARS, OperatorShown
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.parts import ApiParts
from hub.api.problems import FieldError, Problem, invalid_fields, unavailable
from hub.api.routes import PREFIX, About, Answer, Faults, Gives, Route, Takes
from hub.api.schemas import Asked, NoQuery
from hub.operators.passwords import PasswordRefused, PasswordsBusy
from hub.operators.roles import Role
from hub.operators.store import Change, LastAdmin, NameRefused, NameTaken, OperatorStore

PATH = f"{PREFIX}/admin/operators"

Password = Annotated[str, Field(min_length=1, max_length=MAX_SENT_CHARS)]


class OperatorsQuery(PageQuery):
    """Which operators."""

    role: Role | None = None
    state: Literal["active", "disabled"] | None = None

    @property
    def is_disabled(self) -> bool | None:
        """The same for the table; None: whatever it is."""
        return None if self.state is None else self.state == "disabled"


class NewOperatorRequest(Asked):
    """A new operator."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """What they sign in as: a-z, 0-9, `.`, `_` and `-`."""
    role: Role
    password: Password


class OperatorRequest(Asked):
    """What is to change; the rest stays."""

    role: Role | None = None
    disabled: bool | None = None
    """True shuts them out at once."""
    password: Password | None = None


class OperatorRoutes:
    """Operators; for admins alone."""

    def __init__(self, parts: ApiParts, store: OperatorStore) -> None:
        self._store = store
        self._tiers = parts.key_settings.tiers
        self._settings = parts.settings

    def routes(self) -> list[Route]:
        """Return the routes."""
        tag, admins, one = "operators", operators("admin"), f"{PATH}/{{operator}}"
        more = ("more_than_own",)
        faults: Faults = {403: ("own_account",), 409: ("last_admin",), 503: ("busy",)}
        shown = Answer(model=OperatorShown, says="The operator.")
        return [
            Route(
                "GET", PATH, self.list_operators, admins,
                About("list_operators", "Lists the operators, by name.", tag),
                Takes(query=OperatorsQuery),
                Gives(Answer(model=Page[OperatorShown], says="A page."), faults=CURSORS),
            ),
            Route(
                "POST", PATH, self.add, admins,
                About("add_operator", "Makes an operator.", tag),
                Takes(query=NoQuery, body=NewOperatorRequest),
                Gives(
                    Answer(model=OperatorShown, status=201, says="They can sign in."),
                    faults={403: more, 409: ("name_taken",), 503: ("busy",)},
                ),
            ),
            Route(
                "GET", one, self.show, admins,
                About("show_operator", "Shows an operator.", tag),
                Takes(query=NoQuery),
                Gives(shown),
            ),
            Route(
                "PATCH", one, self.change, admins,
                About("change_operator", "Changes role or password of an operator, or shuts them out.", tag),
                Takes(query=NoQuery, body=OperatorRequest),
                Gives(shown, faults={**faults, 403: ("own_account", *more)}),
            ),
            Route(
                "DELETE", one, self.remove, admins,
                About("remove_operator", "Removes an operator with their sessions.", tag),
                Takes(query=NoQuery),
                Gives(Answer(status=204, media_type="", says="They are gone."), faults=faults),
            ),
        ]  # fmt: skip

    async def list_operators(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of them, by name."""
        query = read_query(request, OperatorsQuery)
        found = await self._store.all(role=query.role, is_disabled=query.is_disabled)
        shown = map(OperatorShown.of, found)
        return page_of_all(shown, query, lambda one: one.name)

    async def add(self, request: web.Request, who: Actor) -> web.Response:
        """Make one."""
        read_query(request, NoQuery)
        asked = await read_json(request, NewOperatorRequest, self._settings)
        check_may_admit(who.key, self._tiers, asked.role)
        async with _refusals():
            made = await self._store.add(asked.name, asked.role, asked.password)
        note_change(who, "operator_added", made.id)
        return _shown(OperatorShown.of(made), 201, {"Location": f"{PATH}/{made.id}"})

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Show one."""
        read_query(request, NoQuery)
        found = await self._store.one(request.match_info["operator"])
        if found is None:
            raise not_found("operator")
        return _shown(OperatorShown.of(found))

    async def change(self, request: web.Request, who: Actor) -> web.Response:
        """Change one; the sessions of whoever is changed end."""
        read_query(request, NoQuery)
        asked = await read_json(request, OperatorRequest, self._settings)
        if not asked.model_fields_set:
            raise invalid_fields(FieldError("", "expected role, disabled or password"))
        operator = self._other(request, who)
        before = await self._store.one(operator)
        if before is None:
            raise not_found("operator")
        if asked.model_fields_set != {"disabled"} or not asked.disabled:
            check_may_admit(who.key, self._tiers, asked.role or before.role)
        async with _refusals():
            wanted = Change(role=asked.role, disabled=asked.disabled, password=asked.password)
            after = await self._store.change(operator, wanted)
        if after is None:
            raise not_found("operator")
        if before != after:
            note_change(who, _said(asked), operator)
        return _shown(OperatorShown.of(after))

    async def remove(self, request: web.Request, who: Actor) -> web.Response:
        """Remove one."""
        read_query(request, NoQuery)
        operator = self._other(request, who)
        async with _refusals():
            removed = await self._store.remove(operator)
        if removed is None:
            raise not_found("operator")
        note_change(who, "operator_removed", operator)
        return web.Response(status=204)

    def _other(self, request: web.Request, who: Actor) -> str:
        """Return whom it is about; nobody decides about themselves."""
        operator = request.match_info["operator"]
        if who.kind == "operator" and operator == who.id:
            raise Problem(
                403, "own_account", "Another admin changes this; your password you change yourself."
            )
        return operator


@asynccontextmanager
async def _refusals() -> AsyncIterator[None]:
    try:
        yield
    except PasswordsBusy:
        raise unavailable("Too many passwords are checked at once.", code="busy") from None
    except PasswordRefused as refused:
        raise invalid_fields(FieldError("password", str(refused))) from None
    except NameRefused as refused:
        raise invalid_fields(FieldError("name", str(refused))) from None
    except NameTaken as refused:
        raise Problem(409, "name_taken", f"{str(refused).capitalize()}.") from None
    except LastAdmin as refused:
        raise Problem(409, "last_admin", f"{str(refused).capitalize()}.") from None


def _said(asked: OperatorRequest) -> str:
    changed = asked.model_fields_set
    if changed == {"role"}:
        return "role_changed"
    if changed == {"password"}:
        return "password_changed"
    if changed == {"disabled"}:
        return "operator_disabled" if asked.disabled else "operator_enabled"
    return "operator_changed"


def _shown(operator: OperatorShown, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return json_answer(operator.model_dump(mode="json"), status, headers)
