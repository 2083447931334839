"""/api/v1/admin/session: operators sign in and out, get their next tokens, and see who they are."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

import structlog
from aiohttp import web
from pydantic import AwareDatetime, Field

from hub.api.actors import Actor, note_change
from hub.api.addresses import Address, client_address, limit_name
from hub.api.admin.paging import json_answer
from hub.api.admin.ports import AdminParts, Shown
from hub.api.admin.sign_in import SignInGuard
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.operator_auth import ACCESS_COOKIE, REFRESH_COOKIE, check_page
from hub.api.origins import is_own_page
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import FieldError, Problem, invalid_fields, unavailable
from hub.api.routes import PREFIX, ROUTE, SIGN_IN, About, Answer, Faults, Gives, Route, Takes
from hub.api.schemas import Asked, Given, NoQuery
from hub.audit import Attempt, Result
from hub.messages import utc_now
from hub.operators.passwords import PasswordRefused, PasswordsBusy
from hub.operators.roles import Role
from hub.operators.sessions import Given as GivenSession
from hub.operators.sessions import Reused
from hub.operators.store import Change, Operator

log = structlog.get_logger(__name__)

ADMIN_PATH = f"{PREFIX}/admin"
PATH = f"{ADMIN_PATH}/session"
MAX_SENT_CHARS = 1024
"""Longest name or password that is looked at; what an operator's may be is shorter."""
REFUSAL_S = 0.1
"""How long whoever is refused waits on top of what the password costs: longer than an entry of the audit log takes."""
_OWN_PASSWORD = "Operators alone have a session and a password; this is a key."  # noqa: S105 - a text
_BUSY: Faults = {429: ("too_many_failures",), 503: ("busy", "unavailable")}

Sent = Annotated[str, Field(min_length=1, max_length=MAX_SENT_CHARS)]


class SignInRequest(Asked):
    """Who signs in."""

    name: Sent
    password: Sent
    cookie: bool = False
    """Whether the tokens are to be put into cookies that no script can read, and not into the answer."""


class RefreshRequest(Asked):
    """What the next tokens are given for."""

    refresh_token: Annotated[str, Field(max_length=MAX_SENT_CHARS)] = ""
    """Empty: the cookie's."""


class PasswordRequest(Asked):
    """A new password of one's own."""

    password: Sent
    """The one so far."""
    new_password: Sent


class OperatorShown(Shown):
    """An operator's account."""

    id: str
    name: str
    role: Role
    created_at: AwareDatetime
    password_changed_at: AwareDatetime
    last_signed_in_at: AwareDatetime | None
    disabled_at: AwareDatetime | None

    @classmethod
    def of(cls, one: Operator) -> "OperatorShown":
        """Tell of an account."""
        return cls.model_validate(one)


class SessionAnswer(Given):
    """A session with its tokens."""

    operator: OperatorShown
    access_token: str | None
    """Goes into `Authorization: Bearer`; null where it is in a cookie."""
    expires_in: int
    """Seconds for which the access token is good."""
    refresh_token: str | None
    """Good once; null where it is in a cookie."""
    csrf_token: str
    """Requests with cookies that change something send it as `X-CSRF-Token`."""
    session_expires_at: AwareDatetime
    """After which a new sign-in is needed."""


class WhoAnswer(Given):
    """Whose request it is."""

    kind: Literal["operator", "key"]
    role: Role
    operator: OperatorShown | None
    """Null for a key."""
    csrf_token: str | None
    session_expires_at: AwareDatetime | None


