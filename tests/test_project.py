"""What stands beside the code says what the code does: settings.toml, .env.example, containers, CI."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from hub.email_settings import MailAccountSettings
from hub.settings import Settings, load_settings
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


# -- versions ---------------------------------------------------------------------------------------------


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
