"""The settings in force by HTTP, and what is hidden of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from hub.admin.settings_shown import shown_settings
from hub.settings import Settings, load_settings
from tests.hub.api.admin.operating import Operator
from tests.settings_tree import ROOT, bare_environment, fields, leaves

PLANTED = "planted-Secret-0123456789-abcdef"

TABLES = """
database_url = "postgresql://hub:{planted}@db.example/hub"
[bus]
redis_url = "rediss://:{planted}@redis.example:6380/0"
[telegram]
token = "123456:{planted}"
webhook_secret = "{planted}"
api_base = "https://user:{planted}@bot.example"
[email]
password = "{planted}"
[[email.accounts]]
address = "help@example.org"
password = "{planted}"
imap_host = "imap.example.org"
smtp_host = "smtp.example.org"
[[web.sites]]
key = "shop"
origins = ["https://shop.example.org"]
identity_secret = "{planted}"
[provision]
endpoint = "https://user:{planted}@models.example"
token = "{planted}"
[gaps]
retrieval_url = "https://user:{planted}@search.example/query"
[models.away]
type = "remote"
base_urls = ["https://user:{planted}@models.example/v1"]
model = "m"
api_key = "{planted}"
[connectors.shop]
type = "http"
secret = "{planted}"
callback_url = "https://shop.example/{planted}"
[connectors.other]
type = "theirs"
pin = 4711
nested = {{ header = "{planted}", words = ["{planted}"] }}
is_on = true
[traces]
endpoint = "https://user:{planted}@collector.example/v1/traces"
headers = "authorization=Bearer {planted}"
[vault]
token = "{planted}"
secret_id = "{planted}"
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a secret wherever one can stand."""
    bare_environment(monkeypatch, tmp_path)
    file = tmp_path / "settings.toml"
    file.write_text(TABLES.format(planted=PLANTED))
    return load_settings(file)


def secrets(value: Any, *path: str) -> list[tuple[str, ...]]:
    """Find every secret of a tree of settings."""
    if isinstance(value, SecretStr):
        return [path]
    if isinstance(value, BaseModel):
        pairs = [(name, getattr(value, name)) for name in fields(value)]
    elif isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = [(str(number), inner) for number, inner in enumerate(value)]
    else:
        return []
    return [found for name, inner in pairs for found in secrets(inner, *path, str(name))]


def at(tree: Any, path: tuple[str, ...]) -> Any:
    """Follow a path into JSON."""
    for name in path:
        tree = tree[int(name)] if isinstance(tree, list) else tree[name]
    return tree


def test_no_secret_is_shown(settings: Settings) -> None:
    """Each one that the tree can hold was planted; set ones are masked, in addresses, too."""
    shown = shown_settings(settings)

    planted = secrets(settings)
    assert PLANTED not in json.dumps(shown)
    assert "4711" not in json.dumps(shown)
    assert len(planted) >= 9
    for path in planted:
        is_set = bool(at_value(settings, path).get_secret_value())
        assert at(shown, path) == ("***" if is_set else ""), path
    unset = [path for path in planted if not at_value(settings, path).get_secret_value()]
    known = {"_".join(path) for path in unset}
    assert not known - UNPLANTED, "plant the new secret in TABLES"
    assert shown["connectors"]["other"]["is_on"] is True
    assert shown["connectors"]["shop"]["type"] == "http"


UNPLANTED: set[str] = set()
"""Secrets that TABLES cannot hold."""


def at_value(settings: Any, path: tuple[str, ...]) -> SecretStr:
    """Follow a path into settings."""
    for name in path:
        if isinstance(settings, dict):
            settings = settings[name]
        elif isinstance(settings, list | tuple):
            settings = settings[int(name)]
        else:
            settings = getattr(settings, name)
    assert isinstance(settings, SecretStr)
    return settings


def test_everything_else_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting that settings.toml has, as it is in force."""
    bare_environment(monkeypatch, tmp_path)
    settings = load_settings(ROOT / "settings.toml")

    shown = shown_settings(settings)

    for path, value in leaves(settings):
        if not isinstance(value, SecretStr):
            assert at(shown, path) == to_jsonable_python(value), path


async def test_the_settings_are_for_admins(bare_operator: Operator) -> None:
    """As they are in force in this process."""
    status, answer = await bare_operator.call("GET", "/settings")

    assert status == 200
    assert answer["settings"]["bus"]["redis_url"] == "***"
    assert answer["settings"]["keys"]["tiers"]["free"]["limit"] == 10
