"""A hub is backed up while people write to it, and goes on elsewhere as if nothing had happened."""

import asyncio
from pathlib import Path

import pytest

from hub.bus.bus import Bus
from hub.bus.connection import connect
from hub.bus.embedded import EmbeddedRedis, embedded_url
from hub.settings import BusSettings, Settings
from tests.hub.backup.backups import assert_of_one_moment, files_of, keys_of, restored, rows_of
from tests.hub_process import HubProcess

DOCUMENT = """# Opening hours

## When is the reading room open?

The reading room of the Lindwurm library is open from nine to half past five.
"""


@pytest.mark.timeout(300)
async def test_a_hub_at_work_goes_on_from_its_backup(tmp_path: Path) -> None:
    """Real processes: one backup under load is of one moment; from another, the second hub knows the document, the fact
    and the conversation, takes the same API key, and holds the same in every store.
    """
    (tmp_path / "hours.md").write_text(DOCUMENT)
    busy, quiet = str(tmp_path / "busy.tar.gz"), str(tmp_path / "quiet.tar.gz")
    first, second = tmp_path / "first", tmp_path / "second"
    async with HubProcess(first, {"HUBBUB_LOG__INTERACTIONS": "true"}) as hub:
        await hub.command("ingest", str(tmp_path / "hours.md"))
        await _say(hub, "ana", "My name is Quillfeather.")
        await _say(hub, "ana", "I live in Utrecht.")
        stop = asyncio.Event()
        talks = [asyncio.create_task(_talk(hub, f"s{number}", stop)) for number in range(4)]
        await hub.command("backup", busy)
        stop.set()
        assert sum(await asyncio.gather(*talks)) > 8
        await _settled(first)
        await hub.command("backup", quiet, "--json")
        before = await _stores(first, connect(embedded_url(first)))
        key = hub.key
    await restored(Settings(_env_file=None, data=tmp_path / "third"), Path(busy))
    await HubProcess(second).command("restore", quiet)
    await _check_load(tmp_path / "third")
    assert await _embedded_stores(second) == before

    other = HubProcess(second)
    other.key = key
    async with other:
        assert "Quillfeather" in await _say(other, "ana", "What is my name?")
        assert "half past five" in await _say(other, "new", "When is the reading room open?")
        status, history = await other.get("/api/v1/history", session_id="ana")
        assert status == 200
        assert [turn["question"] for turn in history["turns"]][:2] == [
            "My name is Quillfeather.",
            "I live in Utrecht.",
        ]


async def _say(hub: HubProcess, session: str, text: str) -> str:
    status, answer = await hub.post("/chat", {"prompt": text, "session_id": session})
    assert status == 200, answer
    return str(answer["response"])


async def _talk(hub: HubProcess, session: str, stop: asyncio.Event) -> int:
    count = 0
    while not stop.is_set():
        await _say(hub, session, "Hello!")
        count += 1
    return count


async def _settled(data: Path) -> None:
    """Wait until replies, archive and index have caught up."""
    bus = Bus(embedded_url(data), BusSettings())
    async with asyncio.timeout(30):
        while await bus.backlog("outbound:api"):
            await asyncio.sleep(0.05)
        seen: object = None
        while (now := await _stores(data, connect(embedded_url(data)))) != seen:
            seen = now
            await asyncio.sleep(1.5)
    await bus.close()


async def _stores(data: Path, client: object) -> object:
    settings = Settings(_env_file=None, data=data)
    try:
        return await keys_of(client), rows_of(settings), files_of(data)  # type: ignore[arg-type]
    finally:
        await client.aclose()  # type: ignore[attr-defined]


async def _embedded_stores(data: Path) -> object:
    server = EmbeddedRedis(BusSettings(), data)
    await server.start()
    try:
        return await _stores(data, connect(embedded_url(data)))
    finally:
        await server.stop()


async def _check_load(data: Path) -> None:
    server = EmbeddedRedis(BusSettings(), data)
    await server.start()
    bus = Bus(embedded_url(data), BusSettings())
    try:
        await assert_of_one_moment(bus)
    finally:
        await bus.close()
        await server.stop()
