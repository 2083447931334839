"""The client of a Cluster: what has keys in one slot or in many, moved slots, dead nodes, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions
from redis.asyncio import Redis

from hub.bus.bus import Bus
from hub.bus.cluster import ClusterRedis, _Slots, slot_of
from hub.bus.connection import connect, connect_reader
from hub.bus.durability import durability_advice, durability_faults, require_durable, require_shards
from hub.bus.keys import Keys
from hub.bus.nodes import groups_of, run_confirmed, scan_pages, servers
from hub.bus.state import State
from hub.bus.tail import Tail
from hub.erasure.eraser import Jobs
from hub.erasure.files import RedisFiles
from hub.erasure.lease import ErasureLease
from hub.errors import BusError, SettingsError
from hub.redis_address import Node
from hub.settings import BusSettings
from tests.servers.cluster import ClusterServers
from tests.servers.redis import RedisServer

SHARDS = 6
ADD = "redis.call('INCRBY', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"


AWAY = (redis.exceptions.ConnectionError, redis.exceptions.ClusterDownError)


async def reading(client: Any, name: str) -> None:
    """Read a key."""
    await client.get(name)


async def watching(client: Any, name: str) -> None:
    """Watch a key."""
    async with client.pipeline(transaction=True) as pipe:
        await pipe.watch(name)


async def piped(client: Any, name: str) -> None:
    """Read a key in a pipeline."""
    await client.pipeline(transaction=False).get(name).execute()


def key(shard: int, name: str = "test") -> str:
    """Name a key of a shard."""
    return Keys(shard).state("test", name)


@pytest.fixture
async def client(cluster: ClusterServers) -> AsyncIterator[Any]:
    """A client of an empty Cluster."""
    client: Any = connect(cluster.url)
    for master in (await client.masters()).values():
        await master.flushall()
    yield client
    await client.aclose()


def test_the_shards_lie_on_every_master(cluster: ClusterServers) -> None:
    """Otherwise the tests below would show nothing."""
    assert {cluster.owner(slot_of(key(shard))).port for shard in range(SHARDS)} == {
        master.port for master in cluster.masters
    }


async def test_commands_and_pipelines_reach_every_shard(client: Any) -> None:
    """Answers come in the order of the commands, whichever nodes gave them."""
    pipe = client.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipe.set(key(shard), shard)
        pipe.get(key(SHARDS - 1 - shard))
    answers = await pipe.execute()

    assert answers[::2] == [True] * SHARDS
    assert [await client.get(key(shard)) for shard in range(SHARDS)] == [b"%d" % one for one in range(SHARDS)]
    pipe = client.pipeline(transaction=False)
    for shard in range(SHARDS):
        pipe.get(key(shard))
    assert await pipe.execute() == [b"%d" % one for one in range(SHARDS)]


async def test_what_is_about_one_node_is_refused(client: Any) -> None:
    """Its answer would pass for that of all."""
    for command in ("SCAN", "KEYS", "INFO", "CONFIG GET", "DBSIZE", "FLUSHALL", "BGREWRITEAOF"):
        with pytest.raises(redis.exceptions.RedisClusterException, match="is about one node"):
            await client.execute_command(command, "*")
    assert await client.ping()
    assert len(await client.time()) == 2


async def test_a_transaction_has_one_slot(client: Any) -> None:
    """All or nothing within it; across slots there is no such thing."""
    pipe = client.pipeline(transaction=True)
    pipe.set(key(1), 1)
    pipe.incrby(key(1), 4)
    assert await pipe.execute() == [True, 5]

    pipe.set(key(1), 1)
    pipe.set(key(2), 1)
    with pytest.raises(redis.exceptions.CrossSlotTransactionError):
        await pipe.execute()
    assert await client.get(key(1)) == b"5"


async def test_a_watched_key_is_watched_on_its_node(client: Any) -> None:
    """For every shard, and a change in between is seen."""
    for shard in range(SHARDS):
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(key(shard))
            seen = await pipe.get(key(shard))
            pipe.multi()
            pipe.set(key(shard), "mine")
            assert seen is None
            await client.set(key(shard), "theirs")
            with pytest.raises(redis.exceptions.WatchError):
                await pipe.execute()
        assert await client.get(key(shard)) == b"theirs"


async def test_a_script_is_loaded_where_it_is_missing(client: Any) -> None:
    """Each node keeps scripts of its own and forgets them when it is started again."""
    script = client.register_script(ADD)

    for shard in range(SHARDS):
        assert await script(keys=[key(shard)], args=[2]) == b"2"
    for master in (await client.masters()).values():
        await master.script_flush()
    for shard in range(SHARDS):
        assert await script(keys=[key(shard)], args=[3]) == b"5"
        assert await run_confirmed(client, script, [key(shard)], [1], replicas=0) == b"6"


async def test_all_keys_of_a_kind_are_found(client: Any) -> None:
    """A shard's on its own node, and those of all shards by a pattern that names none."""
    for shard in range(SHARDS):
        for number in range(30):
            await client.set(Keys(shard).history(f"c{number}"), number)

    for shard in range(SHARDS):
        prefix = Keys(shard).history("")
        found = [name async for page in scan_pages(client, f"{prefix}*", count=10) for name in page]
        assert sorted(set(found)) == sorted(f"{prefix}c{number}".encode() for number in range(30))
    everything = {name async for page in scan_pages(client, "*", count=10) for name in page}
    assert len(everything) == 30 * SHARDS
    assert sorted(await State(client, "test").names("")) == []


