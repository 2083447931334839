"""Manifests for Kubernetes hold what the rules of tests/kubernetes_rules.py ask for, and the guide tells the truth about them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hub.app import roles_of
from hub.secret_sources.names import kind_of, path_of
from hub.settings import Settings, load_settings
from tests import kubernetes_rules as rules
from tests.kubernetes_rendering import FOLDER, kustomize, named, rendered
from tests.kubernetes_selection import Manifest, may_connect, of_kind, title, ways_out
from tests.settings_tree import ROOT, bare_environment

GUIDE = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
OVERLAYS = ("base", "overlays/postgresql", "overlays/canary", "overlays/autoscaling")
EVERY_OVERLAY = pytest.mark.parametrize("overlay", OVERLAYS)
HUB, CHANNELS, ENGINE, BACKUP = (
    {"app.kubernetes.io/name": "hubbub", "app.kubernetes.io/component": component}
    for component in ("hub", "channels", "engine", "backup")
)
REDIS = {"app.kubernetes.io/name": "redis", "app.kubernetes.io/component": "redis"}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare_environment(monkeypatch, tmp_path)


@EVERY_OVERLAY
def test_manifests_keep_the_rules(overlay: str) -> None:
    """Valid, without rights, within limits, and of names that exist."""
    assert rules.complaints(rendered(overlay)) == []


@EVERY_OVERLAY
def test_every_role_runs(overlay: str) -> None:
    """Each exactly once, canaries aside."""
    deployments = of_kind(rendered(overlay), "Deployment")
    stable = [one["spec"] for one in deployments if one["metadata"]["labels"]["track"] == "stable"]
    roles = [role for one in stable for role in one["template"]["spec"]["containers"][0]["command"][2:]]

    assert sorted(roles) == sorted(roles_of(Settings()))


def test_channels_are_one() -> None:
    """A second watcher of a mailbox would fetch every mail twice; the first ends before the next begins."""
    for overlay in OVERLAYS:
        spec = named(rendered(overlay), "Deployment channels")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_redis_loses_nothing() -> None:
    """It is told the same as the one of Compose, and as arguments: the image's entry point adds the Query Engine."""
    (container,) = named(rendered("base"), "StatefulSet redis")["spec"]["template"]["spec"]["containers"]
    words = container["args"]

    assert words[: len(rules.COMPOSE["redis"]["command"])] == rules.COMPOSE["redis"]["command"]
    assert words[words.index("--requirepass") + 1] == "$(REDISCLI_AUTH)"
    assert "command" not in container


def test_work_in_flight_may_end() -> None:
    """A Pod has longer than the setting says."""
    for overlay in OVERLAYS:
        for one in of_kind(rendered(overlay), "Deployment"):
            grace_s = one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace_s > 2 * Settings().drain_timeout_s, title(one)


def test_a_canary_differs_by_its_version_alone() -> None:
    """One Pod with another image, beside the others and behind the same Service, whatever the others are scaled to."""
    overlay = yaml.safe_load((FOLDER / "overlays/canary/kustomization.yaml").read_text("utf-8"))
    manifests = rendered("overlays/canary")

    assert [image["name"] for image in overlay["images"]] == ["hubbub", "hubbub-canary"]
    for name in ("hub", "engine"):
        stable = named(manifests, f"Deployment {name}")["spec"]
        canary = named(manifests, f"Deployment {name}-canary")["spec"]
        labels = stable["template"]["metadata"]["labels"]
        labels["track"] = "canary"
        stable["template"]["spec"].pop("topologySpreadConstraints", None)
        assert (stable["replicas"], canary["replicas"]) == (2, 1)
        assert canary["selector"]["matchLabels"].items() <= labels.items()
        assert canary["template"] == stable["template"]


