"""What happens, by HTTP: page by page, and as it happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from hub.admin.events import EventBook, Position, WantedEvents
from hub.api.admin import events as routes
from hub.bus.keys import Keys
from hub.events import DeliveryEvent, Event, TurnEvent
from tests.hub.api.admin.operating import PREFIX, Operator
from tests.servers.redis import RedisServer


def turn(number: int, conversation: str = "a") -> TurnEvent:
    """Make the event of a turn."""
    return TurnEvent(
        turn=f"{number}-0",
        connector="web",
        conversation=conversation,
        route="knowledge",
        queue_ms=1,
        turn_ms=2,
        prompt_tokens=number,
    )


async def add(redis: Redis, *events: Event, shard: int = 0) -> None:
    """Put events on the stream."""
    client: Any = redis
    for event in events:
        await client.xadd(Keys(shard).events, event.fields())


@asynccontextmanager
async def streamed(operator: Operator, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Follow the events as they happen."""
    sent = {**operator.headers, "Accept": "text/event-stream", **headers}
    async with operator.api.session.get(f"{operator.api.url}{PREFIX}/events", headers=sent) as response:
        yield response


async def next_event(response: aiohttp.ClientResponse) -> tuple[str, Any]:
    """Return id and data of the next event, after what is said in between."""
    found: dict[str, str] = {}
    async with asyncio.timeout(10):
        while "data" not in found:
            line = (await response.content.readline()).decode().rstrip("\n")
            name, _, value = line.partition(": ")
            found |= {name: value}
            if line == ": ready":
                return found["id"], None
    return found["id"], json.loads(found["data"])


async def test_events_come_in_pages(redis: Redis, bare_operator: Operator) -> None:
    """The oldest first, by kind, channel and conversation; the last page says where to go on later."""
    await add(redis, *(turn(number, "ab"[number % 2]) for number in range(5)))
    delivery = DeliveryEvent(turn="9-0", connector="web", state="placed", wait_ms=3, conversation="a")
    await add(redis, delivery)
    client: Any = redis
    await client.xadd(Keys().events, {"kind": "of a later version"})

    status, first = await bare_operator.call("GET", "/events", query={"limit": "4"})
    _, second = await bare_operator.call("GET", "/events", query={"cursor": first["next"]})
    await add(redis, turn(7))
    _, third = await bare_operator.call("GET", "/events", query={"cursor": second["next"]})
    _, from_third = await bare_operator.call("GET", "/events", query={"cursor": first["items"][2]["id"]})
    _, empty = await bare_operator.call("GET", "/events", query={"cursor": third["next"]})

    assert status == 200
    assert [one["facts"]["prompt_tokens"] for one in first["items"]] == [0, 1, 2, 3]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [one["kind"] for one in second["items"]] == ["turn", "delivery"]
    assert [one["turn"] for one in third["items"]] == ["7-0"]
    assert [one["turn"] for one in from_third["items"]] == ["3-0", "4-0", "9-0", "7-0"]
    assert empty == {"items": [], "next": third["next"], "has_more": False}
    for query, turns in (
        ({"kind": "delivery"}, ["9-0"]),
        ({"conversation": "b"}, ["1-0", "3-0"]),
        ({"connector": "email"}, []),
    ):
        _, found = await bare_operator.call("GET", "/events", query=query)
        assert [one["turn"] for one in found["items"]] == turns, query
    for query, code in (({"kind": "x"}, 422), ({"cursor": "eA=="}, 400), ({"cursor": "MC0wLjAtMA=="}, 400)):
        assert (await bare_operator.call("GET", "/events", query=query))[0] == code, query


async def test_events_are_told_as_they_happen(redis: Redis, bare_operator: Operator) -> None:
    """From the moment of asking on; whoever comes again goes on behind the last they had, and misses none."""
    await add(redis, turn(1))
    async with streamed(bare_operator) as response:
        assert response.content_type == "text/event-stream"
        assert (await next_event(response))[1] is None
        await add(redis, turn(2))
        last, told = await next_event(response)

    await add(redis, turn(3), turn(4))
    async with streamed(bare_operator, **{"Last-Event-ID": last}) as response:
        await next_event(response)
        missed = [(await next_event(response))[1]["turn"] for _ in range(2)]
        await add(redis, turn(5))
        fresh = (await next_event(response))[1]["turn"]

    assert (told["turn"], told["facts"]["prompt_tokens"]) == ("2-0", 2)
    assert (missed, fresh) == (["3-0", "4-0"], "5-0")


async def test_live_streams_are_few_and_short(
    bare_operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond are asked to come again; each ends by itself, so that a revoked key is noticed."""
    monkeypatch.setattr(routes, "STREAMS_AT_ONCE", 1)
    monkeypatch.setattr(routes, "STREAM_S", 0.3)
    async with streamed(bare_operator) as response:
        async with streamed(bare_operator) as other:
            assert (other.status, (await other.json())["code"]) == (503, "too_many_streams")
            assert other.headers["Retry-After"]
        async with asyncio.timeout(10):
            assert b"ready" in await response.content.read()
    async with streamed(bare_operator) as response:
        assert response.status == 200


async def test_events_of_all_shards_are_one_list(redis: Redis, redis_server: RedisServer) -> None:
    """In the order in which they happened, whatever the size of a page, and live."""
    book = EventBook(redis, redis_server.url, shards=3)
    client: Any = redis
    for number in range(12):
        entry = f"{1000 + number // 4}-{number % 4}"
        await client.xadd(Keys(number % 3).events, turn(number).fields(), id=entry)

    for limit in (1, 5, 12):
        found, place, more = list[str](), Position.start(3), True
        while more:
            events, place, more = await book.page(WantedEvents(), place, limit)
            found += [one.event.turn for one in events]
        assert found == [f"{number}-0" for number in range(12)], limit

    stop, live = asyncio.Event(), list[str]()
    async for one, at in book.follow(WantedEvents(conversation="a"), Position.start(3), stop):
        place = at
        if one is None:
            stop.set()
        else:
            live.append(one.event.turn)
    assert live == found
    assert str(await book.end()) == str(place)