class SessionRoutes:
    """Signing in and out."""

    def __init__(self, parts: ApiParts, admin: AdminParts) -> None:
        self._parts = parts
        self._sessions = admin.operators.sessions
        self._store = admin.operators.store
        self._passwords = admin.operators.passwords
        self._audit = admin.audit
        self._guard = SignInGuard(parts.limits, self._sessions)

    def routes(self) -> list[Route]:
        """Return the routes."""
        tag, plain = "operators", Takes(query=NoQuery)
        given = Answer(model=SessionAnswer, says="The tokens.")
        no_session: Faults = {409: ("no_session",)}
        return [
            Route(
                "POST", PATH, self.sign_in, SIGN_IN,
                About("sign_in", "Signs an operator in with name and password.", tag),
                Takes(query=NoQuery, body=SignInRequest),
                Gives(given, faults={401: ("wrong_credentials",), 403: ("origin_not_allowed",), **_BUSY}),
            ),
            Route(
                "POST", f"{PATH}/refresh", self.refresh, SIGN_IN,
                About("refresh_session", "Gives the next tokens; using a refresh token twice ends its session.", tag),
                Takes(query=NoQuery, body=RefreshRequest),
                Gives(given, faults={401: ("wrong_credentials",), 403: ("csrf",), **_BUSY}),
            ),
            Route(
                "GET", PATH, self.show, operators("viewer"),
                About("show_session", "Tells whose request it is, and what they may.", tag),
                plain,
                Gives(Answer(model=WhoAnswer, says="Who it is.")),
            ),
            Route(
                "DELETE", PATH, self.sign_out, operators("viewer"),
                About("sign_out", "Ends the session with all its tokens.", tag),
                plain,
                Gives(Answer(status=204, media_type="", says="It has ended."), faults=no_session),
            ),
            Route(
                "PUT", f"{PATH}/password", self.change_password, operators("viewer"),
                About("change_password", "Changes one's own password, and ends all one's sessions.", tag),
                Takes(query=NoQuery, body=PasswordRequest),
                Gives(
                    Answer(status=204, media_type="", says="It is changed; sign in with it."),
                    faults={403: ("wrong_password",), **no_session, **_BUSY},
                ),
            ),
        ]  # fmt: skip

    async def sign_in(self, request: web.Request) -> web.Response:
        """Begin a session."""
        read_query(request, NoQuery)
        # A page of another site must not sign its visitors in as somebody of its choice.
        if not is_own_page(request, self._parts.settings.public_url):
            raise Problem(403, "origin_not_allowed", "Pages of other sites may not sign in here.")
        asked = await read_json(request, SignInRequest, self._parts.settings)
        address = self._address(request)
        await self._guard.admit(asked.name, limit_name(address))
        try:
            given = await self._sessions.sign_in(asked.name, asked.password, limit_name(address))
        except PasswordsBusy:
            raise _busy() from None
        if given is None:
            # What is written about a name takes time, and nothing is about one that nobody has.
            told = asyncio.create_task(asyncio.sleep(REFUSAL_S))
            try:
                await self._note_refused(request, asked.name)
                await told
            finally:
                told.cancel()
            raise _wrong("Name and password are not those of an operator who may sign in.")
        operator = given.session.operator
        request[CONTEXT].key_id = operator.id
        done = Result(outcome="done", change="signed_in", target=operator.id)
        await self._audit.write(self._attempt(request, operator), done)
        return _answer(given, in_cookies=asked.cookie)

    async def refresh(self, request: web.Request) -> web.Response:
        """Give the next tokens."""
        read_query(request, NoQuery)
        asked = await read_json(request, RefreshRequest, self._parts.settings)
        token, in_cookies = asked.refresh_token, False
        if not token:
            token, in_cookies = request.cookies.get(REFRESH_COOKIE, ""), True
            session = await self._sessions.of_refresh_token(token) if token else None
            if session is not None:
                check_page(self._parts, request, session.csrf)
        try:
            given = await self._sessions.refresh(token)
        except Reused as reused:
            await self._note_reused(request, reused)
            given = None
        if given is None:
            raise _wrong("This refresh token is not good any more; sign in again.")
        request[CONTEXT].key_id = given.session.operator.id
        return _answer(given, in_cookies=in_cookies)

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Tell who it is."""
        read_query(request, NoQuery)
        session = who.session
        answer = WhoAnswer(
            kind=who.kind,
            role=who.role or "viewer",
            operator=OperatorShown.of(session.operator) if session else None,
            csrf_token=session.csrf if session else None,
            session_expires_at=session.expires_at if session else None,
        )
        return json_answer(answer.model_dump(mode="json"))

    async def sign_out(self, request: web.Request, who: Actor) -> web.Response:
        """End the session."""
        read_query(request, NoQuery)
        if who.session is None:
            raise Problem(409, "no_session", _OWN_PASSWORD)
        await self._sessions.end(who.session.id)
        note_change(who, "signed_out", who.id)
        response = web.Response(status=204)
        _forget_cookies(response)
        return response

    async def change_password(self, request: web.Request, who: Actor) -> web.Response:
        """Change one's own password."""
        read_query(request, NoQuery)
        asked = await read_json(request, PasswordRequest, self._parts.settings)
        if who.session is None:
            raise Problem(409, "no_session", _OWN_PASSWORD)
        await self._guard.admit_own_password(who.id)
        try:
            if not await self._sessions.has_password(who.id, asked.password):
                raise Problem(403, "wrong_password", "This is not the password so far.")
            await self._store.change(who.id, Change(password=asked.new_password))
        except PasswordsBusy:
            raise _busy() from None
        except PasswordRefused as refused:
            raise invalid_fields(FieldError("new_password", str(refused))) from None
        note_change(who, "password_changed", who.id)
        response = web.Response(status=204)
        _forget_cookies(response)
        return response

    async def _note_refused(self, request: web.Request, name: str) -> None:
        """Write that somebody tried to be an operator; names that nobody has are written nowhere."""
        operator = await self._store.named(name)
        log.warning(
            "sign_in_refused", request=request[CONTEXT].request_id, operator=operator.id if operator else ""
        )
        if operator is not None and await self._guard.is_recorded(operator.id):
            refused = Result(outcome="refused", target=operator.id, code="wrong_credentials")
            await self._audit.write(self._attempt(request, operator), refused)

    async def _note_reused(self, request: web.Request, reused: Reused) -> None:
        operator = await self._store.one(reused.operator)
        if operator is not None and await self._guard.is_recorded(reused.session):
            ended = Result(
                outcome="done", change="session_ended", target=operator.id, code="refresh_token_reused"
            )
            await self._audit.write(self._attempt(request, operator), ended)

    def _attempt(self, request: web.Request, operator: Operator) -> Attempt:
        return Attempt(
            actor_kind="operator",
            actor=operator.id,
            actor_name=operator.name,
            address=str(self._address(request) or ""),
            request=request[CONTEXT].request_id,
            action=request[ROUTE].about.name,
        )

    def _address(self, request: web.Request) -> Address | None:
        return client_address(request, self._parts.settings.trusted_proxies)


