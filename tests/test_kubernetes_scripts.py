"""What containers of the manifests for Kubernetes run, where it can be run without a cluster: probes, scripts, Redis."""

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hub.bus.connection import connect
from hub.bus.durability import durability_faults
from hub.model_registry import ModelRegistry
from hub.model_settings import GgufSettings
from hub.settings import Settings
from tests.emulators.model_hub import ModelHub
from tests.hub.provision.fetching import content, fetch, settings_for
from tests.kubernetes_rendering import named, rendered
from tests.servers.redis import RedisServer
from tests.settings_tree import bare_environment


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare_environment(monkeypatch, tmp_path)


def run(script: str, **variables: str) -> int:
    """Run a script as a container does; returns its exit code."""
    return subprocess.run(["sh", "-ec", script], env={**os.environ, **variables}, check=False).returncode


async def test_the_hub_takes_this_redis_and_the_probe_sees_it(tmp_path: Path) -> None:
    """A real server with these arguments keeps what it accepts; the probe has the password, and others are refused."""
    (container,) = named(rendered("base"), "StatefulSet redis")["spec"]["template"]["spec"]["containers"]
    words = iter(container["args"][1:])
    options = {name.removeprefix("--"): value for name, value in zip(words, words, strict=True) if value}
    assert options.pop("requirepass") == "$(REDISCLI_AUTH)"
    with RedisServer(tmp_path, options=options) as server:
        client: Any = connect(server.url)
        faults = await durability_faults(client, Settings().bus)
        await client.config_set("requirepass", "secret")
        await client.aclose()
        ping = container["readinessProbe"]["exec"]["command"][2]
        ping = ping.replace("redis-cli", f"redis-cli -p {server.port}")
        answers = run(ping, REDISCLI_AUTH="secret"), run(ping, REDISCLI_AUTH="")

    assert faults == []
    assert answers == (0, 1)
    assert run(ping, REDISCLI_AUTH="secret") == 1


def test_the_probe_tells_a_young_file_from_an_old_one(tmp_path: Path) -> None:
    """And from none at all."""
    (container,) = named(rendered("base"), "Deployment engine")["spec"]["template"]["spec"]["containers"]
    commands = {
        kind: container[f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "readiness", "liveness")
    }
    script = commands["liveness"][2]
    file = tmp_path / "alive"

    missing = run(script, HUBBUB_ALIVE_FILE=str(file))
    file.touch()
    young = run(script, HUBBUB_ALIVE_FILE=str(file))
    os.utime(file, (0, 0))
    old = run(script, HUBBUB_ALIVE_FILE=str(file))

    assert (missing, young, old) == (1, 0, 1)
    assert len({tuple(command) for command in commands.values()}) == 1


def test_folders_are_made_once_and_belong_to_the_user(tmp_path: Path) -> None:
    """Before every start: the data folder for its user alone, with the other volume as its models; what is there stays."""
    (container,) = named(rendered("base"), "Deployment hub")["spec"]["template"]["spec"]["initContainers"]
    script = container["command"][2].replace(" /models ", f" {tmp_path}/models ")
    data = tmp_path / "volume" / "hubbub"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.gguf").touch()

    done = [run(script, HUBBUB_DATA=str(data)) for _ in range(2)]

    assert done == [0, 0]
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert [path.name for path in (data / "models").iterdir()] == ["model.gguf"]
    (data / "models").unlink()
    (data / "models").mkdir()
    assert run(script, HUBBUB_DATA=str(data)) == 0
    assert list((data / "models").iterdir()) == []


def files_of(folder: Path) -> list[str]:
    """Give the real paths of the models in a folder."""
    return [os.path.realpath(path) for path in folder.rglob("*.gguf")]


async def test_models_are_fetched_onto_their_own_volume(tmp_path: Path) -> None:
    """Through the link that was made before the start; the registry finds them there."""
    (container,) = named(rendered("base"), "Deployment hub")["spec"]["template"]["spec"]["initContainers"]
    data, models = tmp_path / "volume" / "hubbub", tmp_path / "models"
    models.mkdir()
    assert run(container["command"][2].replace(" /models ", f" {models} "), HUBBUB_DATA=str(data)) == 0
    async with ModelHub({"small-Q4_K_M.gguf": content()}) as hub:
        settings = settings_for(hub, data)
        await fetch(settings)

    (file,) = files_of(models)
    found = ModelRegistry(settings).settings_of("small-q4_k_m")
    assert isinstance(found, GgufSettings)
    assert files_of(Path(found.path).parent) == [file]


def test_ten_backups_stay(tmp_path: Path) -> None:
    """The latest ones; and where there is none, nothing breaks but the backup itself."""
    job = named(rendered("overlays/postgresql"), "CronJob backup")["spec"]["jobTemplate"]["spec"]
    words = job["template"]["spec"]["containers"][0]["command"]
    make, prune = words[2].strip().splitlines()
    for number in range(12):
        file = tmp_path / f"hubbub-backup-{number:02}.tar.gz"
        file.touch()
        os.utime(file, (1000 + number, 1000 + number))

    assert run(prune.replace("/backups", str(tmp_path))) == 0

    assert sorted(file.name[14:16] for file in tmp_path.iterdir()) == [
        f"{number:02}" for number in range(2, 12)
    ]
    assert (words[:2], make) == (["sh", "-ec"], "hubbub backup /backups --json")
