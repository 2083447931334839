"""GET /health and /metrics: how the hub is, for probes and for Prometheus."""

import asyncio
import contextlib
from dataclasses import asdict

import orjson
from aiohttp import web

from hub.api.addresses import comes_from
from hub.api.parts import ApiParts
from hub.api.problems import Problem, unavailable
from hub.api.routes import METRICS, PREFIX, PROBE, About, Answer, Gives, Route, Takes, with_short_forms
from hub.api.schemas import CacheAccount, CacheAccountingAnswer, HealthAnswer
from hub.bus.cache import LIMITS, cache_counts
from hub.bus.heartbeat import is_alive
from hub.errors import BusError

TAG = "state"
PATIENCE_S = 2.0
"""A Redis that takes longer is down for whoever asks; probes do not wait longer either."""


class HealthRoutes:
    """Health and metrics."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return the routes, which are there in every process that serves HTTP."""
        health = About("health", "Tells whether Redis and an engine are there.", TAG)
        metrics = About(
            "metrics", "Gives metrics for Prometheus, to the networks in `api.metrics_networks`.", TAG
        )
        caches = About("cache_accounting", "Gives the look-ups of the caches, to the same networks.", TAG)
        up = Gives(
            Answer(model=HealthAnswer, says="Messages are taken in."),
            Answer(model=HealthAnswer, status=503, says="Redis is away."),
        )
        text = Gives(
            Answer(media_type=METRICS, says="Prometheus' text format."), faults={403: ("forbidden",)}
        )
        accounts = Gives(
            Answer(model=CacheAccountingAnswer, says="The caches."),
            faults={403: ("forbidden",), 503: ("no_redis",)},
        )
        path = f"{PREFIX}/metrics"
        return with_short_forms(
            [
                Route("GET", f"{PREFIX}/health", self.health, PROBE, health, Takes(), up),
                Route("GET", path, self.metrics, PROBE, metrics, Takes(), text),
                Route(
                    "GET", f"{path}/cache_accounting", self.cache_accounting, PROBE, caches, Takes(), accounts
                ),
            ]
        )

    async def health(self, request: web.Request) -> web.Response:
        """Tell up or down, within PATIENCE_S; 503 when no message can be taken in."""
        is_redis_up = is_engine_up = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                is_redis_up = await self._is_redis_up()
                is_engine_up = is_redis_up and await self._is_engine_up()
        answer = HealthAnswer(
            status="ok" if is_engine_up else "degraded",
            redis="up" if is_redis_up else "down",
            engine="up" if is_engine_up else "down",
        )
        return web.Response(
            status=200 if is_redis_up else 503,
            body=orjson.dumps(answer.model_dump()),
            content_type="application/json",
        )

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with all metrics, to the networks that may read them."""
        self._check_reader(request)
        await self._parts.metrics.state.look(self._parts.bus)
        return web.Response(
            body=self._parts.metrics.text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def cache_accounting(self, request: web.Request) -> web.Response:
        """Answer with the look-ups of each cache, which its hits and misses add up to; to the same networks."""
        self._check_reader(request)
        try:
            counts = {kind: await cache_counts(self._parts.bus.redis, kind) for kind in LIMITS}
        except BusError as error:
            raise unavailable("Redis does not answer.", code="no_redis") from error
        answer = CacheAccountingAnswer(
            caches={
                kind: CacheAccount(**asdict(count), consistent=count.is_consistent)
                for kind, count in counts.items()
            }
        )
        return web.Response(body=orjson.dumps(answer.model_dump()), content_type="application/json")

    def _check_reader(self, request: web.Request) -> None:
        settings = self._parts.settings
        if not comes_from(request, settings.metrics_networks, settings.trusted_proxies):
            raise Problem(403, "forbidden", "Metrics are read from the operator's networks only.")

    async def _is_redis_up(self) -> bool:
        try:
            await self._parts.bus.ping()
        except BusError:
            return False
        return True

    async def _is_engine_up(self) -> bool:
        with contextlib.suppress(BusError):
            return await is_alive(self._parts.bus.redis, "engine")
        return False