# -- settings and secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("overlay", "index"), [("base", "faiss"), ("overlays/postgresql", "redis")])
def test_a_process_starts_with_these_settings(
    overlay: str, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variables and files that a Pod has, the Secret filled in, and the image's own variables below them."""
    manifests = rendered(overlay)
    for name, value in re.findall(r"(HUBBUB_\w+)=(\S+)", (ROOT / "Dockerfile").read_text("utf-8")):
        monkeypatch.setenv(name, value)
    for name, value in named(manifests, "ConfigMap environment")["data"].items():
        monkeypatch.setenv(name, value.replace("/etc/hubbub", str(tmp_path)))
    for mount in ("settings", "secrets"):
        (tmp_path / mount).mkdir()
    (tmp_path / "settings/settings.toml").write_text(
        named(manifests, "ConfigMap settings")["data"]["settings.toml"]
    )
    url = "redis://:secret@redis:6379/0"
    (tmp_path / "secrets/HUBBUB_BUS__REDIS_URL").write_text(url)

    settings = load_settings()

    assert settings.bus.redis_url.get_secret_value() == url
    assert (settings.data, settings.alive_file) == (Path("/data/hubbub"), "/tmp/alive")
    assert (settings.api.host, settings.api.port, settings.log.format) == ("0.0.0.0", 8080, "json")
    assert (settings.knowledge.index, len(settings.api.metrics_networks)) == (index, 3)


def test_the_example_names_secrets_and_holds_none() -> None:
    """Also in the lines that are commented out; the Secrets are those that Pods ask for."""
    text = (FOLDER / "secrets.example.yaml").read_text("utf-8")
    given = {secret["metadata"]["name"]: secret["stringData"] for secret in rules.example_secrets()}
    keys = re.findall(r"^  (?:# )?(HUBBUB_\w+): (.*)$", text, re.MULTILINE)

    assert {name: set(values) for name, values in given.items()} == {
        "redis": {"password"},
        "hubbub": {"HUBBUB_BUS__REDIS_URL"},
    }
    assert {value for values in given.values() for value in values.values()} == {""}
    assert all(kind_of(path_of(name), Settings) and value == '""' for name, value in keys)
    assert len(keys) > 3


# -- who may connect ----------------------------------------------------------------------------------------


@EVERY_OVERLAY
def test_only_what_is_needed_is_connected(overlay: str) -> None:
    """Within the namespace everybody of Hubbub reaches Redis, and nobody anything else."""
    manifests = rendered(overlay)
    places = {
        "hub": (HUB, 8080),
        "channels": (CHANNELS, 8080),
        "engine": (ENGINE, 8080),
        "redis": (REDIS, 6379),
    }
    sources = {
        "hub": HUB,
        "channels": CHANNELS,
        "engine": ENGINE,
        "backup": BACKUP,
        "redis": REDIS,
        "other": {},
    }

    ways = {
        (source, target)
        for source, own in sources.items()
        for target, (other, port) in places.items()
        if may_connect(manifests, own, other, port)
    }

    assert ways == {(source, "redis") for source in ("hub", "channels", "engine", "backup")}
    assert not may_connect(manifests, HUB, REDIS, 22)


def test_the_engine_has_no_way_out() -> None:
    """It reaches names, Redis and the database; hub and channels reach the public internet, and no network of the cluster."""
    manifests = rendered("overlays/postgresql")
    outside = named(manifests, "NetworkPolicy outside")["spec"]["egress"][0]["to"]

    assert ways_out(manifests, ENGINE) == {"names", "to-redis", "to-postgresql"}
    assert ways_out(manifests, HUB) == ways_out(manifests, ENGINE) | {"outside"}
    assert ways_out(manifests, REDIS) == set()
    assert all(one["ipBlock"]["except"] for one in outside)
    assert "10.0.0.0/8" in outside[0]["ipBlock"]["except"]


# -- the guide ----------------------------------------------------------------------------------------------


def blocks(language: str, text: str = GUIDE) -> list[str]:
    """Give the blocks of a language in the guide."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def with_overlay(folder: Path, text: str, **files: str) -> list[Manifest]:
    """Put an overlay of somebody's own together, in a copy of the folder."""
    shutil.copytree(FOLDER, folder)
    own = folder / "overlays" / "own"
    own.mkdir()
    for name, content in {"kustomization.yaml": text, **files}.items():
        (own / name).write_text(content)
    return kustomize(own)


def test_the_overlay_of_the_guide_keeps_the_rules(tmp_path: Path) -> None:
    """With its Ingress, settings and images; people's requests and Telegram's go where somebody answers them."""
    kustomization = next(block for block in blocks("yaml") if block.startswith("apiVersion: kustomize"))
    ingress = next(block for block in blocks("yaml") if "kind: Ingress" in block)
    (settings,) = blocks("toml")
    files = {"ingress.yaml": ingress, "settings.toml": settings}

    manifests = with_overlay(tmp_path / "kubernetes", kustomization, **files)

    assert rules.complaints(manifests) == []
    paths = named(manifests, "Ingress hub")["spec"]["rules"][0]["http"]["paths"]
    services = {title(one): one for one in of_kind(manifests, "Service")}
    for path in paths:
        to = path["backend"]["service"]
        assert to["port"]["name"] in {
            port["name"] for port in services[f"Service {to['name']}"]["spec"]["ports"]
        }
    assert named(manifests, "ConfigMap settings")["data"]["settings.toml"] == settings
    assert {one["spec"]["storageClassName"] for one in of_kind(manifests, "PersistentVolumeClaim")} == {
        "fast"
    }
    assert {one["image"] for _, one in rules.every_container(manifests)} == {
        f"registry.example.org/hubbub:{rules.VERSION}",
        "redis:8",
    }


def test_an_engine_of_another_version_runs_on_sqlite_and_a_second_hub_does_not(tmp_path: Path) -> None:
    """As the guide says of the canaries."""
    both = "{kind: Kustomization, resources: [../../base], components: [../../components/canary-engine, ../../components/canary-hub]}"
    engine = both.replace(", ../../components/canary-hub", "")

    alone = rules.complaints(with_overlay(tmp_path / "one", engine))
    together = rules.complaints(with_overlay(tmp_path / "two", both))

    # The version is the operator's to say.
    assert {re.sub(r"^\S+ \S+: ", "", said) for said in alone} == {"there is no image hubbub-canary:0.1.0"}
    assert "2 hubs on SQLite" in together


def test_the_guide_changes_versions_and_scale(tmp_path: Path) -> None:
    """The blocks that are added to an overlay do what the sentences beside them say."""
    base = "{kind: Kustomization, resources: [../../base]}\n"
    canary, scaling = (
        yaml.safe_load(block) for block in blocks("yaml") if not block.startswith(("apiVersion", "---"))
    )
    whole = {**yaml.safe_load(base), **canary, "patches": scaling["patches"]}
    whole["components"] = [*canary["components"], "../../components/autoscaling"]

    manifests = with_overlay(tmp_path / "kubernetes", yaml.safe_dump(whole))

    images = {
        one["image"] for name, one in rules.every_container(manifests) if name.startswith("Deployment engine")
    }
    assert images == {"registry.example.org/hubbub:0.1.0", "registry.example.org/hubbub:0.2.0"}
    scaled = named(manifests, "ScaledObject engine")["spec"]
    assert scaled["maxReplicaCount"] == 12
    assert scaled["triggers"][0]["metadata"]["serverAddress"].startswith("http://prometheus-operated")
    assert "replicas" not in named(manifests, "Deployment engine")["spec"]
    assert named(manifests, "Deployment engine-canary")["spec"]["replicas"] == 1


def test_what_is_measured_of_canaries_is_told(tmp_path: Path) -> None:
    """Prometheus reads its queries and the job, and the hub tells what they ask for."""
    queries = blocks("promql")
    written = [{"record": f"guide:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "guide", "rules": written}]}))

    wrong = [said for query in queries for said in rules.wrong_query(query)]

    assert len(queries) == 5
    assert wrong == []
    job = yaml.safe_load((FOLDER / "scrape.yml").read_text("utf-8"))
    # A promtool of Debian knows no Kubernetes.
    assert job["scrape_configs"][0].pop("kubernetes_sd_configs") == [
        {"role": "pod", "namespaces": {"names": ["hubbub"]}}
    ]
    (tmp_path / "scrape.yml").write_text(yaml.safe_dump(job))
    for words in (["rules", "rules.yml"], ["config", "scrape.yml"]):
        done = subprocess.run(["promtool", "check", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_guide_names_what_is_there() -> None:
    """Every folder of components and overlays, and no other path."""
    mentioned = set(
        re.findall(r"`(?:deploy/kubernetes/)?((?:base|components|overlays)(?:/[\w.-]+)?)`", GUIDE)
    )
    there = {
        str(folder.relative_to(FOLDER))
        for parent in ("components", "overlays")
        for folder in (FOLDER / parent).iterdir()
    }

    assert mentioned == there | {"base", "base/network.yaml"}
    for path in re.findall(r"deploy/kubernetes/[\w./-]+\w", GUIDE):
        assert "overlays/own" in path or (ROOT / path).exists(), path


def test_no_file_is_forgotten() -> None:
    """Whatever lies in the folder is named by a kustomization beside it, or by the guide."""
    for file in FOLDER.rglob("*"):
        if not file.is_file() or file.name == "kustomization.yaml":
            continue
        beside = file.with_name("kustomization.yaml")
        text = beside.read_text("utf-8") if beside.exists() else GUIDE
        assert file.name in text, file
