"""A `models.json` of another hub or an earlier system, taken by the command."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hub.cli.commands import app
from hub.errors import HubError
from hub.model_registry import ModelRegistry
from hub.model_settings import GgufSettings, RemoteSettings
from hub.settings import Settings
from tests.settings_tree import bare_environment

THERE: dict[str, Any] = {
    "type": "remote",
    "base_urls": ["http://127.0.0.1:1/v1"],
    "model": "there",
    "attempts": 7,
}
ENTRIES: dict[str, Any] = {
    "small": {"path": "files/small.gguf", "adapters": [{"path": "files/tone.gguf", "scale": 0.5}]},
    "away": {"type": "remote", "base_urls": ["http://127.0.0.1:2/v1"], "model": "large", "api_key": "secret"},
    "there": {**THERE, "attempts": 1},
    "other": {"type": "remote", "base_urls": ["http://127.0.0.1:3/v1"], "model": "another"},
    "general": {"path": "files/small.gguf"},
    "odd": {"path": "files/small.gguf", "colour": "red"},
}


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The models.json of an earlier system, in a folder of its own, beside a data folder that knows two models."""
    bare_environment(monkeypatch, tmp_path)
    (tmp_path / "data").mkdir()
    known = {"there": THERE, "other": {**THERE, "model": "somebody else"}}
    (tmp_path / "data" / "models.json").write_text(json.dumps({"models": known}))
    (tmp_path / "earlier").mkdir()
    file = tmp_path / "earlier" / "models.json"
    file.write_text(json.dumps({"models": ENTRIES}))
    return file


def _import(file: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["import", str(file), "--data", "data", "--json", *words])


def test_the_models_of_an_earlier_system_join_those_that_are_there(earlier: Path, tmp_path: Path) -> None:
    """Each by its name, with paths to the same files; what is there stays as it is, and bad entries are told."""
    first, second = _import(earlier), _import(earlier)

    answers = [json.loads(result.stdout.splitlines()[-1]) for result in (first, second)]
    assert [result.exit_code for result in (first, second)] == [0, 1]
    assert [(answer["taken"].get("models"), answer["refused"]) for answer in answers] == [(2, 3), (0, 3)]
    told = " ".join(answers[0]["problems"])
    assert all(
        word in told
        for word in ("another model other already", "'general' is no name", "models.odd is wrong")
    )
    registry = ModelRegistry(Settings(data=tmp_path / "data"))
    assert registry.problems == ()
    assert {"small", "away", "there", "other"} <= registry.models.keys()
    small, away, there = (registry.settings_of(name) for name in ("small", "away", "there"))
    assert isinstance(small, GgufSettings)
    assert small.path == str(tmp_path / "earlier" / "files" / "small.gguf")
    assert [(one.path, one.scale) for one in small.adapters] == [
        (str(tmp_path / "earlier" / "files" / "tone.gguf"), 0.5)
    ]
    assert isinstance(away, RemoteSettings)
    assert away.api_key.get_secret_value() == "secret"
    assert isinstance(there, RemoteSettings)
    assert there.attempts == 7


@pytest.mark.parametrize("content", ['{"models": [1]}', '{"models": {"a": "b"}}', "[]", "{"])
def test_what_is_no_file_of_models_is_refused(earlier: Path, tmp_path: Path, content: str) -> None:
    """And nothing of the registry is touched."""
    before = (tmp_path / "data" / "models.json").read_bytes()
    earlier.write_text(content)

    result = _import(earlier, "--kind", "models")

    assert isinstance(result.exception, HubError)
    assert "is not of the form" in str(result.exception)
    assert (tmp_path / "data" / "models.json").read_bytes() == before
