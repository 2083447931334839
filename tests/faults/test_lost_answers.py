"""A server that has done what was asked but whose answer never arrives."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hub.bus.keys import Keys
from hub.errors import BusError
from tests.faults.engine import publish, running_engine, script_sha
from tests.faults.fleet import NOTHING, Fleet, opened_bus, replies, unfinished, until_committed
from tests.faults.processes import Plan, answer_to, run_worker
from tests.servers.proxy import LossyProxy

OUTBOUND = Keys().stream("outbound:test")
LONG_LEASE_S = 300.0
"""Nothing that ends within STALL_S has waited for such a lease."""
STALL_S = 60.0


@pytest.mark.parametrize("script", ["commit", "enter"])
async def test_a_lost_answer_neither_doubles_nor_stalls(redis: Redis, proxy: LossyProxy, script: str) -> None:
    """The request is repeated on the spot, and the conversation goes on at once."""
    async with running_engine(Plan(url=proxy.url, lease_s=LONG_LEASE_S, max_attempts=1)) as bus:
        losses = [proxy.lose(script_sha(script), b"RUN") for _ in range(3)]

        await publish(bus, "c", *range(8))
        await until_committed(redis, OUTBOUND, 8, within_s=STALL_S)

        # With one attempt per message a repeated request that counted would have become an apology.
        assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to(str(n)) for n in range(8)]
        assert all(loss.happened.is_set() for loss in losses)
    assert await unfinished(redis) == NOTHING


async def test_the_last_commit_of_a_conversation_may_lose_its_answer(redis: Redis, proxy: LossyProxy) -> None:
    """There is no next head whose lease would show that it was done."""
    async with running_engine(Plan(url=proxy.url, lease_s=LONG_LEASE_S)) as bus:
        loss = proxy.lose(script_sha("commit"), b"IDLE")

        await publish(bus, "c", 0)
        await asyncio.wait_for(loss.happened.wait(), STALL_S)
        await publish(bus, "c", 1)
        await until_committed(redis, OUTBOUND, 2, within_s=STALL_S)

    assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to("0"), answer_to("1")]


async def test_a_message_whose_acceptance_was_not_heard_is_stored_once(
    redis: Redis, proxy: LossyProxy
) -> None:
    """Publishing repeats itself, and the connector may do it once more."""
    async with running_engine(Plan(url=proxy.url)) as bus:
        loss = proxy.lose(script_sha("publish"), b"OK")

        first = await publish(bus, "c", 0)
        second = await publish(bus, "c", 0)
        await until_committed(redis, OUTBOUND, 1, within_s=STALL_S)

        assert loss.happened.is_set()
        assert first == second
    assert len((await replies(redis))["c"]) == 1


@pytest.mark.parametrize("repeats", [0, 10])
async def test_a_connector_that_publishes_ten_times_has_published_once(
    redis: Redis, proxy: LossyProxy, repeats: int
) -> None:
    """Each answer but the last is lost; a client of Redis that repeats commands by itself changes nothing."""
    async with opened_bus(Plan(url=proxy.url)) as bus:
        bus.redis.set_retry(Retry(NoBackoff(), repeats))
        sha = script_sha("publish")
        losses = [proxy.lose(sha, b"OK"), *(proxy.lose(sha, b"DUPLICATE") for _ in range(9))]

        entries: set[str] = set()
        async with asyncio.timeout(STALL_S):
            while not (entries and all(loss.happened.is_set() for loss in losses)):
                with contextlib.suppress(BusError):
                    entries |= set(await publish(bus, "c", 0))

        assert len(entries) == 1
    assert await redis.xlen(Keys().stream("inbound")) == 1


async def test_entries_delivered_into_the_void_are_found_again(redis: Redis, proxy: LossyProxy) -> None:
    """What nobody has seen is pending, and looked for after a lease; order holds."""
    async with running_engine(Plan(url=proxy.url, lease_s=0.5)) as bus:
        loss = proxy.lose(b"XREADGROUP", b"lane")

        await publish(bus, "c", *range(4))
        await until_committed(redis, OUTBOUND, 4, within_s=STALL_S)

        assert loss.happened.is_set()
    assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to(str(n)) for n in range(4)]


async def test_a_head_given_back_without_answer_is_tried_again(redis: Redis, proxy: LossyProxy) -> None:
    """The repeated NACK finds its work done; failures are counted once each."""
    async with running_engine(Plan(url=proxy.url, lease_s=LONG_LEASE_S, max_attempts=2)) as bus:
        loss = proxy.lose(script_sha("nack"))

        await publish(bus, "c", "fail", 1)
        await until_committed(redis, OUTBOUND, 2, within_s=STALL_S)

        assert loss.happened.is_set()
        [letter] = await bus.dead_letters.list()
        assert letter.reason == "2 attempts failed"
    assert [reply.kind for reply in (await replies(redis))["c"]] == ["error", "answer"]


async def test_a_worker_killed_before_it_hears_of_its_commit_changes_nothing(
    redis: Redis, proxy: LossyProxy, tmp_path: Path
) -> None:
    """The next worker goes on behind the committed message."""
    plan = Plan(url=proxy.url, lease_s=0.6)
    async with opened_bus(plan) as bus:
        with Fleet(run_worker, plan, tmp_path, size=1) as workers:
            loss = proxy.lose(script_sha("commit"), b"RUN")

            await publish(bus, "c", *range(6))
            await asyncio.wait_for(loss.happened.wait(), 20)
            workers.kill(0)
            await until_committed(redis, OUTBOUND, 6)

        assert [reply.text for reply in (await replies(redis))["c"]] == [answer_to(str(n)) for n in range(6)]
