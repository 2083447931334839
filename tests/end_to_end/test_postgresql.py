"""The whole hub on PostgreSQL: what it keeps in SQL is written, found, handed out and erased there."""

import asyncio
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hub.erasure.scanner import scan_tables
from tests.hub_process import HubProcess
from tests.servers.postgresql import PostgresqlServer

NAME = "Quillfeather"
PRICE = "What does the valve ZB-9001 cost?"


@pytest.mark.timeout(300)
async def test_a_hub_lives_on_postgresql(postgresql: PostgresqlServer, tmp_path: Path) -> None:
    """Documents, archive, keys, export and erasure; connections that the server ends are made anew."""
    (tmp_path / "parts.md").write_text("# Valves\n\nThe valve ZB-9001 is made of brass and costs 17 euros.\n")
    with postgresql.database("template0") as url:
        async with HubProcess(tmp_path / "data", {"HUBBUB_DATABASE_URL": url}) as hub:
            await hub.command("ingest", str(tmp_path / "parts.md"))
            first = await _ask(hub, f"My name is {NAME}.", "s1")
            answer = await _ask(hub, PRICE, "s2")
            await asyncio.to_thread(postgresql.run, _END_CONNECTIONS)
            again = await _ask(hub, PRICE, "s3")
            await _until_archived(url, NAME)
            found = await _ask(hub, f"/search_history {NAME}", "s1")
            await hub.command("export", str(tmp_path / "all.zip"))
            key = hub.key.split("_")[2]
            receipt = json.loads(await hub.command("erase", f"api/{key}/{key}:s1", "--yes", "--json"))
            looked = await hub.command("erase", "--look-for", NAME)

    assert first["response"]
    assert "17" in answer["response"]
    assert [source["location"] for source in again["sources"]] == ["parts.md"]
    assert NAME in found["response"]
    assert receipt["removed"]["archive"] > 0
    assert "Nothing found." in looked
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert NAME in archive.read("conversations.jsonl").decode()
        assert key in archive.read("keys.jsonl").decode()
    assert not list((tmp_path / "data").glob("*.db"))


_END_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


async def _ask(hub: HubProcess, prompt: str, session: str) -> Any:
    status, answer = await hub.post("/chat", {"prompt": prompt, "session_id": session})
    assert status == 200, answer
    return answer


async def _until_archived(url: str, word: str) -> None:
    async with asyncio.timeout(30):
        while "archived_turns" not in [one.place.split()[-1] for one in scan_tables(url, [word])]:
            await asyncio.sleep(0.05)
