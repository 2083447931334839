"""An answer is stopped while a real model writes it, and the model is free for the next one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

from engine.replies import NOTHING_TO_STOP
from hub.bus.bus import Bus
from hub.bus.embedded import embedded_url
from hub.bus.keys import Keys
from hub.settings import BusSettings
from tests.hub_process import HubProcess

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

ENDLESS = {
    "model": "smollm2-135m",
    "prompt": "Numbers: 1, 2, 3, 4, 5, 6, 7, 8, 9,",
    "raw": True,
    "max_tokens": 1_500,
    "stream": True,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HubProcess]:
    """Run a hub as `make run` starts it."""
    async with HubProcess(tmp_path_factory.mktemp("hub") / "data") as running:
        yield running


async def test_a_cancelled_answer_ends_and_the_next_one_is_given(hub: HubProcess) -> None:
    """Whoever waits for it is told so at once; nothing of it is left in the queue."""
    bus = Bus(embedded_url(hub.data), BusSettings())
    client: Any = bus.redis
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": hub.key}) as session,
        session.post(f"{hub.url}/generate", json=ENDLESS) as answer,
        asyncio.timeout(120),
    ):
        events = _events(answer)
        async for name, _ in events:
            if name == "delta":
                break
        [(turn, fields)] = await client.xrange(Keys().stream("inbound"))
        assert await bus.cancel(fields[b"lane"].decode(), turn.decode()) == [turn.decode()]
        ends = [(name, data) async for name, data in events if name in ("final", "error")]

    assert [(name, data["code"]) for name, data in ends] == [("error", "cancelled")]
    assert await bus.backlog() == 0
    await bus.close()
    status, said = await hub.post("/chat", {"prompt": "/stop"})
    assert (status, said["response"]) == (200, NOTHING_TO_STOP)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in answer.content:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, orjson.loads(value)
