"""The gate that one may have to itself."""

import asyncio

from hub.bus.gate import Gate


async def test_one_alone_is_let_in_before_newcomers() -> None:
    """Those inside leave, the one that wants to be alone enters, then the others."""
    gate, order = Gate(), list[str]()
    leave = asyncio.Event()

    async def enter(name: str, *, alone: bool = False) -> None:
        async with gate.entered(alone=alone):
            order.append(name)
            if name == "first":
                await leave.wait()

    first = asyncio.create_task(enter("first"))
    await asyncio.sleep(0)
    alone = asyncio.create_task(enter("alone", alone=True))
    await asyncio.sleep(0)
    late = asyncio.create_task(enter("late"))
    await asyncio.sleep(0)
    assert gate.is_wanted_alone
    leave.set()
    await asyncio.gather(first, alone, late)

    assert order == ["first", "alone", "late"]
    assert not gate.is_wanted_alone


async def test_one_who_is_cancelled_keeps_nobody_out() -> None:
    """A drain may cancel the one that waits to be alone."""
    gate = Gate()
    async with gate.entered(alone=False):
        waiting = asyncio.create_task(_enter_alone(gate))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(20), gate.entered(alone=False):
            pass


async def _enter_alone(gate: Gate) -> None:
    async with gate.entered(alone=True):
        pass