def _answer(given: GivenSession, *, in_cookies: bool) -> web.Response:
    session = given.session
    answer = SessionAnswer(
        operator=OperatorShown.of(session.operator),
        access_token=None if in_cookies else given.access_token,
        expires_in=_seconds_until(given.access_expires_at),
        refresh_token=None if in_cookies else given.refresh_token,
        csrf_token=session.csrf,
        session_expires_at=session.expires_at,
    )
    response = json_answer(answer.model_dump(mode="json"))
    if in_cookies:
        kept_s = _seconds_until(given.refresh_expires_at)
        _set_cookie(
            response, ACCESS_COOKIE, given.access_token, ADMIN_PATH, _seconds_until(given.access_expires_at)
        )
        _set_cookie(response, REFRESH_COOKIE, given.refresh_token, PATH, kept_s)
    return response


def _set_cookie(response: web.Response, name: str, value: str, path: str, max_age_s: int) -> None:
    response.set_cookie(
        name, value, max_age=max_age_s, path=path, secure=True, httponly=True, samesite="Strict"
    )


def _forget_cookies(response: web.Response) -> None:
    for name, path in ((ACCESS_COOKIE, ADMIN_PATH), (REFRESH_COOKIE, PATH)):
        response.del_cookie(name, path=path, secure=True, httponly=True, samesite="Strict")


def _seconds_until(at: datetime) -> int:
    return max(0, round((at - utc_now()).total_seconds()))


def _wrong(detail: str) -> Problem:
    return Problem(401, "wrong_credentials", detail, headers={"WWW-Authenticate": 'Bearer realm="hubbub"'})


def _busy() -> Problem:
    return unavailable("Too many passwords are checked at once.", code="busy")
