"""Models that are fetched in the background."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from hub.bus.state import State
from hub.errors import ProvisionError
from hub.provision import jobs as jobs_module
from hub.provision.jobs import OWNER, ProvisionJobs
from hub.settings import Settings
from tests.emulators.model_hub import REPO, ModelHub
from tests.hub.provision.fetching import AT_ONCE, content, settings_for

FILE = "small-Q4_K_M.gguf"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and write often, so that nobody waits for it."""
    monkeypatch.setattr(jobs_module, "WRITE_S", 0.02)
    monkeypatch.setattr(jobs_module, "LOOK_S", 0.05)


def _jobs(settings: Settings, redis: Redis) -> ProvisionJobs:
    return ProvisionJobs(settings, State(redis, OWNER), patience=AT_ONCE)


@asynccontextmanager
async def _working(settings: Settings, redis: Redis) -> AsyncIterator[ProvisionJobs]:
    jobs, stop = _jobs(settings, redis), asyncio.Event()
    running = asyncio.create_task(jobs.run(stop))
    try:
        yield jobs
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await running


async def _until(jobs: ProvisionJobs, job: str, *states: str) -> Mapping[str, Any]:
    async with asyncio.timeout(60):
        while (status := await jobs.status(job)) is None or status["state"] not in states:
            await asyncio.sleep(0.01)
    return status


async def test_a_job_fetches_a_model_and_tells_how_far_it_is(data: Path, redis: Redis) -> None:
    """Any process sees it, also one that works on nothing."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        other = _jobs(settings, redis)
        hub.gate = asyncio.Event()
        async with _working(settings, redis) as jobs:
            job = await jobs.start(REPO, "", "chat")
            await _until(other, job, "running")
            async with asyncio.timeout(60):
                while not (status := await other.status(job)) or not status["done_bytes"]:
                    await asyncio.sleep(0.01)
            assert 0 < status["done_bytes"] < status["total_bytes"] == 300_000
            hub.gate.set()
            done = await _until(other, job, "done", "failed")

    assert (done["state"], done["model"], done["error"]) == ("done", "chat", "")
    assert done["done_bytes"] == done["total_bytes"] == 300_000
    assert await other.status("0" * 24) is None


async def test_a_job_is_done_once_however_often_it_is_asked_for(data: Path, redis: Redis) -> None:
    """By however many processes; asked for again later it is looked at anew."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        hub.gate = asyncio.Event()
        async with _working(settings, redis) as one, _working(settings, redis) as other:
            ids = {await jobs.start(REPO) for jobs in (one, other, one, other)}
            async with asyncio.timeout(60):
                await hub.is_waiting.wait()
            ids |= {await jobs.start(REPO) for jobs in (one, other)}
            hub.gate.set()
            [job] = ids
            await _until(one, job, "done")
            assert hub.asked[FILE] == 2  # the address on the hub, and the bytes where that leads
            assert await other.start(REPO) == job
            await _until(one, job, "done")


async def test_a_job_goes_on_in_the_next_process(data: Path, redis: Redis) -> None:
    """From the byte on at which the last one stopped."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        hub.gate = asyncio.Event()
        async with _working(settings, redis) as jobs:
            job = await jobs.start(REPO)
            async with asyncio.timeout(60):
                while not (status := await jobs.status(job)) or not status["done_bytes"]:
                    await asyncio.sleep(0.01)
        assert (await _until(jobs, job, "waiting"))["done_bytes"] > 0
        hub.gate.set()
        async with _working(settings, redis) as jobs:
            await _until(jobs, job, "done")

    assert int(hub.ranges[-1].removeprefix("bytes=").removesuffix("-")) > 0


async def test_a_job_of_a_process_that_died_is_taken_up_once_its_claim_ran_out(
    data: Path, redis: Redis
) -> None:
    """Nobody else could know that it died."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        job = await _jobs(settings, redis).start(REPO)
        state = State(redis, OWNER)
        await state.increment(f"claim:{job}", 60.0)
        async with _working(settings, redis) as jobs:
            await jobs.start("maker/other")
            other = await jobs.start("maker/other")
            await _until(jobs, other, "failed")
            assert (await _until(jobs, job, "waiting"))["state"] == "waiting"
            await state.delete(f"claim:{job}")
            await _until(jobs, job, "done")


async def test_a_job_that_failed_says_why_and_can_be_asked_for_again(data: Path, redis: Redis) -> None:
    """With the text a person would see on the command line."""
    async with ModelHub({FILE: content()}) as hub:
        settings = settings_for(hub, data)
        hub.sent[FILE] = content(seed=5)
        async with _working(settings, redis) as jobs:
            job = await jobs.start(REPO)
            failed = await _until(jobs, job, "done", "failed")
            hub.sent.clear()
            assert await jobs.start(REPO) == job
            done = await _until(jobs, job, "done")

    assert "nothing of it was kept" in failed["error"]
    assert (done["state"], done["error"]) == ("done", "")


@pytest.mark.parametrize(
    ("repo", "file", "name"), [("../x", "", ""), (REPO, "../x", ""), (REPO, "", "default"), ("", "", "")]
)
async def test_names_that_are_none_are_refused_at_once(
    data: Path, redis: Redis, repo: str, file: str, name: str
) -> None:
    """No job is made of them."""
    with pytest.raises(ProvisionError):
        await _jobs(Settings(_env_file=None, data=data), redis).start(repo, file, name)

    assert not await redis.keys("*")
