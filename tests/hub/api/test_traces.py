"""Whose `traceparent` counts: that of a caller with a key or a signature, and nobody else's."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from connectors.http.payloads import IncomingMessage
from hub.bus.bus import INBOUND, parse_inbound
from hub.messages import Address, InboundMessage
from hub.trace_settings import TraceSettings
from hub.traces import NO_TRACES, open_traces
from hub.traces.intake import taking_in
from tests.emulators.collector import Collector
from tests.hub.api.serving import Api, serving
from tests.servers.redis import RedisServer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
async def api(redis_server: RedisServer, redis: Redis, data: Path) -> AsyncIterator[Api]:
    """A server with a webhook beside the API, that anybody may call."""

    async def hook(request: web.Request) -> web.Response:
        address = Address(connector="web", account="hub", chat="v", person="v")
        await hub.parts.bus.publish(
            InboundMessage(external_key="k", conversation="web-v", address=address, text="hi")
        )
        return web.Response()

    async with (
        Collector() as collector,
        serving(redis_server.url, data, extra=[web.post("/hook", hook)]) as hub,
    ):
        hub.parts.bus.traces = open_traces(TraceSettings(endpoint=collector.endpoint), "api")
        yield hub
        await hub.parts.bus.traces.close()


async def waiting(api: Api) -> InboundMessage:
    """Read the message that waits."""
    client: Any = api.parts.bus.redis
    ((_, fields),) = await client.xrange(api.parts.bus.queue(INBOUND, 0).stream)
    return parse_inbound(fields[b"body"])


async def test_a_caller_with_a_key_goes_on_with_its_trace(api: Api) -> None:
    """The message carries the span of its intake, which hangs below the caller's."""
    await api.start_engine()
    headers = {**HEADERS, **await api.new_key()}
    async with api.session.post(f"{api.url}/chat", json={"prompt": "hello"}, headers=headers) as answer:
        assert answer.status == 200

    carried = api.engine.seen[0].trace["traceparent"]
    assert carried.startswith(f"00-{TRACE}-")
    assert SPAN not in carried


async def test_a_stranger_begins_a_trace_of_their_own(api: Api) -> None:
    """Nobody joins a trace, or has it kept, by calling a route that is open to all."""
    async with api.session.post(f"{api.url}/hook", headers=HEADERS) as answer:
        assert answer.status == 200

    carried = (await waiting(api)).trace["traceparent"]
    assert carried.startswith("00-")
    assert TRACE not in carried


async def test_without_a_collector_nothing_is_carried(api: Api) -> None:
    """What a caller sends is not even passed on."""
    await api.parts.bus.traces.close()
    api.parts.bus.traces = NO_TRACES
    async with api.session.post(f"{api.url}/hook", headers=HEADERS) as answer:
        assert answer.status == 200

    assert (await waiting(api)).trace == {}


def test_a_program_that_signs_goes_on_with_its_trace() -> None:
    """On the channel `http`, once its signature was checked."""
    message = IncomingMessage(id="1", conversation="c", person="p", text="hi")

    with taking_in(HEADERS):
        assert message.inbound("shop").trace == HEADERS
    assert message.inbound("shop").trace == {}
