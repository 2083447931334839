"""A running hub, and what its operator does about a person: answers made again, another model tried, all of it erased."""

import asyncio
import json
from pathlib import Path

import pytest

from engine.receipts import ReceiptBook
from hub.bus.bus import Bus
from hub.bus.embedded import embedded_url
from hub.erasure.scanner import scan_files, scan_redis
from hub.settings import BusSettings
from tests.hub_process import HubProcess

QUESTIONS = ("My name is Quillfeather.", "What is my name?", "What is Hubbub?", "Where is my data kept?")


@pytest.mark.timeout(300)
async def test_an_operator_replays_shadows_and_erases(tmp_path: Path) -> None:
    """The engine answered among other requests; a fresh process says the same bytes. Erased, nothing is left."""
    data = tmp_path / "data"
    async with HubProcess(data, {"HUBBUB_LOG__INTERACTIONS": "true"}) as hub:
        await asyncio.gather(*(_talk(hub, f"s{number}") for number in range(3)))
        bus = Bus(embedded_url(data), BusSettings())
        receipts = await ReceiptBook(bus.redis, shards=1).latest(50)
        key = receipts[0].conversation.split("-")[1]

        replayed = [
            json.loads(await hub.command("replay", receipt.turn, "--json")) for receipt in receipts[-3:]
        ]
        shadowed = await hub.command("shadow", "--model", "smollm2-135m", "--last", "2", "--json")
        await hub.command("erase", f"api/{key}/{key}:s1", "--yes")

        requests = [request for one in replayed for request in one["requests"]]
        assert requests
        assert [request["differences"] for request in requests] == [[]] * len(requests)
        assert all(request["prompt"]["of"] == "tokens" for request in requests)
        assert len(shadowed.splitlines()) >= 2
        left = {one.conversation for one in await ReceiptBook(bus.redis, shards=1).latest(50)}
        assert {name[-2:] for name in left} == {"s0", "s2"}
        words = [f"{key}-s1", f"{key}:s1"]
        assert list(scan_files([data], words)) == []
        assert [one async for one in scan_redis(bus.redis, words)] == []
        status, answer = await hub.post("/chat", {"prompt": "What is my name?", "session_id": "s1"})
        assert status == 200
        assert "Quillfeather" not in answer["response"]
        await bus.close()


async def _talk(hub: HubProcess, session: str) -> None:
    for question in QUESTIONS:
        status, _ = await hub.post("/chat", {"prompt": question, "session_id": session})
        assert status == 200