async def test_streams_of_several_slots_are_tailed_together(client: Any, cluster: ClusterServers) -> None:
    """Each over a connection of its own, none of which holds up the others."""
    streams = [Keys(shard).deltas for shard in range(SHARDS)]
    tail = Tail(client, connect_reader(cluster.url), streams, name="test")
    seen, stop, done = set[bytes](), asyncio.Event(), asyncio.Event()

    def take(fields: dict[bytes, bytes]) -> None:
        seen.add(fields[b"shard"])
        if len(seen) == SHARDS:
            done.set()

    running = asyncio.create_task(tail.run(take, stop))
    async with asyncio.timeout(10):
        await tail.ready.wait()
        for shard in range(SHARDS):
            await client.xadd(Keys(shard).deltas, {"shard": shard})
        await done.wait()
    stop.set()
    await running

    assert len(groups_of(client, streams)) == len({slot_of(stream) for stream in streams})


async def test_a_moved_slot_is_followed_without_a_wrong_answer(client: Any, cluster: ClusterServers) -> None:
    """Commands, pipelines, transactions and scripts go on while half of a slot's keys are here and half there."""
    shard = 3
    slot, script = slot_of(key(shard)), client.register_script(ADD)
    for number in range(40):
        await client.set(key(shard, f"n{number}"), 0)
    source = cluster.owner(slot)
    target = next(master for master in cluster.masters if master is not source)
    other = connect(cluster.url)
    counted = [0] * 40
    stop = asyncio.Event()

    async def count(number: int) -> None:
        while not stop.is_set():
            await script(keys=[key(shard, f"n{number}")], args=[1])
            pipe: Any = (client if number % 2 else other).pipeline(transaction=False)
            pipe.incr(key(shard, f"n{number}"))
            pipe.get(key(0))
            counted[number] += 1 + len((await pipe.execute())[:1])

    counting = [asyncio.create_task(count(number)) for number in range(40)]
    cluster.begin_move(slot, target)
    moved = await asyncio.to_thread(cluster.move_keys, slot, source, target, pause_s=0.005)
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*counting)

    assert moved == 40
    assert cluster.owner(slot) is target
    values = [int(await other.get(key(shard, f"n{number}")) or 0) for number in range(40)]
    assert values == counted
    await other.aclose()


async def test_a_script_waits_while_its_keys_lie_on_two_nodes(client: Any, cluster: ClusterServers) -> None:
    """It is refused by both and asked for again, and nothing of it is done before."""
    shard = 4
    slot = slot_of(key(shard))
    both = client.register_script("redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])")
    await client.mset({key(shard, "a"): 0, key(shard, "b"): 0})
    source = cluster.owner(slot)
    target = next(master for master in cluster.masters if master is not source)

    cluster.begin_move(slot, target)
    cluster.node(source).execute_command("MIGRATE", "127.0.0.1", target.port, key(shard, "a"), 0, 5000)
    asked = asyncio.create_task(both(keys=[key(shard, "a"), key(shard, "b")]))
    await asyncio.sleep(0.1)
    assert not asked.done()
    await asyncio.to_thread(cluster.move_keys, slot, source, target)

    assert await asked == 1
    assert await client.mget(key(shard, "a"), key(shard, "b")) == [b"1", b"1"]


async def test_a_cancelled_command_leaves_no_answer_behind(client: Any) -> None:
    """Its connection is not used again."""
    await client.ping()
    for steps in range(12):
        asked = asyncio.create_task(client.set(key(2), "x" * 1000))
        for _ in range(steps):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait({asked}, timeout=1)
        assert asked.done()
        assert await client.incr(key(2, f"n{steps}")) == 1


async def test_what_the_hub_keeps_in_one_step_works_on_a_cluster(client: Any) -> None:
    """The lease of erasures, their list, and the small state of connectors."""
    lease, state = ErasureLease(client, "erasure"), State(client, "test")

    async def nothing() -> None:
        """Renew nothing."""

    async with lease.held(wait=False, renewed=nothing) as is_held:
        assert is_held
        await lease.write(lambda pipe: pipe.set(key(0, "note"), 1))
    assert await Jobs(client).all() == []
    assert await state.increment("count", 60) == 1
    assert await state.keep_first("first", "a") == "a"
    assert await state.names("") == ["count", "first", "note"]


