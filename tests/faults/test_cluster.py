"""A Cluster under load: one of its masters dies and its replica takes over, and slots move to another master."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from hub.bus.cluster import slot_of
from hub.bus.connection import connect
from hub.bus.keys import Keys
from tests.faults.fleet import opened_bus, seeded
from tests.faults.processes import Plan
from tests.faults.shards import all_answered_once_in_order, load, working
from tests.servers.cluster import ClusterServers
from tests.servers.sentinel import until

pytestmark = pytest.mark.timeout(120)

SHARDS = 6
CONVERSATIONS, MESSAGES = 24, 12


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    """Three masters with a replica each."""
    with ClusterServers(tmp_path_factory.mktemp("nodes"), replicas=1) as servers:
        yield servers


@pytest.fixture
async def plan(nodes: ClusterServers) -> Plan:
    """How workers are set up, on an empty Cluster."""
    client: Any = connect(nodes.url)
    for master in (await client.masters()).values():
        await master.flushall()
    await client.aclose()
    return Plan(url=nodes.url, max_attempts=1000, min_replicas=1, shards=SHARDS)


async def test_slots_that_move_under_load_lose_nothing(nodes: ClusterServers, plan: Plan) -> None:
    """Key by key, while messages come, turns run and readers wait on the streams that move."""
    dice = seeded("resharding")
    async with opened_bus(plan) as bus, working(plan, workers=2):
        publishing = asyncio.create_task(
            load(bus, dice, conversations=CONVERSATIONS, messages=MESSAGES, over_s=3)
        )
        for shard in dice.sample(range(SHARDS), 2):
            await asyncio.sleep(dice.uniform(0.2, 0.8))
            slot = slot_of(Keys(shard).fence)
            target = dice.choice([master for master in nodes.masters if master is not nodes.owner(slot)])
            # On a busy machine the messages may not have come as far as this shard yet.
            await asyncio.to_thread(until, partial(_is_in_use, nodes, slot), "messages in the slot")
            source = nodes.begin_move(slot, target)
            moved = await asyncio.to_thread(nodes.move_keys, slot, source, target, pause_s=0.002)
            assert moved > 3
            assert nodes.owner(slot) is target
        async with asyncio.timeout(60):
            await publishing
        await all_answered_once_in_order(plan, conversations=CONVERSATIONS, messages=MESSAGES)


def _is_in_use(nodes: ClusterServers, slot: int) -> bool:
    return bool(nodes.node(nodes.owner(slot)).execute_command("CLUSTER COUNTKEYSINSLOT", slot) > 3)


async def test_a_master_that_dies_under_load_takes_nothing_with_it(nodes: ClusterServers, plan: Plan) -> None:
    """Its replica has what was accepted; until it takes over, messages are refused and come again."""
    dice = seeded("a master dies")
    async with opened_bus(plan) as bus, working(plan, workers=2):
        publishing = asyncio.create_task(
            load(bus, dice, conversations=CONVERSATIONS, messages=MESSAGES, over_s=3)
        )
        await asyncio.sleep(dice.uniform(0.3, 1.0))
        slot = slot_of(Keys(dice.randrange(SHARDS)).fence)
        killed = nodes.owner(slot)
        killed.kill()
        await asyncio.to_thread(until, lambda: nodes.owner(slot) is not killed, "the replica to take over")
        killed.start()
        async with asyncio.timeout(60):
            await publishing
        await all_answered_once_in_order(plan, conversations=CONVERSATIONS, messages=MESSAGES)
