"""Dead letters that an operator looks through, puts back and drops, on a real Redis."""

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.admin.dead import DeadLetterDesk
from hub.bus.bus import INBOUND, Bus, outbound
from hub.bus.dead import DeadLetter, Place, Wanted
from hub.bus.keys import Keys
from hub.bus.queue import Commit
from hub.bus.replaying import Returning, replay
from hub.errors import BusError
from hub.messages import utc_now
from hub.people import principal_of
from hub.settings import BusSettings
from tests.hub.admin.giving_up import OWNER, entered, give_up, give_up_reply, message, waiting
from tests.servers.redis import RedisServer

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def bus(redis: Redis, redis_server: RedisServer) -> AsyncIterator[Bus]:
    """A bus of three shards with room for little."""
    opened = Bus(redis_server.url, BusSettings(shards=3, max_backlog=40, max_lane=8))
    yield opened
    await opened.close()


@pytest.fixture
def desk(bus: Bus) -> DeadLetterDesk:
    """What works on its dead letters."""
    return DeadLetterDesk(bus)


async def listed(desk: DeadLetterDesk, wanted: Wanted, limit: int = 4) -> list[DeadLetter]:
    """Read a list to its end, page by page."""
    found: list[DeadLetter] = []
    place: Place | None = None
    while True:
        page = await desk.page(wanted, place, limit)
        assert len(page.letters) <= limit
        found += page.letters
        if (place := page.next) is None:
            return found


async def texts(desk: DeadLetterDesk, wanted: Wanted) -> set[str]:
    """Return what was said in the dead letters that are wanted."""
    return {letter.body.decode().split('"text":"')[1].split('"')[0] for letter in await listed(desk, wanted)}


async def test_every_letter_stands_on_one_page(bus: Bus, desk: DeadLetterDesk) -> None:
    """Newest first, whichever shard holds it."""
    turns = [await give_up(bus, message(f"c{number % 5}", f"m{number}")) for number in range(15)]

    found = await listed(desk, Wanted())

    assert sorted(letter.entry for letter in found) == sorted(turns)
    assert [letter.place for letter in found] == sorted((letter.place for letter in found), reverse=True)
    assert {letter.place.shard for letter in found} == {0, 1, 2}


async def test_letters_of_the_same_millisecond_are_told_apart(redis: Redis, desk: DeadLetterDesk) -> None:
    """Entries of one id in several shards, and of one shard with several numbers."""
    client: Any = redis
    for shard in range(3):
        for number in range(4):
            await client.xadd(Keys(shard).dead, {"queue": "inbound", "lane": "a"}, id=f"1000-{number}")

    for limit in (1, 2, 5):
        found = [letter.id for letter in await listed(desk, Wanted(), limit)]

        assert len(found) == len(set(found)) == 12


async def test_letters_are_found_by_what_they_are(bus: Bus, desk: DeadLetterDesk) -> None:
    """By channel, conversation, reason and time; a reply that could not be delivered by the channel it was to go by."""
    await give_up(bus, message("a", "first"), "5 attempts failed")
    await give_up(bus, message("b", "second", connector="email"), "the entry is no message")
    await asyncio.sleep(0.002)
    middle = await bus.dead_letters.now()
    await give_up_reply(bus, message("c", "third", connector="email"))

    assert await texts(desk, Wanted(connector="email")) == {"second", "answer to third"}
    assert await texts(desk, Wanted(conversation="a")) == {"first"}
    assert await texts(desk, Wanted(reason="FAILED")) == {"first"}
    assert await texts(desk, Wanted(reason="%")) == set()
    assert await texts(desk, Wanted(until=middle)) == {"first", "second"}
    assert await texts(desk, Wanted(since=middle)) == {"answer to third"}
    assert await texts(desk, Wanted(connector="email", since=middle, reason="route")) == {"answer to third"}


async def test_a_message_is_put_back_once(bus: Bus, desk: DeadLetterDesk) -> None:
    """It waits behind what came meanwhile, with a first attempt before it; the second time is told as such."""
    await give_up(bus, message("a", "poison"))
    await bus.publish(message("a", "later"))
    [letter] = await listed(desk, Wanted())

    first, second = await desk.replay(letter.id), await desk.replay(letter.id)

    assert (first.status, second.status) == ("OK", "REPLAYED")
    assert await waiting(bus, "a") == ["later", "poison"]
    assert await listed(desk, Wanted()) == []
    assert not await desk.drop(letter.id)
    assert (await desk.replay("0.1-1")).status == "MISSING"
    assert (await desk.replay("9.1-1; DROP")).status == "MISSING"


