"""Conversations by HTTP, from the archive and from Redis."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from hub.archive.projector import Projector
from hub.bus.connection import connect_reader
from hub.bus.history import VERSION
from hub.bus.keys import Keys
from hub.database import async_engine
from hub.events import DeliveryEvent, Event
from hub.messages import Address, InboundMessage, Turn
from tests.hub.admin.giving_up import message
from tests.hub.api.admin.operating import Operator, operating
from tests.servers.redis import RedisServer

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Said:
    """One turn: where, by whom, and how many hours after the beginning."""

    conversation: str
    person: str
    hours: int
    connector: str = "telegram"
    is_group: bool = False

    def turn(self) -> Turn:
        """Make it."""
        at = BEGIN + timedelta(hours=self.hours)
        address = Address(
            connector=self.connector,
            account="7",
            chat=self.conversation,
            person=self.person,
            is_group=self.is_group,
        )
        return Turn(
            turn=f"{int(at.timestamp() * 1000)}-{self.hours % 3}",
            address=address,
            question=f"{self.person} asks {self.hours}",
            answer=f"answer {self.hours}",
            asked_at=at,
            answered_at=at,
        )


SAID = [
    Said("ana", "1", 0),
    Said("ben", "2", 1, connector="email"),
    Said("ana", "1", 2),
    Said("group", "1", 3, is_group=True),
    Said("group", "3", 4, is_group=True),
    Said("ben", "2", 5, connector="email"),
    Said("old", "4", -900, connector="email"),
]


@pytest.fixture(params=["archive", "redis"])
async def operator(
    request: pytest.FixtureRequest, redis: Redis, redis_server: RedisServer, data: Path
) -> AsyncIterator[Operator]:
    """An operator of a hub in which something was said; with an archive, and without one."""
    with_archive = request.param == "archive"
    async with operating(redis_server, data, memory={"archive": with_archive}) as operator:
        if with_archive:
            await tell(operator, redis_server, data, SAID)
            raw, keys = cast("Any", redis), operator.api.parts.bus.keys("old")
            # What Redis has moved on from is still there.
            await raw.delete(keys.history("old"))
        else:
            await remember(operator, SAID)
        yield operator


async def remember(operator: Operator, said: Sequence[Said]) -> None:
    """Put turns into the windows of their conversations."""
    bus = operator.api.parts.bus
    client: Any = bus.redis
    for one in sorted(said, key=lambda one: one.hours):
        row = one.turn().model_dump_json()
        await client.rpush(bus.keys(one.conversation).history(one.conversation), row)


async def tell(
    operator: Operator, server: RedisServer, data: Path, said: Sequence[Said], *events: Event
) -> None:
    """Put turns into the windows and into the archive, with what has happened since."""
    await remember(operator, said)
    bus = operator.api.parts.bus
    client: Any = bus.redis
    for event in events:
        await client.xadd(Keys().events, event.fields())
    engine, reader = async_engine(f"sqlite:///{data / 'hubbub.db'}"), connect_reader(server.url)
    await Projector(bus.redis, reader, bus.history, engine).catch_up()
    await reader.aclose()
    await engine.dispose()


def ids(pages: Sequence[Sequence[Any]]) -> list[str]:
    """Name what some pages hold."""
    return [one["id"] for page in pages for one in page]


async def test_conversations_are_listed(operator: Operator) -> None:
    """That with the latest turn first, each on one page, by channel, person and time."""
    pages = await operator.pages("/conversations", limit="3")

    assert [len(page) for page in pages] == [3, 1]
    assert ids(pages) == ["ben", "group", "ana", "old"]
    [ben, group, ana] = pages[0]
    assert (ben["connector"], ben["person"], ben["turns"], ben["is_group"]) == ("email", "2", 2, False)
    assert (group["person"], group["turns"], group["is_group"]) == ("", 2, True)
    assert ana["begun_at"][:19] == "2026-03-01T12:00:00"
    assert ana["last_turn"][:19] == "2026-03-01T14:00:00"
    for query, expected in (
        ({"connector": "email"}, ["ben", "old"]),
        ({"person": "telegram/7/1"}, ["group", "ana"]),
        ({"person": "email/7/1"}, []),
        ({"since": BEGIN.isoformat(), "until": (BEGIN + timedelta(hours=2)).isoformat()}, ["ben", "ana"]),
        ({"until": BEGIN.isoformat(), "connector": "email"}, ["old"]),
        ({"connector": "web"}, []),
    ):
        assert ids(await operator.pages("/conversations", **query)) == expected, query
    for query, status in (
        ({"person": "ana"}, 422),
        ({"since": "2026-03-01"}, 422),
        ({"turns": "1"}, 400),
        ({"cursor": "YQ=="}, 400),
    ):
        assert (await operator.call("GET", "/conversations", query=query))[0] == status, query


async def test_what_was_said_is_told(operator: Operator) -> None:
    """The latest first, page by page; of what is not there nothing."""
    pages = await operator.pages("/conversations/ana/turns", limit="1")
    [[later], [earlier]] = pages

    assert (later["question"], earlier["answer"]) == ("1 asks 2", "answer 0")
    assert later["person"] == "1"
    for path in ("/conversations/nobody/turns", "/conversations/nobody", "/conversations/a%3Ab"):
        assert (await operator.call("GET", path))[0] == 404, path
    bad = {"cursor": "YQ=="}
    assert (await operator.call("GET", "/conversations/ana/turns", query=bad))[0] == 400


async def test_what_waits_is_cancelled(operator: Operator) -> None:
    """One turn, or all that wait; repeating does no harm."""
    bus = operator.api.parts.bus
    waiting = [(await bus.publish(message("ana", text))).entry for text in ("one", "two")]
    _, before = await operator.call("GET", "/conversations/ana")

    one = await operator.call("POST", "/conversations/ana/cancel", {"turn": waiting[1]})
    both = await operator.call("POST", "/conversations/ana/cancel", {})
    none = await operator.call("POST", "/conversations/nobody/cancel", {})

    assert before["waiting"] == 2
    assert one == (200, {"cancelled": [waiting[1]]})
    assert both == (200, {"cancelled": waiting})
    assert none == (200, {"cancelled": []})
    assert await bus.is_cancelled("ana", waiting[0])


async def test_an_operator_says_something(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Once for each Idempotency-Key, behind what waits, to where the person wrote last; nobody speaks as the system."""
    async with operating(redis_server, data, telegram={"token": "1:x"}) as operator:
        bus, raw = operator.api.parts.bus, cast("Any", redis)
        await tell(operator, redis_server, data, SAID)
        waiting_one = await bus.publish(message("ana", "first"))
        operator.headers["Idempotency-Key"] = "one"

        status, first = await operator.call(
            "POST", "/conversations/ana/messages", {"text": " An *operator* here.\n"}
        )
        again = await operator.call("POST", "/conversations/ana/messages", {"text": " An *operator* here.\n"})
        other = await operator.call("POST", "/conversations/ana/messages", {"text": "Something else."})
        del operator.headers["Idempotency-Key"]

        assert (status, again) == (202, (202, first))
        assert (other[0], other[1]["code"]) == (422, "idempotency_key_reused")
        entries = [
            entry.decode() for entry in await raw.lrange(bus.keys("ana").lane("inbound", "ana"), 0, -1)
        ]
        assert entries == [waiting_one.entry, first["turn"]]
        [(_, fields)] = await raw.xrange(bus.keys("ana").stream("inbound"), entries[1], entries[1])
        sent = InboundMessage.model_validate_json(fields[b"body"])
        assert (sent.spoken, sent.text) == ("An *operator* here.", "")
        assert (sent.address.connector, sent.address.chat) == ("telegram", "ana")
        for body in (
            {"text": "x", "role": "system"},
            {"text": "x", "role": "assistant"},
            {"text": ""},
            {"text": " \u200b "},
            {"text": "x" * 4001},
            {"text": "x", "person": "1"},
        ):
            assert (await operator.call("POST", "/conversations/ana/messages", body))[0] == 422, body