async def test_the_files_of_every_node_are_written_anew(client: Any) -> None:
    """A deleted word is in none of them, whichever node had it."""
    async with servers(client) as found:
        before = [await one.client.info("persistence") for one in found]
        for shard in range(SHARDS):
            await client.set(key(shard), "a secret word")
            await client.delete(key(shard))
        await RedisFiles(client).compact()
        after = [await one.client.info("persistence") for one in found]

    assert len(found) == 3
    sizes = [
        (one["aof_current_size"], other["aof_current_size"]) for one, other in zip(before, after, strict=True)
    ]
    assert all(
        int(one["aof_rewrites"]) > int(other["aof_rewrites"])
        for one, other in zip(after, before, strict=True)
    ), sizes


async def test_each_node_is_asked_whether_it_loses_messages(client: Any, cluster: ClusterServers) -> None:
    """A fault names its node; a Cluster used by one slot alone does not start."""
    settings = BusSettings.model_validate({"redis_url": cluster.url, "shards": SHARDS})
    assert await durability_faults(client, settings) == []
    [name, *_], [spoilt, *_] = zip(*(await client.masters()).items(), strict=True)
    await spoilt.config_set("appendfsync", "no")
    try:
        [fault] = await durability_faults(client, settings)
        assert fault.startswith(f"{name}: appendfsync is no")
    finally:
        await spoilt.config_set("appendfsync", "always")

    advice = await durability_advice(client, settings)
    assert any("bus.min_replicas is 0" in one for one in advice)
    assert any(
        "holds none of the 1 shards" in one or "hold none of the 1 shards" in one
        for one in await durability_advice(client, settings.model_copy(update={"shards": 1}))
    )
    with pytest.raises(SettingsError, match=r"bus\.shards is 1"):
        require_shards(settings.model_copy(update={"shards": 1}))
    with pytest.raises(SettingsError, match=r"bus\.min_replicas is 1, but a master has 0 replicas"):
        await require_durable(client, settings.model_copy(update={"min_replicas": 1}))


async def test_what_is_no_cluster_is_told(cluster: ClusterServers, redis_server: RedisServer) -> None:
    """A single server by the URL of a Cluster, a node of one by the URL of a single server, and nobody at all."""
    wrong = connect(f"redis+cluster://127.0.0.1:{redis_server.port}")
    with pytest.raises(redis.exceptions.RedisClusterException, match="is a single server"):
        await wrong.get("key")
    await wrong.aclose()

    node = connect(f"redis://127.0.0.1:{cluster.masters[0].port}")
    with pytest.raises(SettingsError, match="leads to a node of a Cluster"):
        await durability_faults(node, BusSettings())
    await node.aclose()

    bus = Bus("redis+cluster://127.0.0.1:1,127.0.0.1:2", BusSettings(shards=2))
    with pytest.raises(
        BusError, match=r"no node of the Cluster answers, asked first: 127\.0\.0\.1:1, 127\.0\.0\.1:2"
    ):
        await bus.ping()
    await bus.close()


@pytest.mark.parametrize(
    "told",
    [
        [],
        None,
        b"OK",
        [[b"0"]],
        [[0, 10**12, [b"127.0.0.1", 1]]],
        [[-5, 3, [b"127.0.0.1", 1]]],
        [[0, 16383, [b"127.0.0.1", b"x"]]],
    ],
)
async def test_a_node_that_tells_nothing_of_use_is_passed_over(told: Any) -> None:
    """One that was reset, or is none of ours; the next seed knows."""
    whole = [[0, 16383, [b"127.0.0.1", 7002]]]

    async def ask(node: Node) -> Any:
        return told if node[1] == 7001 else whole

    slots = _Slots([("127.0.0.1", 7001), ("127.0.0.1", 7002)], ask)
    assert await slots.owner(5) == ("127.0.0.1", 7002)

    alone = _Slots([("127.0.0.1", 7001)], ask)
    with pytest.raises(redis.exceptions.ConnectionError, match=r"127\.0\.0\.1:7001 does not tell"):
        await alone.owner(5)


async def test_a_dead_node_stops_its_own_shards_only(tmp_path: Path) -> None:
    """Where the Cluster allows it; whoever asks the others waits for nobody."""
    with ClusterServers(tmp_path) as cluster:
        client: Any = connect(cluster.url)
        for master in cluster.masters:
            cluster.node(master).config_set("cluster-require-full-coverage", "no")
        dead = cluster.masters[1]
        lost = [shard for shard in range(SHARDS) if cluster.owner(slot_of(key(shard))) is dead]
        await asyncio.gather(*(client.set(key(shard), 1) for shard in range(SHARDS)))
        dead.kill()

        for shard in range(SHARDS):
            if shard in lost:
                for ask in (reading, watching, piped):
                    with pytest.raises(AWAY):
                        await ask(client, key(shard))
            else:
                assert await client.get(key(shard)) == b"1"
        dead.start()
        async with asyncio.timeout(15):
            while True:
                try:
                    assert [await client.get(key(shard)) for shard in lost] == [b"1"] * len(lost)
                    break
                except AWAY:
                    await asyncio.sleep(0.05)
        await client.aclose()


def test_a_client_of_a_cluster_passes_for_one_of_redis() -> None:
    """Whatever takes the one takes the other."""
    assert issubclass(ClusterRedis, Redis)
