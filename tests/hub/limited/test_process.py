"""A process that reads hostile bytes: what it survives, and what happens to it when it does not."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import pytest

from hub.limited.process import LimitedProcess, ProcessFailed

WORKER = "tests.hub.limited.worker"


@contextlib.asynccontextmanager
async def started(*, deadline_s: float = 60, most_requests: int = 100) -> AsyncIterator[LimitedProcess]:
    """A process that has answered once."""
    process = LimitedProcess(
        WORKER, deadline_s=deadline_s, most_requests=most_requests, max_answer_bytes=10_000
    )
    try:
        assert await process.ask(b"hello") == {"said": "hello"}
        yield process
    finally:
        await process.close()


async def test_one_process_answers_many_requests() -> None:
    """The second one does not wait for a process to start; what is printed is no answer."""
    async with started() as process:
        first = process.process_id

        assert await process.ask(b"print") == {"said": "print"}
        assert process.process_id == first


async def test_a_process_is_replaced_after_its_share() -> None:
    """None lives long enough to gather much."""
    async with started(most_requests=2) as process:
        first = process.process_id
        await process.ask(b"a")
        await process.ask(b"b")

        assert process.process_id != first


async def test_a_refusal_is_an_answer_and_a_failure_tells_no_secret() -> None:
    """Both cost the process nothing but itself."""
    async with started() as process:
        assert (await process.ask(b"refuse"))["error"] == "not this one"
        failed = await process.ask(b"fail")
        assert "ValueError" in str(failed["error"])
        assert "secret" not in str(failed["error"])
        assert await process.ask(b"a") == {"said": "a"}


async def test_what_takes_too_long_is_killed() -> None:
    """And nothing else with it."""
    async with started() as process:
        first = process.process_id
        assert first is not None
        process._deadline_s = 0.2
        with pytest.raises(ProcessFailed, match="longer than"):
            await process.ask(b"sleep")
        process._deadline_s = 60

        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        assert await process.ask(b"a") == {"said": "a"}


@pytest.mark.parametrize("order", [b"spin", b"large"])
async def test_what_takes_too_much_is_ended(order: bytes) -> None:
    """Processor time is limited by the kernel, the size of an answer by the near end."""
    async with started() as process:
        with pytest.raises(ProcessFailed, match="died"):
            await process.ask(order)

        assert await process.ask(b"a") == {"said": "a"}


async def test_memory_is_limited() -> None:
    """However much a request asks for."""
    async with started() as process:
        assert "MemoryError" in str((await process.ask(b"grow"))["error"])
        assert await process.ask(b"a") == {"said": "a"}


async def test_a_process_that_ended_while_idle_costs_nothing() -> None:
    """The machine may end any process; the next request gets a new one."""
    async with started() as process:
        first = process.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(20):
            while process._process is not None and process._process.returncode is None:
                await asyncio.sleep(0.01)

        assert await process.ask(b"a") == {"said": "a"}


async def test_a_request_pays_for_itself_alone() -> None:
    """Where an old process fails, a fresh one tries; where that fails, too, it is the request."""
    async with started() as process:
        assert await process.ask(b"once") == {"said": "once"}

        with pytest.raises(ProcessFailed, match="died"):
            await process.ask(b"spin")


async def test_a_request_that_is_given_up_leaves_no_answer_behind() -> None:
    """The next one gets its own."""
    async with started() as process:
        waiting = asyncio.create_task(process.ask(b"sleep"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})

        assert await process.ask(b"a") == {"said": "a"}


async def test_secrets_stay_out_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no use for a password."""
    monkeypatch.setenv("HUBBUB_TELEGRAM__TOKEN", "secret")
    async with started() as process:
        answer = await process.ask(b"environment")

        assert not any("HUBBUB" in name for name in list(answer["names"]))  # type: ignore[call-overload]