async def test_not_every_conversation_can_be_written_to(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """By mail only what was asked is answered; a chat may have closed; of some nothing is left."""
    async with operating(redis_server, data, telegram={"token": "1:x"}) as operator:
        bus, raw = operator.api.parts.bus, cast("Any", redis)
        failed = DeliveryEvent(
            turn=SAID[2].turn().turn, connector="telegram", state="failed", wait_ms=1, conversation="ana"
        )
        await tell(operator, redis_server, data, SAID, failed)
        await raw.hset(bus.keys("gone").version("gone"), VERSION, "1")
        await raw.set(bus.keys("group").erased("group"), 1)

        answers = {
            name: await operator.call("POST", f"/conversations/{name}/messages", {"text": "Hello?"})
            for name in ("ben", "ana", "gone", "group", "nobody")
        }

    assert {name: (status, answer["code"]) for name, (status, answer) in answers.items()} == {
        "ben": (409, "channel_cannot"),
        "ana": (409, "closed"),
        "gone": (410, "forgotten"),
        "group": (410, "being_erased"),
        "nobody": (404, "not_found"),
    }


async def test_a_rebuilt_archive_tells_the_same(redis: Redis, redis_server: RedisServer, data: Path) -> None:
    """Projections come back from what Redis holds, whatever has become of the table."""
    async with operating(redis_server, data) as operator:
        bus = operator.api.parts.bus
        await remember(operator, SAID[:3])
        engine, reader = async_engine(f"sqlite:///{data / 'hubbub.db'}"), connect_reader(redis_server.url)
        projector = Projector(bus.redis, reader, bus.history, engine)
        await projector.catch_up()
        before = await operator.pages("/conversations")
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DELETE FROM archived_turns")
        assert await operator.pages("/conversations") == [[]]

        assert await projector.rebuild() == 3

        assert await operator.pages("/conversations") == before
        await reader.aclose()
        await engine.dispose()