async def test_two_operators_put_a_message_back_once(bus: Bus, desk: DeadLetterDesk) -> None:
    """Whoever comes second is told."""
    await give_up(bus, message("a", "poison"))
    [letter] = await listed(desk, Wanted())

    done = await asyncio.gather(*(DeadLetterDesk(bus).replay(letter.id) for _ in range(20)))

    assert sorted(one.status for one in done) == ["OK"] + ["REPLAYED"] * 19
    assert await waiting(bus, "a") == ["poison"]


async def test_what_comes_again_finds_what_was_put_back(bus: Bus, desk: DeadLetterDesk) -> None:
    """The channel that delivers the same message once more is told its new turn, and nothing is answered twice."""
    asked = message("a", "poison")
    await give_up(bus, asked)
    client: Any = bus.redis
    await client.delete(bus.keys("a").seen(asked.external_key))
    [letter] = await listed(desk, Wanted())
    done = await desk.replay(letter.id)

    again = await bus.publish(asked)

    assert (again.status, again.entry) == ("DUPLICATE", done.entry)
    assert await waiting(bus, "a") == ["poison"]


async def test_a_lost_answer_puts_nothing_back_twice(bus: Bus, desk: DeadLetterDesk) -> None:
    """The same attempt again gets the same answer."""
    asked = message("a", "poison")
    turn = await give_up(bus, asked)
    [letter] = await listed(desk, Wanted())
    queue = bus.queue(INBOUND, letter.place.shard)
    record = queue.keys.seen(asked.external_key)
    returning = Returning(
        kind="message",
        entry=turn,
        lane="a",
        person=principal_of(asked.address),
        record=record,
        remember_s=60,
    )

    done = [await replay(queue, letter.place.entry, returning, attempt="one") for _ in range(3)]

    assert {one.status for one in done} == {"OK"}
    assert len({one.entry for one in done}) == 1
    assert (await replay(queue, letter.place.entry, returning, attempt="two")).status == "REPLAYED"
    assert await waiting(bus, "a") == ["poison"]


async def test_an_edit_still_finds_what_it_replaces(bus: Bus, desk: DeadLetterDesk) -> None:
    """A question was answered, its edit was given up and put back: the answer is replaced, not doubled."""
    queue = bus.queue(INBOUND, bus.keys("a").shard)
    asked = await bus.publish(message("a", "first words", origin="7"))
    await queue.commit(await entered(queue, asked.entry, "a"), OWNER, Commit())
    turn = await give_up(bus, message("a", "second words", replaces="7"))
    client: Any = bus.redis
    before = await client.hgetall(queue.keys.origin("a", "7"))
    [letter] = await listed(desk, Wanted())

    done = await desk.replay(letter.id)

    after = await client.hgetall(queue.keys.origin("a", "7"))
    assert before[b"latest"].decode() == turn
    assert after[b"latest"].decode() == done.entry
    assert await queue.replaced_by("a", "7", done.entry) == [asked.entry]


async def test_a_reply_is_not_sent_again_where_it_stands(bus: Bus, desk: DeadLetterDesk) -> None:
    """It keeps its id with what is known of its delivery; a part in doubt is looked up before it is sent."""
    reply = await give_up_reply(bus, message("a", "hello", connector="email"))
    client: Any = bus.redis
    record = bus.keys("a").sent(reply.reply_id)
    await client.hset(record, mapping={"state": "gave_up", "part": 1, "placed:0": "<m1@x>", "lane": "a"})
    [letter] = await listed(desk, Wanted())

    done = await desk.replay(letter.id)

    assert (letter.is_reply, letter.connector) == (True, "email")
    assert done.status == "OK"
    assert await waiting(bus, "a", outbound("email")) == ["answer to hello"]
    kept = await client.hgetall(record)
    assert (kept[b"state"], kept[b"part"], kept[b"placed:0"]) == (b"unclear", b"1", b"<m1@x>")
    assert await client.ttl(record) > 0


async def test_what_nobody_can_work_on_stays(bus: Bus, desk: DeadLetterDesk) -> None:
    """Junk, a lost body, a message under another conversation's name, and what is being erased."""
    client: Any = bus.redis
    keys = Keys(0)
    stray = message("other", "x").model_dump_json()
    for lane, body in (("a", "{"), ("a", ""), ("", "[]"), ("a", stray)):
        fields = {
            "queue": "inbound",
            "lane": lane,
            "entry": "1-1",
            "attempts": 0,
            "reason": "r",
            "body": body,
        }
        await client.xadd(keys.dead, fields)
    await client.xadd(keys.dead, {"queue": "odd", "body": stray, "lane": "other", "attempts": "many"})
    await give_up(bus, message("b", "going"))
    await client.set(bus.keys("b").erased("b"), 1)

    done = await desk.replay_all(Wanted())

    assert (done.done, done.refused, done.is_full) == (0, 6, False)
    assert sorted(why for _, why in done.reasons) == ["ERASING"] + ["UNREADABLE"] * 5
    assert await bus.dead_letters.count() == 6
    assert await bus.backlog() == 0


