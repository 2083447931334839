"""What stands beside the code says what the code does: settings.toml, .env.example, containers, CI."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, SecretStr

from hub.app import roles_of
from hub.email_settings import MailAccountSettings
from hub.settings import ApiSettings, Settings, load_settings
from hub.web_settings import WebSiteSettings
from tests.settings_tree import ROOT, bare_environment, environment_name, leaves

SETTINGS_TEXT = (ROOT / "settings.toml").read_text("utf-8")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare_environment(monkeypatch, tmp_path)


# -- settings ----------------------------------------------------------------------------------------------


def test_settings_file_holds_exactly_the_defaults() -> None:
    """Starting with settings.toml is the same as starting without it."""
    assert load_settings(ROOT / "settings.toml") == Settings()


def test_settings_file_names_every_setting() -> None:
    """Each setting stands in its table, a secret as the environment variable that sets it."""
    written = dict(leaves(tomllib.loads(SETTINGS_TEXT)))

    for path, default in leaves(Settings()):
        if isinstance(default, SecretStr):
            assert f"#   environment: {environment_name(*path)}\n" in SETTINGS_TEXT, path
        elif path not in (("email", "accounts"), ("web", "sites")):
            assert path in written, path


def test_settings_file_holds_no_secret() -> None:
    """A file that is under version control is no place for tokens and passwords."""
    for path, default in leaves(Settings()):
        if isinstance(default, SecretStr):
            assert not re.search(rf"^{path[-1]}\s*=", SETTINGS_TEXT, re.MULTILINE), path


@pytest.mark.parametrize(
    ("table", "rows", "model"),
    [("email", "accounts", MailAccountSettings), ("web", "sites", WebSiteSettings)],
)
def test_commented_tables_are_complete_and_valid(table: str, rows: str, model: type[BaseModel]) -> None:
    """Taking the # away gives a mailbox or a site with every field, optional ones with their defaults."""
    block = SETTINGS_TEXT[SETTINGS_TEXT.index(f"# [[{table}.{rows}]]") :].partition("\n\n")[0]
    lines = [line.removeprefix("# ") for line in block.splitlines()]
    (row,) = tomllib.loads("\n".join(lines))[table][rows]

    checked = model.model_validate(row)

    assert set(row) == set(model.model_fields)
    for name, field in model.model_fields.items():
        assert field.is_required() or getattr(checked, name) == field.default, name


def test_example_environment_sets_what_exists(tmp_path: Path) -> None:
    """Every line of .env.example works once its # is taken away."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    uncommented = [line.removeprefix("#") for line in lines if re.match(r"#?[A-Z_]+=", line)]
    (tmp_path / ".env").write_text("\n".join(uncommented))

    settings = load_settings(ROOT / "settings.toml")

    assert len(uncommented) > 4
    assert settings.email.accounts[0].smtp_host == "smtp.example.org"
    assert settings.telegram.token.get_secret_value().startswith("123456789:")
    assert settings.api.public_url == "https://hub.example.org"


def test_example_environment_is_off_as_it_stands(tmp_path: Path) -> None:
    """Copying .env.example changes nothing."""
    (tmp_path / ".env").write_bytes((ROOT / ".env.example").read_bytes())

    assert load_settings() == Settings()


# -- containers and CI -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Give the services of docker-compose.yml."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    return found


def test_compose_file_has_redis_hub_and_engine(services: dict[str, Any]) -> None:
    """Together the services run every role, each exactly once."""
    roles = [role for service in ("hub", "engine") for role in services[service]["command"][2:]]

    assert set(services) == {"redis", "hub", "engine"}
    assert sorted(roles) == sorted(roles_of(Settings()))


def test_compose_services_come_back_and_tell_how_they_are(services: dict[str, Any]) -> None:
    """Each service has a health check, is started again, and runs with a read-only root and no new rights."""
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert service["read_only"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


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
            monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))

    settings = load_settings()

    assert settings.bus.redis_url.get_secret_value() == "redis://redis:6379/0"
    assert settings.api == ApiSettings(host="0.0.0.0")
    assert settings.model_copy(update={"bus": Settings().bus, "api": Settings().api}) == Settings()


def test_compose_hands_every_secret_on(services: dict[str, Any]) -> None:
    """What belongs into `.env` reaches the container that needs it."""
    secrets = {environment_name(*path) for path, value in leaves(Settings()) if isinstance(value, SecretStr)}

    assert secrets <= set(services["hub"]["environment"])


def test_image_runs_as_somebody_without_rights() -> None:
    """The image has a user of its own, keeps its data in a volume and knows how it is."""
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()

    assert "USER hubbub" in lines
    assert "VOLUME /data" in lines
    assert 'CMD ["hubbub", "up"]' in lines
    assert any("/health" in line for line in lines)


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
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    steps = [step.get("run", "") for step in workflow["jobs"]["check"]["steps"]]

    assert "bash .ci/run" in steps
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_changelog_tells_about_this_version() -> None:
    """The version that is built has an entry."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"image: hubbub:{version}" in (ROOT / "docker-compose.yml").read_text("utf-8")


# -- the tree ----------------------------------------------------------------------------------------------

FOREIGN = re.compile(rb"/root/|/home/[a-z]+/|\"resolved\": *\"https?://|index-url")


def test_no_file_names_a_machine_or_a_registry() -> None:
    """What is under version control works everywhere: no path of one machine, no address of a package mirror."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name for name in os.fsdecode(listed).split("\0") if name]

    found = [
        str(file) for file in files if file.is_file() and file != HERE and FOREIGN.search(file.read_bytes())
    ]

    assert found == []


HERE = Path(__file__).resolve()


def test_secrets_and_data_are_ignored_by_git() -> None:
    """Nobody commits a token or a conversation by accident."""
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()

    assert {".env", "/data/", ".venv/"} <= set(ignored)
