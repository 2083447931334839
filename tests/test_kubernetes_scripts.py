"""What containers of the manifests for Kubernetes run, where it can be run without a cluster: probes, scripts, Redis."""

import os
import re
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
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
from tests.kubernetes_selection import Manifest
from tests.servers.redis import RedisServer, free_port
from tests.settings_tree import ROOT, bare_environment


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare_environment(monkeypatch, tmp_path)


def run(script: str, **variables: str) -> int:
    """Run a script as a container does; returns its exit code."""
    return subprocess.run(["sh", "-ec", script], env={**os.environ, **variables}, check=False).returncode


def container_of(kind_and_name: str) -> Manifest:
    """Give the container of what starts Pods."""
    (container,) = named(rendered("base"), kind_and_name)["spec"]["template"]["spec"]["containers"]
    return dict(container)


def settings_of_a_pod(folder: Path, redis_url: str) -> dict[str, str]:
    """Lay the files of a Pod into a folder instead, and give the variables that lead to them."""
    for name, key, text in (
        ("settings", "settings.toml", named(rendered("base"), "ConfigMap settings")["data"]["settings.toml"]),
        ("secrets", "HUBBUB_BUS__REDIS_URL", redis_url),
    ):
        (folder / "etc/hubbub" / name).mkdir(parents=True)
        (folder / "etc/hubbub" / name / key).write_text(text)
    (folder / "tmp").mkdir()
    image = dict(re.findall(r"(HUBBUB_\w+)=(\S+)", (ROOT / "Dockerfile").read_text("utf-8")))
    given = named(rendered("base"), "ConfigMap environment")["data"]
    return {**image, **{name: f"{folder}{value}" for name, value in given.items()}}


def status(url: str) -> int:
    """Ask as the kubelet does; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that takes seconds at most."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_hub_without_redis_gets_no_requests_and_stays(tmp_path: Path) -> None:
    """A real one, with the command, the variables and the files of its Pod; SIGTERM ends it in time."""
    container, port = container_of("Deployment hub"), free_port()
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        variables = settings_of_a_pod(tmp_path, server.url)
        assert run(folders(tmp_path), **variables) == 0
        alive = container["livenessProbe"]["exec"]["command"][2]
        ready = f"http://127.0.0.1:{port}{container['readinessProbe']['httpGet']['path']}"
        hub = subprocess.Popen(
            [sys.executable, "-m", "hub", *container["command"][1:]],
            env={**os.environ, **variables, "HUBBUB_API__PORT": str(port), "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: status(ready) == 200)
            begun = run(alive, **variables)
            server.kill()
            wait_until(lambda: status(ready) == 503)
            without_redis = run(alive, **variables), hub.poll()
            hub.terminate()
            ended = hub.wait(timeout=45)
        finally:
            hub.kill()
            hub.wait()

    assert (begun, without_redis, ended) == (0, (0, None), 0)
    assert run(alive, **variables) == 1


async def test_the_hub_takes_this_redis_and_the_probe_sees_it(tmp_path: Path) -> None:
    """A real server with these arguments keeps what it accepts; the probe has the password, and others are refused."""
    container = container_of("StatefulSet redis")
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
    container = container_of("Deployment engine")
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


def folders(root: Path) -> str:
    """Give the script that lays the folders of a Pod, with /models in another place."""
    (container,) = named(rendered("base"), "Deployment hub")["spec"]["template"]["spec"]["initContainers"]
    (root / "models").mkdir()
    return str(container["command"][2].replace(" /models ", f" {root}/models "))


def test_folders_are_made_once_and_belong_to_the_user(tmp_path: Path) -> None:
    """Before every start: the data folder for its user alone, with the other volume as its models; what is there stays."""
    script, data = folders(tmp_path), tmp_path / "volume" / "hubbub"
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
    data, models = tmp_path / "volume" / "hubbub", tmp_path / "models"
    assert run(folders(tmp_path), HUBBUB_DATA=str(data)) == 0
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
