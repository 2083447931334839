"""What the doctor finds."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from hub.bus.heartbeat import beat, is_alive
from hub.cli import doctor
from hub.cli.doctor import Finding, find
from hub.settings import Settings
from tests.servers.cluster import ClusterServers
from tests.servers.llama_server import MODEL, LlamaServer
from tests.servers.redis import RedisServer, free_port


async def test_a_look_that_breaks_is_a_finding_and_the_others_go_on(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without rights must not hide what is wrong with the rest."""

    async def breaks(settings: Settings) -> list[Finding]:
        raise PermissionError(13, "Permission denied")

    async def works(settings: Settings) -> list[Finding]:
        return [Finding(part="other", state="ok", text="fine")]

    monkeypatch.setattr(doctor, "CHECKS", {"machine": breaks, "other": works})

    findings = await find(Settings(_env_file=None, data=data))

    assert [(one.part, one.state) for one in findings] == [
        ("settings", "ok"),
        ("machine", "fail"),
        ("other", "ok"),
    ]
    assert "Permission denied" in findings[1].text


async def test_the_port_of_a_hub_that_runs_is_its_own_or_told_to_be_another(
    data: Path, redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--port` is known to the process alone: the doctor does not say that nobody listens where it did not look."""
    monkeypatch.setattr(doctor, "CHECKS", {"machine": doctor.CHECKS["machine"]})
    stop = asyncio.Event()
    beating = asyncio.create_task(beat(redis, "hub", stop))
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    texts = []
    async with server:
        while not await is_alive(redis, "hub"):
            await asyncio.sleep(0.01)
        for port in (server.sockets[0].getsockname()[1], free_port()):
            settings = Settings(
                _env_file=None, data=data, bus={"redis_url": redis_server.url}, api={"port": port}
            )
            [found] = [one for one in await find(settings) if one.part == "port"]
            texts.append((found.state, found.text))
    stop.set()
    await beating

    assert [state for state, _ in texts] == ["ok", "ok"]
    assert texts[0][1].endswith("is the running hub's")
    assert texts[1][1].startswith("a hub runs, and not at port")


async def test_every_node_of_a_cluster_is_looked_at(
    data: Path, monkeypatch: pytest.MonkeyPatch, cluster: ClusterServers
) -> None:
    """With advice against losses when a replica takes over; one shard on a Cluster is a failure."""
    monkeypatch.setattr(doctor, "CHECKS", {"redis": doctor.CHECKS["redis"]})
    settings = Settings(_env_file=None, data=data, bus={"redis_url": cluster.url, "shards": 6})

    _, answers, *advice, processes = await find(settings)
    [_, refused] = await find(
        Settings(_env_file=None, data=data, bus={"redis_url": cluster.url, "shards": 1})
    )

    assert (answers.state, answers.text) == ("ok", "answers; 0 messages wait or run")
    assert {one.state for one in advice} == {"warn"}
    assert processes.text == "no hub runs"
    assert sum("min-replicas-to-write is 0" in one.text for one in advice) == len(cluster.masters)
    assert (refused.state, "bus.shards is 1" in refused.text) == ("fail", True)


async def test_the_engine_is_described_for_each_local_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cores and memory of the machine, then how each model will be run, or why it will not."""
    models = {
        "large": {"type": "gguf", "path": str(tmp_path / "missing.gguf")},
        "tight": {"type": "gguf", "max_memory": "1MB"},
        "lawyer": {"type": "gguf", "base": "smollm2-135m", "parallel": 3},
        "elsewhere": {"type": "remote", "base_urls": ["http://127.0.0.1:9/v1"], "model": "x"},
    }
    monkeypatch.setattr(doctor, "CHECKS", {"engine": doctor.CHECKS["engine"]})

    _, machine, *found = await find(Settings(_env_file=None, data=data, models=models))

    assert machine.state == "ok"
    assert "free" in machine.text
    texts = {one.part: (one.state, one.text) for one in found}
    assert set(texts) == {f"engine, {name}" for name in ("smollm2-135m", "large", "tight", "lawyer")}
    assert "tokens a step" in texts["engine, smollm2-135m"][1]
    assert "3 answers at once" in texts["engine, lawyer"][1]
    assert texts["engine, large"][0] == "warn"
    assert "max_memory allows" in texts["engine, tight"][1]


async def test_remote_models_are_asked_for(
    data: Path, llama_server: LlamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is away, or takes another key, is a failure where it is the model that answers, and a warning elsewhere."""
    away = {"type": "remote", "base_urls": [f"http://127.0.0.1:{free_port()}/v1"], "model": "x"}
    here = away | {"base_urls": [llama_server.base_url], "model": MODEL, "api_key": llama_server.api_key}
    models = {"here": here, "away": away, "main": away, "locked": here | {"api_key": "sk-of-another-server"}}
    monkeypatch.setattr(doctor, "CHECKS", {"remote models": doctor.CHECKS["remote models"]})

    _, *found = await find(Settings(_env_file=None, data=data, models=models, engine={"model": "main"}))

    assert {one.part: one.state for one in found} == {
        "model here": "ok",
        "model away": "warn",
        "model main": "fail",
        "model locked": "warn",
    }
    assert all("`api_key`" in one.advice for one in found if one.state != "ok")
    assert not any("sk-of-another-server" in one.text for one in found)
    assert "cannot be asked: connection refused" in found[1].text
