"""Somebody is erased while the engine that works for them is told to end and hands over what it had."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from engine.worker import Worker
from hub.bus.consumer import ConsumerOptions
from hub.bus.keys import Keys
from hub.bus.queue import Commit, Lease, OrderedQueue
from hub.erasure.person import Principal
from hub.messages import OutboundMessage
from tests.hub.erasure.world import ANA, BEN, BOT, Member, World

OPTIONS = ConsumerOptions(concurrency=4, drain_timeout_s=0.1, stale_every_s=0.2, orphans_every_s=0.4)
TEXTS = ("the first", "and the second")
Step = Callable[[], Awaitable[object]]


async def _erase_first(erase: Step, retire: Step) -> None:
    await erase()
    await retire()


async def _retire_first(erase: Step, retire: Step) -> None:
    await retire()
    await erase()


async def _at_once(erase: Step, retire: Step) -> None:
    await asyncio.gather(erase(), retire())


@pytest.mark.parametrize("order", [_erase_first, _retire_first, _at_once])
async def test_what_a_retiring_engine_hands_over_holds_nothing_of_the_erased(
    world: World,
    redis_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: Callable[[Step, Step], Awaitable[None]],
) -> None:
    """Their turns were running and waiting; those of another person are answered by the next engine, once."""
    began, stop, begun = asyncio.Event(), asyncio.Event(), set[str]()
    retire = world.bus.queue("inbound", 0).retire

    async def hang(lease: Lease) -> Commit:
        begun.add(lease.lane)
        if len(begun) == 2:
            began.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def retire_meanwhile(_: OrderedQueue, name: str) -> int:
        principal = Principal(connector="telegram", account=BOT, person=ANA.number)
        await order(lambda: world.eraser().erase(principal), lambda: retire(name))
        return 0

    monkeypatch.setattr(OrderedQueue, "retire", retire_meanwhile)
    for who in (ANA, BEN):
        for text in TEXTS:
            await world.ask(who.telegram(), _conversation(who), f"{text} of {who.word}")
    worker = world.worker()
    [consumer] = world.bus.consumers("inbound", handle=hang, bury=worker.bury, options=OPTIONS)
    retiring = asyncio.create_task(consumer.run(stop))
    async with asyncio.timeout(30):
        await began.wait()
        stop.set()
        await retiring
    monkeypatch.undo()
    await _finish(world, worker)

    words = [ANA.word, f"-{ANA.number}", f":{ANA.number}"]
    assert await world.files_hold(redis_folder, words=words) == []
    replies = await world.client.xrange(Keys().stream("outbound:telegram"))
    said = [OutboundMessage.model_validate_json(fields[b"body"]).text for _, fields in replies]
    assert said == [f"You said {text} of {BEN.word}" for text in TEXTS]


def _conversation(who: Member) -> str:
    return f"telegram-{BOT}-{who.number}"


async def _finish(world: World, worker: Worker) -> None:
    """Let another engine do what is left."""
    stop = asyncio.Event()
    [consumer] = world.bus.consumers("inbound", handle=worker.handle, bury=worker.bury, options=OPTIONS)
    running = asyncio.create_task(consumer.run(stop))
    async with asyncio.timeout(30):
        while await world.client.xlen(Keys().stream("inbound")):
            await asyncio.sleep(0.02)
    stop.set()
    await running