async def test_many_go_back_in_their_order(bus: Bus, desk: DeadLetterDesk) -> None:
    """Those that are wanted, the oldest first; what fails again meanwhile is left for the next time."""
    for number in range(12):
        await give_up(bus, message(f"c{number % 2}", f"m{number:02}"))
    await give_up(bus, message("other", "stays"), "unreadable")

    done = await desk.replay_all(Wanted(reason="attempts"))

    assert (done.done, done.refused) == (12, 0)
    assert await waiting(bus, "c0") == [f"m{number:02}" for number in range(0, 12, 2)]
    assert await waiting(bus, "c1") == [f"m{number:02}" for number in range(1, 12, 2)]
    assert await bus.dead_letters.count() == 1


async def test_a_conversation_without_room_keeps_its_order(bus: Bus, desk: DeadLetterDesk) -> None:
    """Of its letters none overtakes another; those of others go back, until the stream is full."""
    for number in range(12):
        await give_up(bus, message("a", f"m{number:02}"))
    await give_up(bus, message("b", "alone"))

    first = await desk.replay_all(Wanted())

    assert (first.done, first.refused, first.is_full) == (9, 4, False)
    assert {why for _, why in first.reasons} == {"LANE_FULL"}
    assert await waiting(bus, "a") == [f"m{number:02}" for number in range(8)]
    assert [letter.envelope.external_key for letter in await listed(desk, Wanted())] == [
        f"key:m{number:02}" for number in (11, 10, 9, 8)
    ]


async def test_a_full_stream_ends_it(redis: Redis, redis_server: RedisServer) -> None:
    """The rest stays and can be put back later."""
    bus = Bus(redis_server.url, BusSettings(max_backlog=3))
    for number in range(5):
        await give_up(bus, message(f"c{number}", f"m{number}"))

    done = await DeadLetterDesk(bus).replay_all(Wanted())

    assert (done.done, done.is_full) == (3, True)
    assert await bus.dead_letters.count() == 2
    await bus.close()


async def test_many_are_dropped(bus: Bus, desk: DeadLetterDesk) -> None:
    """Those that are wanted and nothing else."""
    for number in range(6):
        await give_up(bus, message(f"c{number}", f"m{number}"), f"reason {number % 2}")
    late = utc_now() + timedelta(days=1)

    assert await desk.drop_all(Wanted(since=late)) == 0
    assert await desk.drop_all(Wanted(reason="reason 1", until=late)) == 3
    assert await texts(desk, Wanted()) == {"m0", "m2", "m4"}
    [first, *_] = await listed(desk, Wanted())
    assert await desk.drop(first.id)
    assert not await desk.drop(first.id)


REPLAYING = """
import asyncio, sys
from hub.admin.dead import DeadLetterDesk
from hub.bus.bus import Bus
from hub.bus.dead import Wanted
from hub.settings import BusSettings

async def main():
    bus = Bus(sys.argv[1], BusSettings(shards=2))
    await DeadLetterDesk(bus).replay_all(Wanted())
    await bus.close()

asyncio.run(main())
"""


async def test_a_kill_in_the_middle_neither_loses_nor_doubles(tmp_path: Path) -> None:
    """Whoever puts many back is killed twice and Redis once: each is there once, in order, or still a dead letter."""
    seed = random.SystemRandom().randrange(1 << 30)
    dice = random.Random(seed)
    with RedisServer(tmp_path) as server:
        bus = Bus(server.url, BusSettings(shards=2))
        for number in range(300):
            await give_up(bus, message(f"c{number % 7}", f"m{number:03}"))
        for target in sorted(dice.sample(range(20, 260), 2)):
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", REPLAYING, server.url), cwd=ROOT, stderr=asyncio.subprocess.DEVNULL
            )
            async with asyncio.timeout(20):
                while await bus.backlog() < target:
                    await asyncio.sleep(0.001)
            child.kill()
            await child.wait()
            assert await bus.backlog() + await bus.dead_letters.count() == 300, seed

        replaying = asyncio.create_task(DeadLetterDesk(bus).replay_all(Wanted()))
        await asyncio.sleep(dice.uniform(0.01, 0.03))
        server.kill()
        server.start()
        await asyncio.gather(replaying, return_exceptions=True)
        async with asyncio.timeout(20):
            # A connection that the old server has closed says so when it is used.
            while True:
                with contextlib.suppress(BusError):
                    assert (await DeadLetterDesk(bus).replay_all(Wanted())).refused == 0
                    break

        kept = {lane: await waiting(bus, lane) for lane in (f"c{number}" for number in range(7))}
        await bus.close()
    for first, (lane, found) in enumerate(kept.items()):
        assert found == [f"m{number:03}" for number in range(first, 300, 7)], (seed, lane)
