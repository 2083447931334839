"""POST /generate-key: a key for everybody who asks, where the operator allows it."""

import orjson
from aiohttp import web

from hub.api.actors import Actor, recorded
from hub.api.addresses import client_address, limit_name
from hub.api.body import read_query
from hub.api.parts import ApiParts
from hub.api.problems import FieldError, Problem, too_many
from hub.api.routes import OPEN, PREFIX, ROUTE, About, Answer, Gives, Route, Takes, with_short_forms
from hub.api.schemas import GenerateKeyAnswer, GenerateKeyQuery
from hub.audit import Result
from hub.keys import SELF_SERVICE
from hub.limits import Limit


class KeyRoutes:
    """Self-service keys."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the routes."""
        about = About("generate_key", "Gives a new key, where self-service is on.", "keys")
        gives = Gives(
            Answer(model=GenerateKeyAnswer, says="The key, which is never shown again."),
            faults={
                403: ("self_service_off", "tier_not_offered"),
                422: ("unknown_tier",),
                429: ("too_many_keys",),
                503: ("unavailable",),
            },
        )
        takes = Takes(query=GenerateKeyQuery, choices={"tier": self._parts.key_settings.self_service_tiers})
        route = Route("POST", f"{PREFIX}/generate-key", self.generate, OPEN, about, takes, gives)
        return with_short_forms([route])

    async def generate(self, request: web.Request) -> web.Response:
        """Make a key and show it, this once."""
        settings = self._parts.key_settings
        tier = read_query(request, GenerateKeyQuery).tier
        if not settings.self_service:
            raise Problem(403, "self_service_off", "Keys are made by the operator here.")
        if tier not in settings.tiers:
            errors = [FieldError("tier", "there is no such tier")]
            raise Problem(422, "unknown_tier", "There is no such tier.", errors=errors)
        if tier not in settings.self_service_tiers:
            raise Problem(403, "tier_not_offered", "Keys of this tier are made by the operator.")
        await self._spend(request)
        who = Actor(kind="anybody", id="", role=None)
        async with recorded(self._parts, request[ROUTE], request, who):
            made = await self._parts.keys.create(tier, label=SELF_SERVICE)
            who.changes.append(Result(outcome="done", change="key_created", target=made.key.id))
        limits = settings.tiers[tier]
        answer = GenerateKeyAnswer(api_key=made.text, tier=tier, limit=limits.limit, window=limits.window_s)
        return web.Response(body=orjson.dumps(answer.model_dump()), content_type="application/json")

    async def _spend(self, request: web.Request) -> None:
        address = limit_name(client_address(request, self._parts.settings.trusted_proxies))
        limit = Limit(requests=self._parts.key_settings.self_service_per_hour, window_s=3600)
        allowance = await self._parts.limits.spend(f"generate-key:{address}", limit)
        if not allowance.allowed:
            raise too_many(
                "too_many_keys", "Too many keys were asked for from here.", allowance.retry_after_s
            )
