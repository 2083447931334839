"""Containers and CI: what they run, with which rights, and that nothing is forgotten."""

import os
import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.app import roles_of
from hub.secret_sources.names import kind_of
from hub.settings import ApiSettings, Settings, load_settings
from tests.settings_tree import ROOT, bare_environment, environment_name, leaves

PROFILES = {
    "tls": {"nginx"},
    "postgres": {"postgres"},
    "ollama": {"ollama"},
    "ray": {"ray"},
    "monitoring": {"prometheus", "grafana"},
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare_environment(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Give the services of docker-compose.yml."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    return found


def test_compose_runs_redis_hub_and_engine_and_the_rest_by_profile(services: dict[str, Any]) -> None:
    """Without a profile the services run every role, each exactly once."""
    roles = [role for service in ("hub", "engine") for role in services[service]["command"][2:]]
    by_profile = {
        profile: {name for name, service in services.items() if service.get("profiles") == [profile]}
        for profile in PROFILES
    }

    assert {name for name, service in services.items() if "profiles" not in service} == {
        "redis",
        "hub",
        "engine",
    }
    assert sorted(roles) == sorted(roles_of(Settings()))
    assert by_profile == PROFILES


def test_compose_services_are_hardened(services: dict[str, Any]) -> None:
    """Each comes back and tells how it is, runs with a read-only root, without rights or new ones, and within limits."""
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert not service.get("privileged"), name
        assert re.search(r":\D*\d", service["image"]), f"{name}: which version?"


def test_compose_opens_only_what_people_use(services: dict[str, Any]) -> None:
    """The page and Grafana are for this machine until somebody says otherwise; the world gets TLS."""
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}

    assert ports == {
        "hub": ["${HUBBUB_API__HOST:-127.0.0.1}:${HUBBUB_API__PORT:-8080}:8080"],
        "nginx": ["80:8081", "443:8443"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_compose_mounts_files_that_are_there(services: dict[str, Any]) -> None:
    """What a service reads from the project is part of it."""
    sources = {
        volume.split(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    }

    assert "./deploy/prometheus" in sources
    for source in sources:
        assert (ROOT / source).exists(), source


def test_compose_redis_loses_nothing(services: dict[str, Any]) -> None:
    """Redis writes every accepted message to disk and drops none when memory is full."""
    words = " ".join(services["redis"]["command"])

    assert "--appendonly yes --appendfsync always --maxmemory-policy noeviction" in words
    assert "ports" not in services["redis"]


def test_compose_environment_sets_what_exists(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable is a setting, and one that is not filled in changes nothing."""
    for service in ("hub", "engine"):
        for name, value in services[service]["environment"].items():
            monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value))

    settings = load_settings()

    assert settings.bus.redis_url.get_secret_value() == "redis://redis:6379/0"
    nginx = services["nginx"]["networks"]["bus"]["ipv4_address"].replace(
        "${BUS_PREFIX:-172.30.77}", "172.30.77"
    )
    assert settings.api == ApiSettings(
        host="0.0.0.0",
        trusted_proxies=(ip_network(nginx),),
        metrics_networks=(*ApiSettings().metrics_networks, ip_network("172.30.77.0/24")),
    )
    assert settings.model_copy(update={"bus": Settings().bus, "api": Settings().api}) == Settings()


def test_compose_hands_every_secret_on(services: dict[str, Any]) -> None:
    """What belongs into `.env` reaches the container that needs it."""
    secrets = {environment_name(*path) for path, _ in leaves(Settings()) if kind_of(path, Settings)}

    assert {"HUBBUB_TELEGRAM__TOKEN", "HUBBUB_EMAIL__ACCOUNTS", "HUBBUB_WEB__SITES"} <= secrets
    assert secrets <= set(services["hub"]["environment"])


def test_image_runs_as_somebody_without_rights() -> None:
    """The image has a user of its own, keeps its data in a volume and knows how it is."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()

    assert "USER 10001" in lines
    assert "VOLUME /data" in lines
    assert 'CMD ["hubbub", "up"]' in lines
    assert any("/health" in line for line in lines)


def test_image_is_built_as_the_field_does() -> None:
    """Hadolint has no complaint, but for those that .hadolint.yaml explains."""
    program = Path(sys.executable).with_name("hadolint")
    command = [str(program), "--config", str(ROOT / ".hadolint.yaml"), str(ROOT / "Dockerfile")]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


def test_image_gets_everything_that_is_installed() -> None:
    """No package is forgotten in the image, and nothing that is not copied is let through to the builder."""
    copied = set(re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    let_through = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line[:1] == "!"
    }

    assert {"hub", "connectors", "engine", "knowledge", "docs", "settings.toml"} <= names
    assert names == let_through


def test_workflow_is_yaml_that_runs_the_same_script() -> None:
    """GitHub runs what everybody can run: .ci/run."""
    steps = [step.get("run", "") for step in _jobs("ci.yml")["check"]["steps"]]

    assert "bash .ci/run" in steps
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_workflows_let_no_known_hole_through() -> None:
    """Packages and image are looked over, and what is high or worse stops them; nothing is published without that."""
    jobs = _jobs("ci.yml")
    scans = [step["with"] for step in jobs["image"]["steps"] if "trivy-action" in step.get("uses", "")]
    audits = [step["run"] for step in jobs["audit"]["steps"] if "pip-audit" in step.get("run", "")]

    assert [scan["severity"] for scan in scans] == ["HIGH,CRITICAL"] * 2
    assert [scan["exit-code"] for scan in scans] == ["1"] * 2
    assert "--requirement constraints.txt" in audits[0]
    release = _jobs("release.yml")
    assert release["check"]["uses"] == "./.github/workflows/ci.yml"
    assert release["publish"]["needs"] == "check"


def test_workflows_may_do_no_more_than_they_need() -> None:
    """Only the job that publishes may write, and every action has a version."""
    for file in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        workflow = yaml.safe_load(file.read_text("utf-8"))
        assert workflow["permissions"] == {"contents": "read"}, file.name
        for name, job in workflow["jobs"].items():
            assert name == "publish" or "permissions" not in job, name
            for step in job.get("steps", []):
                assert re.fullmatch(r"[\w-]+/[\w-]+@v\d[\d.]*", step.get("uses", "a/b@v1")), step


def _jobs(file: str) -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / file).read_text("utf-8"))
    jobs: dict[str, Any] = workflow["jobs"]
    return jobs
