"""The whole hub on a Redis Cluster, a process per role: questions, an export, an erasure."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.end_to_end.test_roles import role
from tests.hub_process import HubProcess
from tests.servers.cluster import ClusterServers


@pytest.mark.timeout(240)
async def test_a_hub_on_a_cluster_answers_exports_and_erases(
    data: Path, tmp_path: Path, cluster: ClusterServers
) -> None:
    """Conversations lie on all masters, and what is one person's is found on each of them."""
    for master in cluster.masters:
        cluster.node(master).flushall()
    hub = HubProcess(data, {"HUBBUB_BUS__REDIS_URL": cluster.url, "HUBBUB_BUS__SHARDS": "6"})
    hub.key = (await hub.command("keys", "create", "--tier", "own")).strip()
    async with AsyncExitStack() as running:
        await running.enter_async_context(role(hub, "api", HUBBUB_API__PORT=str(hub.port)))
        await running.enter_async_context(role(hub, "engine"))
        async with asyncio.timeout(90):
            while (await _health(hub)) != "ok":
                await asyncio.sleep(0.1)
        told = [
            await hub.post("/chat", {"prompt": "My name is Quillfeather.", "session_id": f"s{number}"})
            for number in range(6)
        ]
        status, asked = await hub.post("/chat", {"prompt": "What is my name?", "session_id": "s0"})

        assert [one for one, _ in told] == [200] * 6
        assert status == 200
        assert "Quillfeather" in asked["response"]
        sizes = [int(cluster.node(master).dbsize()) for master in cluster.masters]
        assert all(sizes), "every master holds some of it"

        archive = tmp_path / "all.zip"
        written = json.loads(await hub.command("export", str(archive), "--json"))
        assert written["rows"]["conversations"] == 7
        with ZipFile(archive) as file:
            [name] = [one for one in file.namelist() if one.startswith("conversations")]
            rows = [json.loads(line) for line in file.read(name).splitlines()]
        assert len({row["conversation"] for row in rows}) == 6
        key = rows[0]["conversation"].split("-")[1]
        [receipt] = [await hub.command("erase", f"api/{key}/{key}:s1", "--yes", "--json")]
        assert json.loads(receipt)["removed"]["memory"] > 0
        found = json.loads(await hub.command("export", str(tmp_path / "after.zip"), "--json"))
        assert found["rows"]["conversations"] == 6
        status, answer = await hub.post("/chat", {"prompt": "What is my name?", "session_id": "s1"})
        assert (status, "Quillfeather" in answer["response"]) == (200, False)
    logged = "".join((tmp_path / f"{name}.log").read_text() for name in ("api", "engine"))
    assert not [line for line in logged.splitlines() if "CROSSSLOT" in line or "interrupted" in line]


async def _health(hub: HubProcess) -> str:
    try:
        return str((await hub.get("/health"))[1].get("status"))
    except OSError:
        return ""
