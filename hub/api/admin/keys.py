"""/api/v1/admin/keys: API keys made, changed, given new secrets and ended, and what was asked with them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from hub.api.actors import Actor, note_change
from hub.api.admin.key_models import (
    KeyChanges,
    KeyRequest,
    KeyShown,
    KeysQuery,
    NewKeyShown,
    RotateRequest,
    UsageAnswered,
    UsageQuery,
    UsageShown,
)
from hub.api.admin.paging import (
    CURSORS,
    Page,
    bad_cursor,
    json_answer,
    not_found,
    page,
)
from hub.api.admin.rights import check_rights
from hub.api.auth import operators
from hub.api.body import read_json, read_query
from hub.api.parts import ApiParts
from hub.api.preconditions import stale, wanted_version
from hub.api.problems import FieldError, Problem, invalid_fields
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery
from hub.key_usage import UsageBook
from hub.keys import ApiKey, KeyChanged, NotRotated
from hub.messages import utc_now

PATH = f"{PREFIX}/admin/keys"
TAG = "keys"
NO_STORE = {"Cache-Control": "no-store"}
"""Of answers that hold a secret."""


class AdminKeyRoutes:
    """API keys as operators work on them."""

    def __init__(self, parts: ApiParts, usage: UsageBook) -> None:
        self._keys = parts.keys
        self._tiers = parts.key_settings.tiers
        self._settings = parts.settings
        self._usage = usage

    def routes(self) -> list[Route]:
        """Return the routes."""
        admins, one, plain = operators("admin"), f"{PATH}/{{key}}", Takes(query=NoQuery)
        more = {403: ("more_than_own",)}
        return [
            Route(
                "GET", PATH, self.list_keys, admins,
                About("list_keys", "Lists the keys, the latest first.", TAG),
                Takes(query=KeysQuery),
                Gives(Answer(model=Page[KeyShown], says="A page."), faults=CURSORS),
            ),
            Route(
                "POST", PATH, self.create, admins,
                About("create_key", "Makes a key with no more rights than one's own.", TAG),
                Takes(query=NoQuery, body=KeyRequest),
                Gives(Answer(model=NewKeyShown, status=201, says="The key, shown this once."), faults=more),
            ),
            Route(
                "GET", one, self.show, admins,
                About("show_key", "Shows one key.", TAG),
                plain,
                Gives(Answer(model=KeyShown, says="The key, without its secret.")),
            ),
            Route(
                "PATCH", one, self.change, admins,
                About("change_key", "Changes what a key may do and is called.", TAG),
                Takes(query=NoQuery, body=KeyChanges, can_match=True),
                Gives(Answer(model=KeyShown, says="The key as it is now."), faults={**more, 409: ("changed_meanwhile",)}),
            ),
            Route(
                "DELETE", one, self.revoke, admins,
                About("revoke_key", "Ends a key at once.", TAG),
                plain,
                Gives(Answer(status=204, media_type="", says="It has ended."), faults={409: ("already_revoked",)}),
            ),
            Route(
                "POST", f"{one}/rotate", self.rotate, admins,
                About("rotate_key", "Gives a key a new secret; the old one works for a while.", TAG),
                Takes(query=NoQuery, body=RotateRequest),
                Gives(
                    Answer(model=NewKeyShown, says="The new secret, shown this once."),
                    faults={**more, 409: ("not_rotated",)},
                ),
            ),
            Route(
                "GET", f"{one}/usage", self.usage, admins,
                About("key_usage", "Tells what was asked with a key, by day and model.", TAG),
                Takes(query=UsageQuery),
                Gives(Answer(model=UsageAnswered, says="Requests and tokens.")),
            ),
        ]  # fmt: skip

    async def list_keys(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with a page of the keys, the latest first."""
        query = read_query(request, KeysQuery)
        found = await self._keys.page(_read_place(query.after), query.limit + 1, query.wanted)
        return page([KeyShown.of(one) for one in found], query.limit, _place)

    async def create(self, request: web.Request, who: Actor) -> web.Response:
        """Make a key."""
        read_query(request, NoQuery)
        asked = await read_json(request, KeyRequest, self._settings)
        wanted = asked.model_dump()
        self._check(wanted)
        check_rights(who.key, self._tiers, wanted)
        made = await self._keys.create(**{**wanted, "scopes": sorted(set(asked.scopes))})
        note_change(who, "key_created", made.key.id)
        headers = {**NO_STORE, "Location": f"{PATH}/{made.key.id}"}
        return json_answer(NewKeyShown.of(made).model_dump(mode="json"), 201, headers)

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with one key."""
        read_query(request, NoQuery)
        return json_answer(KeyShown.of(await self._one(request)).model_dump(mode="json"))

    async def change(self, request: web.Request, who: Actor) -> web.Response:
        """Change a key, unless it has, or would have, more rights than one's own."""
        read_query(request, NoQuery)
        asked = await read_json(request, KeyChanges, self._settings)
        target = await self._one(request)
        self._check(asked.values)
        for rights in (_rights(target), _rights(target) | asked.values):
            check_rights(who.key, self._tiers, rights)
        if (wanted := wanted_version(request)) and wanted != target.version:
            raise stale()
        try:
            # For what was looked at: its rights may have grown since.
            changed = await self._keys.change(target.id, asked.values, wanted=target.version)
        except KeyChanged:
            if wanted:
                raise stale() from None
            raise Problem(409, "changed_meanwhile", "It was changed meanwhile; look at it again.") from None
        if changed is None:
            raise not_found("key")
        note_change(who, "key_changed", target.id)
        return json_answer(KeyShown.of(changed).model_dump(mode="json"))

    async def revoke(self, request: web.Request, who: Actor) -> web.Response:
        """End a key, whatever it may do."""
        read_query(request, NoQuery)
        target = await self._one(request)
        if not await self._keys.revoke(target.id):
            raise Problem(409, "already_revoked", "This key was revoked before.")
        note_change(who, "key_revoked", target.id)
        return web.Response(status=204)

    async def rotate(self, request: web.Request, who: Actor) -> web.Response:
        """Give a key a new secret, unless it has more rights than one's own."""
        read_query(request, NoQuery)
        asked = await read_json(request, RotateRequest, self._settings)
        target = await self._one(request)
        check_rights(who.key, self._tiers, _rights(target))
        try:
            made = await self._keys.rotate(target.id, overlap=timedelta(seconds=asked.overlap_s))
        except NotRotated:
            raise Problem(
                409, "not_rotated", "It is revoked or expired, or too many of its secrets work already."
            ) from None
        if made is None:
            raise not_found("key")
        note_change(who, "key_rotated", target.id, overlap_s=asked.overlap_s)
        return json_answer(NewKeyShown.of(made).model_dump(mode="json"), headers=NO_STORE)

    async def usage(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with what was asked with a key."""
        first, last = read_query(request, UsageQuery).days(utc_now().date())
        target = await self._one(request)
        found = await self._usage.of(target.id, first, last)
        totals = {
            name: sum(getattr(one, name) for one in found)
            for name in ("requests", "prompt_tokens", "answer_tokens")
        }
        items = [UsageShown.model_validate(one) for one in found]
        answer = UsageAnswered(first=first, last=last, items=items, **totals)
        return json_answer(answer.model_dump(mode="json"))

    async def _one(self, request: web.Request) -> ApiKey:
        found = await self._keys.one(request.match_info["key"])
        if found is None:
            raise not_found("key")
        return found

    def _check(self, named: dict[str, Any]) -> None:
        """Refuse what cannot be."""
        errors = []
        if "tier" in named and named["tier"] not in self._tiers:
            errors.append(FieldError("tier", "there is no such tier"))
        if named.get("expires_at") is not None and named["expires_at"] <= utc_now():
            errors.append(FieldError("expires_at", "it is over; DELETE ends a key"))
        if errors:
            raise invalid_fields(*errors)


def _rights(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in ("tier", "scopes", "networks", "expires_at")}


def _place(key: KeyShown) -> str:
    return f"{key.created_at.isoformat()} {key.id}"


def _read_place(text: str) -> tuple[datetime, str] | None:
    if not text:
        return None
    made_at, _, key_id = text.partition(" ")
    try:
        at = datetime.fromisoformat(made_at)
    except ValueError:
        raise bad_cursor() from None
    if at.tzinfo is None or not key_id:
        raise bad_cursor()
    return at.astimezone(UTC), key_id
