"""GET /health and /metrics: how the hub is, for probes and for Prometheus."""

import asyncio
import contextlib
from dataclasses import asdict

import orjson
from aiohttp import web

from hub.api.addresses import client_address, is_forwarded, peer_address, within
from hub.api.parts import ApiParts
from hub.api.problems import Problem, unavailable
from hub.api.schemas import CacheAccount, CacheAccountingAnswer, HealthAnswer
from hub.bus.cache import LIMITS, cache_counts
from hub.bus.heartbeat import is_alive
from hub.errors import BusError

PATIENCE_S = 2.0
"""A Redis that takes longer is down for whoever asks; probes do not wait longer either."""


class HealthRoutes:
    """Health and metrics."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts

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
        address, peer = client_address(request, settings.trusted_proxies), peer_address(request)
        # A proxy nobody told us of: its own address says nothing about who asks.
        is_hidden = is_forwarded(request) and (peer is None or not within(peer, settings.trusted_proxies))
        if address is None or is_hidden or not within(address, settings.metrics_networks):
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
