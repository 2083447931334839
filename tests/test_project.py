"""What stands beside the code says what the code does: settings.toml, .env.example, Compose file, documents."""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from hub.settings import MailAccountSettings, Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_TEXT = (ROOT / "settings.toml").read_text("utf-8")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("HUBBUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def leaves(value: BaseModel | dict[str, Any], *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every setting that is no table, with its path."""
    items = (
        value.items() if isinstance(value, dict) else ((name, getattr(value, name)) for name in fields(value))
    )
    for name, inner in items:
        if isinstance(inner, BaseModel | dict):
            yield from leaves(inner, *path, name)
        else:
            yield (*path, name), inner


def fields(model: BaseModel) -> list[str]:
    """Give the names of a model's fields."""
    return list(type(model).model_fields)


def environment_name(*path: str) -> str:
    """Give the environment variable of a setting."""
    return "HUBBUB_" + "__".join(path).upper()


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
        elif path != ("email", "accounts"):
            assert path in written, path


def test_settings_file_holds_no_secret() -> None:
    """A file that is under version control is no place for tokens and passwords."""
    for path, default in leaves(Settings()):
        if isinstance(default, SecretStr):
            assert not re.search(rf"^{path[-1]}\s*=", SETTINGS_TEXT, re.MULTILINE), path


def test_commented_mailbox_is_complete_and_valid() -> None:
    """Taking the # away gives a mailbox with every field, optional ones with their defaults."""
    lines = [
        line.removeprefix("# ") for line in SETTINGS_TEXT.splitlines() if re.match(r"# (\[\[|\w+ = )", line)
    ]
    (account,) = tomllib.loads("\n".join(lines))["email"]["accounts"]

    checked = MailAccountSettings.model_validate(account)

    assert set(account) == set(MailAccountSettings.model_fields)
    for name, field in MailAccountSettings.model_fields.items():
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
