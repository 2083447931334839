"""Replies reach their peer in order, at least once, and every possible copy is counted, while senders are killed."""

import asyncio
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.deliveries import Deliveries
from hub.bus.keys import Keys
from hub.bus.queue import Lease
from hub.errors import LeaseLost
from hub.events import DeliveryEvent, parse_event
from hub.messages import Address, OutboundMessage
from tests.faults.dying import Moment, MortalPlan, run_mortal_sender
from tests.faults.fleet import NOTHING, Fleet, opened_bus, seeded, unfinished
from tests.faults.processes import PARTS, Plan, run_peer, run_sender
from tests.servers.proxy import LossyProxy
from tests.servers.redis import RedisServer

DESTINATIONS = 20
REPLIES = 15
KILLS = 12

Request = tuple[int, int]
"""Number of the reply and of its part."""


async def test_replies_arrive_in_order_and_copies_are_counted(tmp_path: Path) -> None:
    """I6 and I7 under kill -9 of senders while their requests are under way."""
    dice = seeded("sending")
    with RedisServer(tmp_path) as server:
        # Kills are no fault of the replies: none may be given up for them.
        plan = Plan(
            url=server.url, lease_s=0.8, max_attempts=1000, concurrency=8, peer=str(tmp_path / "peer.sock")
        )
        async with opened_bus(plan) as bus:
            with (
                Fleet(run_peer, plan, tmp_path, size=1),
                Fleet(run_sender, plan, tmp_path, size=2) as senders,
            ):
                await asyncio.gather(_publish(bus, dice), _kill(dice, senders))
                async with asyncio.timeout(90):
                    while await unfinished(bus.redis, "outbound:test") != NOTHING:
                        await asyncio.sleep(0.1)
            received = _received(tmp_path / "run_peer-1.log")
            _check_order(received)
            await _check_copies(bus, received)


@pytest.mark.parametrize(
    ("moment", "copies", "unclear"), [("taken up", 1, 0), ("noted", 1, 1), ("answered", 2, 1)]
)
async def test_a_reply_whose_sender_died_on_the_way_is_sent_by_the_next(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, moment: Moment, copies: int, unclear: int
) -> None:
    """Killed before its first request left, it arrives once, and is counted where nobody can know that; afterwards, twice."""
    mark = tmp_path / "died"
    peer = str(tmp_path / "peer.sock")
    plan = MortalPlan(url=redis_server.url, lease_s=1.5, peer=peer, moment=moment, mark=mark)
    main: Any = run_mortal_sender
    async with opened_bus(plan) as bus:
        with Fleet(run_peer, plan, tmp_path, size=1), Fleet(main, plan, tmp_path, size=1) as senders:
            reply = _reply("d", 1)
            body = reply.model_dump_json().encode()
            await bus.queue("outbound:test", 0).publish(reply.reply_id, "d", body, remember_s=60)
            async with asyncio.timeout(60):
                while not await redis.xlen(Keys().events):
                    senders.restart_ended()
                    await asyncio.sleep(0.02)
        assert await unfinished(redis, "outbound:test") == NOTHING
        assert mark.exists()
        client: Any = bus.redis
        events = [parse_event(fields) for _, fields in await client.xrange(Keys().events)]

    assert Counter(_received(tmp_path / "run_peer-1.log")["d"]) == {(1, 0): copies, (1, 1): 1}
    assert [event.unclear for event in events if isinstance(event, DeliveryEvent)] == [unclear]


async def test_a_sender_that_slept_sends_nothing_more(redis_server: RedisServer, redis: Redis) -> None:
    """It was told that the destination is its own, and hears of it when the lease is over and another has sent on."""
    async with (
        LossyProxy(redis_server.port).running() as proxy,
        opened_bus(Plan(url=proxy.url, lease_s=0.4)) as sleepy,
        opened_bus(Plan(url=redis_server.url, lease_s=0.4)) as awake,
    ):
        queue = awake.queue("outbound:test", 0)
        reply = _reply("d", 1)
        published = await queue.publish(reply.reply_id, "d", reply.model_dump_json().encode(), remember_s=60)
        lease = await sleepy.queue("outbound:test", 0).enter(published.entry, "d", "sleeper")
        assert isinstance(lease, Lease)

        proxy.delay_s = 1.0
        beginning = asyncio.create_task(
            Deliveries(sleepy.queue("outbound:test", 0)).begin(lease, reply.reply_id, 0, remember_s=60)
        )
        async with asyncio.timeout(20):
            while not isinstance(taken := await queue.enter(published.entry, "d", "other"), Lease):
                await asyncio.sleep(0.02)
        proxy.delay_s = 0.0
        with pytest.raises(LeaseLost):
            await beginning
        assert taken.fence > lease.fence


async def _publish(bus: Bus, dice: random.Random) -> None:
    queue = bus.queue("outbound:test", 0)
    for number in range(REPLIES):
        for name in range(DESTINATIONS):
            reply = _reply(f"d{name}", number)
            await queue.publish(
                reply.reply_id, reply.conversation, reply.model_dump_json().encode(), remember_s=60
            )
        await asyncio.sleep(dice.uniform(0.1, 0.6))


def _reply(destination: str, number: int) -> OutboundMessage:
    address = Address(connector="test", account="a", chat=destination, person=destination)
    return OutboundMessage(
        reply_id=f"{destination}.{number}:0",
        turn=f"{destination}.{number}",
        conversation=destination,
        address=address,
        text=str(number),
    )


async def _kill(dice: random.Random, senders: Fleet) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(0.2, 0.6))
        senders.kill(dice.randrange(2))


def _received(record: Path) -> dict[str, list[Request]]:
    by_destination: defaultdict[str, list[Request]] = defaultdict(list)
    for line in record.read_text("utf-8").splitlines():
        destination, number, part = line.split()
        by_destination[destination].append((int(number), int(part)))
    return by_destination


def _check_order(received: dict[str, list[Request]]) -> None:
    expected = [(number, part) for number in range(REPLIES) for part in range(PARTS)]
    assert sorted(received) == sorted(f"d{name}" for name in range(DESTINATIONS))
    for destination, requests in received.items():
        # Copies of a request stand next to it: nothing later had left before it was settled.
        assert requests == sorted(requests), destination
        assert sorted(set(requests)) == expected, destination


async def _check_copies(bus: Bus, received: dict[str, list[Request]]) -> None:
    copies: Counter[str] = Counter()
    for destination, requests in received.items():
        for (number, _), count in Counter(requests).items():
            copies[f"{destination}.{number}"] += count - 1
    client: Any = bus.redis
    events = [parse_event(fields) for _, fields in await client.xrange(Keys().events)]
    unclear = {event.turn: event.unclear for event in events if isinstance(event, DeliveryEvent)}
    assert len(unclear) == DESTINATIONS * REPLIES
    for turn, count in unclear.items():
        assert copies[turn] <= count, turn
        # What the metric says is what the record of the reply says.
        assert int(await client.hget(Keys().sent(f"{turn}:0"), "unclear") or 0) == count, turn
    # Not counted out of thin air either: no more requests can be in flight at a kill than a sender has slots.
    assert sum(unclear.values()) <= KILLS * 8
