"""Sentinels make a replica the master while the hub works: with WAIT nothing that was accepted is lost."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from hub.admin.dead import DeadLetterDesk
from hub.bus.bus import Bus, parse_inbound
from hub.bus.connection import bus_errors, connect
from hub.bus.dead import Wanted
from hub.bus.durability import durability_advice, durability_faults
from hub.bus.keys import Keys
from hub.bus.nodes import servers
from hub.bus.queue import Commit, Lease
from hub.erasure.files import RedisFiles
from hub.errors import BusError, KnowledgeError, LeaseLost, SettingsError
from hub.settings import BusSettings
from knowledge.index.redis import RedisHome
from tests.faults.fleet import message, opened_bus, seeded
from tests.faults.processes import Plan
from tests.faults.shards import all_answered_once_in_order, load, working
from tests.servers.sentinel import SentinelServers

pytestmark = pytest.mark.timeout(120)

CONVERSATIONS, MESSAGES = 20, 12
UNCONFIRMED = 200


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelServers]:
    """A master with two replicas and three sentinels."""
    with SentinelServers(tmp_path_factory.mktemp("sentinel")) as servers:
        yield servers


@pytest.fixture
def plan(group: SentinelServers) -> Plan:
    """How workers are set up."""
    return Plan(url=group.url, max_attempts=1000, min_replicas=1)


@pytest.fixture(autouse=True)
async def _whole_and_empty(group: SentinelServers) -> None:
    await asyncio.to_thread(group.repair)
    client: Any = connect(group.url)
    await client.flushall()
    await client.aclose()


async def test_a_failover_under_load_loses_and_doubles_nothing(group: SentinelServers, plan: Plan) -> None:
    """Everything accepted before, while and after is answered once and in order; the hub comes back by itself."""
    dice = seeded("failover")
    async with opened_bus(plan) as bus, working(plan, workers=2):
        publishing = asyncio.create_task(
            load(bus, dice, conversations=CONVERSATIONS, messages=MESSAGES, over_s=3)
        )
        await asyncio.sleep(dice.uniform(0.3, 1.5))
        await asyncio.to_thread(group.kill_master)
        async with asyncio.timeout(60):
            await publishing
        await all_answered_once_in_order(plan, conversations=CONVERSATIONS, messages=MESSAGES)


async def test_without_wait_what_no_replica_had_is_lost(group: SentinelServers, plan: Plan) -> None:
    """It was accepted all the same; with WAIT it is not, and comes again."""
    async with opened_bus(plan) as careful, opened_bus(replace(plan, min_replicas=0)) as bus:
        await asyncio.to_thread(group.stop_copying)
        accepted = [
            await bus.publish(message(f"careless{number % 4}", number)) for number in range(UNCONFIRMED)
        ]
        with pytest.raises(BusError, match="0 of 1 replicas have confirmed it"):
            await careful.publish(message("careful", 0))
        await asyncio.to_thread(group.kill_master)

        again = await careful.publish(message("careful", 0))
        kept = int(await bus.redis.xlen(Keys().stream("inbound")))

    assert all(one.status == "OK" for one in accepted)
    assert again.status in ("OK", "DUPLICATE"), "the second where its first copy was slow to be confirmed"
    assert kept == 1, "what was accepted by the old master alone went with it"


async def test_a_worker_of_the_old_master_commits_nothing_on_the_new_one(
    group: SentinelServers, plan: Plan
) -> None:
    """Its fence was given out and lost; without a leap the next owner would get the same number."""
    # Whichever replica takes over must have the message.
    async with opened_bus(replace(plan, min_replicas=2)) as everywhere:
        published = await everywhere.publish(message("c", 1))
    async with opened_bus(plan) as bus:
        queue = bus.queue("inbound", 0)
        await asyncio.to_thread(group.stop_copying)
        stale = await queue.enter(published.entry, "c", "old")
        await asyncio.to_thread(group.kill_master)

        fresh = await queue.enter(published.entry, "c", "new")
        assert isinstance(stale, Lease)
        assert isinstance(fresh, Lease)
        assert (fresh.head, fresh.attempts) == (stale.head, stale.attempts)
        with pytest.raises(LeaseLost):
            await queue.commit(stale, "old", Commit())
        assert not await queue.renew(stale)
        assert await queue.commit(fresh, "new", Commit()) is None


async def test_dead_letters_go_back_once_and_in_order_while_the_master_dies(
    group: SentinelServers, plan: Plan
) -> None:
    """Whichever master answered: none stays away, none comes twice."""
    dice = seeded("dead letters over a failover")
    async with opened_bus(plan) as bus:
        for conversation in ("a", "b", "c"):
            await _give_up(bus, conversation, 40)
        desk = DeadLetterDesk(bus)
        killing = asyncio.create_task(_after(dice.uniform(0.0, 0.3), group.kill_master))
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(BusError):
                    await desk.replay_all(Wanted())
                    if killing.done() and not (await desk.page(Wanted(), None, 1)).letters:
                        break
        await killing
        back: dict[str, list[int]] = {}
        for fields in await _published(bus):
            waiting = parse_inbound(fields[b"body"])
            back.setdefault(waiting.conversation, []).append(int(waiting.text))

    assert back == {conversation: list(range(40)) for conversation in ("a", "b", "c")}


async def _published(bus: Bus) -> list[dict[bytes, bytes]]:
    """Return what stands on the stream of messages, from the master that is there now."""
    client: Any = bus.redis
    while True:
        # A connection to the one that was killed tells so at its next use.
        with contextlib.suppress(BusError), bus_errors("the stream could not be read"):
            return [fields for _, fields in await client.xrange(Keys().stream("inbound"))]


async def _give_up(bus: Bus, conversation: str, messages: int) -> None:
    """Let messages of a conversation become dead letters, in their order."""
    queue = bus.queue("inbound", 0)
    entries = [(await bus.publish(message(conversation, number))).entry for number in range(messages)]
    lease = await queue.enter(entries[0], conversation, "me")
    while isinstance(lease, Lease):
        lease = await queue.commit(lease, "me", Commit(dead_letter="broken"))


async def _after(delay_s: float, work: Callable[[], object]) -> None:
    await asyncio.sleep(delay_s)
    await asyncio.to_thread(work)


async def test_every_server_is_looked_at(group: SentinelServers) -> None:
    """Its settings before the first message, its files when somebody is erased."""
    client: Any = connect(group.url)
    settings = BusSettings.model_validate({"redis_url": group.url})
    async with servers(client) as found:
        assert [one.is_replica for one in found] == [False, True, True]
        before = [await one.client.info("persistence") for one in found]
        assert await durability_faults(client, settings) == []
        await found[2].client.config_set("appendfsync", "no")
        try:
            [fault] = await durability_faults(client, settings)
        finally:
            await found[2].client.config_set("appendfsync", "always")
        advice = await durability_advice(client, settings)
        await RedisFiles(client).compact()
        after = [await one.client.info("persistence") for one in found]

    assert fault.startswith(f"{found[2].name}: appendfsync is no")
    assert [one.partition(" is ")[0] for one in advice] == ["bus.min_replicas", "min-replicas-to-write"]
    rewrites = [
        (one["aof_rewrites"], other["aof_rewrites"]) for one, other in zip(after, before, strict=True)
    ]
    assert all(now > then for now, then in rewrites)
    assert await durability_faults(client, settings.model_copy(update={"min_replicas": 3})) != []
    await client.aclose()


async def test_what_is_wrong_with_the_sentinels_is_told(group: SentinelServers) -> None:
    """A name they do not know, nobody who answers, and a sentinel taken for a server."""
    wrong = Bus(group.url.replace("/hub", "/other"), BusSettings())
    with pytest.raises(BusError, match="the sentinels know no master 'other', but: hub"):
        await wrong.ping()
    await wrong.close()

    nobody = Bus("redis+sentinel://127.0.0.1:1,127.0.0.1:2/hub", BusSettings())
    with pytest.raises(BusError, match="none of the 2 sentinels answers"):
        await nobody.ping()
    await nobody.close()

    sentinel = group.url.removeprefix("redis+sentinel://").partition(",")[0]
    taken = connect(f"redis://{sentinel}")
    with pytest.raises(SettingsError, match="leads to a sentinel"):
        await durability_faults(taken, BusSettings())
    await taken.aclose()


def test_vectors_ask_the_sentinels_too(group: SentinelServers) -> None:
    """The master is found, and has no Query Engine here; on a Cluster there is no such index."""
    with pytest.raises(KnowledgeError, match="needs a Redis with the Query Engine"):
        RedisHome(group.url, model="m")
    with pytest.raises(KnowledgeError, match="is not there on a Cluster"):
        RedisHome("redis+cluster://127.0.0.1:1", model="m")
