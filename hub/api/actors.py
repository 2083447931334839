"""Who works on the hub by HTTP: an operator who has signed in, or a key with a scope; and what they change."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import structlog
from aiohttp import web

from hub.api.addresses import client_address
from hub.api.parts import CONTEXT, ApiParts
from hub.api.problems import Problem
from hub.api.routes import Route
from hub.audit import Attempt, AuditLog, Result
from hub.database import DatabaseError
from hub.keys import ADMIN_SCOPE, ApiKey
from hub.operators.roles import Role
from hub.operators.sessions import Session

log = structlog.get_logger("hub.api.admin")


@dataclass(slots=True, kw_only=True)
class Actor:
    """Whose request it is; made anew for each."""

    kind: Literal["operator", "key", "anybody"]
    id: str
    """Empty for anybody."""
    name: str = ""
    """Of an operator; empty for keys."""
    role: Role | None
    """None: a key that may do what its scope says, and is no operator."""
    session: Session | None = None
    """None for keys."""
    key: ApiKey | None = None
    """None for operators."""
    changes: list[Result] = field(default_factory=list)
    """What the request has changed so far."""

    @classmethod
    def with_key(cls, key: ApiKey) -> "Actor":
        """Return who has a key."""
        return cls(kind="key", id=key.id, role="admin" if ADMIN_SCOPE in key.scopes else None, key=key)

    @classmethod
    def of_session(cls, session: Session) -> "Actor":
        """Return who has signed in."""
        operator = session.operator
        return cls(kind="operator", id=operator.id, name=operator.name, role=operator.role, session=session)


def note_change(who: Actor, change: str, target: str, **numbers: int) -> None:
    """Note what a request has changed, for the audit log and the log.

    Args:
        change: a fact, such as `collection_removed`.
        target: id of what was changed; never what a person said or is called, and no secret.
    """
    _note(who, "admin_changed", Result(outcome="done", change=change, target=target, numbers=numbers))


def note_reading(who: Actor, fact: str, target: str, **numbers: int) -> None:
    """Note that somebody was shown what people have said, or is kept of them; otherwise as `note_change`."""
    _note(who, "admin_read", Result(outcome="done", change=fact, target=target, numbers=numbers))


def _note(who: Actor, event: str, result: Result) -> None:
    who.changes.append(result)
    # As every line of a request: an operator stands where else a key does.
    log.info(event, key=who.id, kind=who.kind, action=result.change, target=result.target, **result.numbers)


async def acting(parts: ApiParts, route: Route, request: web.Request, who: Actor) -> web.StreamResponse:
    """Let somebody who may call a route do so; what it changes comes into the audit log.

    The entry is written before the route is called, so that nothing is changed without one.

    Raises: Problem: of the route. DatabaseError: no entry could be written, and nothing was changed.
    """
    if not route.is_audited:
        return await route.handler(request, who)
    async with recorded(parts, route, request, who):
        return await route.handler(request, who)


@asynccontextmanager
async def recorded(parts: ApiParts, route: Route, request: web.Request, who: Actor) -> AsyncIterator[None]:
    """Let what happens in the block, and what came of it, be an entry of the audit log; of a process that keeps one.

    Raises: DatabaseError: no entry could be written, and the block was not begun.
    """
    if parts.admin is None:
        yield
        return
    audit, attempt = parts.admin.audit, attempted(parts, route, request, who)
    entry = await audit.begin(attempt)
    end = Result(outcome="failed", code="cancelled")
    try:
        yield
        end = Result(outcome="unchanged")
    except Problem as problem:
        end = Result(outcome="refused" if problem.status < 500 else "failed", code=problem.code)
        raise
    except Exception as error:
        end = Result(outcome="failed", code=type(error).__name__)
        raise
    finally:
        # Whether the client still waits or not.
        await asyncio.shield(_complete(audit, entry, attempt, who.changes or [end]))


async def note_refusal(parts: ApiParts, route: Route, request: web.Request, who: Actor, code: str) -> None:
    """Write that an operator tried what their role does not allow.

    Raises: DatabaseError: it could not be written.
    """
    if parts.admin is not None and route.is_audited:
        result = Result(outcome="refused", code=code)
        await parts.admin.audit.write(attempted(parts, route, request, who), result)


def attempted(parts: ApiParts, route: Route, request: web.Request, who: Actor) -> Attempt:
    """Say who asks for what, and from where."""
    return Attempt(
        actor_kind=who.kind,
        actor=who.id,
        actor_name=who.name,
        address=str(client_address(request, parts.settings.trusted_proxies) or ""),
        request=request[CONTEXT].request_id,
        action=route.about.name,
    )


async def _complete(audit: AuditLog, entry: int, attempt: Attempt, results: Sequence[Result]) -> None:
    try:
        await audit.end(entry, results[0])
        for result in results[1:]:
            await audit.write(attempt, result)
    except DatabaseError as error:
        # It is done, and its entry says that it was begun.
        log.error("audit_entry_not_completed", entry=entry, request=attempt.request, error=str(error))
