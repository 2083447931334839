"""The registry: entries of settings.toml and models.json, by name and by role, whatever stands in the file."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from hub.errors import SettingsError, UnknownModel
from hub.model_registry import MAX_ENTRIES, MAX_FILE_BYTES, ModelRegistry, offered_models
from hub.model_settings import BUNDLED_MODEL, GgufSettings, RemoteSettings, RoleSettings
from hub.settings import EngineSettings, Settings

CORE_FORMAT = {
    "models": {
        "llama-3-8b": {
            "type": "gguf",
            "path": "weights/llama-3-8b.Q4_K_M.gguf",
            "context_length": 8192,
            "threads": 8,
            "quantization": "Q4_K_M",
            "max_memory": "8GB",
        },
        "phi": {"type": "onnx", "path": "/srv/phi"},
    }
}


def registry(data: Path, content: Any = None, **engine: Any) -> ModelRegistry:
    """Read the registry of a data folder whose models.json holds this."""
    if content is not None:
        write(data, content)
    return ModelRegistry(Settings(_env_file=None, data=data, engine=EngineSettings(**engine)))


def write(data: Path, content: Any) -> None:
    """Replace models.json as an editor or a download does."""
    new = data / "models.json.new"
    new.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    new.replace(data / "models.json")


def test_a_models_file_is_read_as_it_is(data: Path) -> None:
    """The core system's format, its paths relative to the file."""
    found = registry(data, CORE_FORMAT)

    assert set(found.models) == {BUNDLED_MODEL, "llama-3-8b", "phi"}
    assert found.problems == ()
    llama = found.settings_of("llama-3-8b")
    assert isinstance(llama, GgufSettings)
    assert llama.path == str(data.resolve() / "weights/llama-3-8b.Q4_K_M.gguf")
    assert (llama.context_length, llama.threads, llama.max_memory) == (8192, 8, "8GB")
    assert getattr(found.settings_of("phi"), "path", "") == "/srv/phi"


def test_a_models_file_can_lie_anywhere(data: Path, tmp_path: Path) -> None:
    """`engine.models_file` names another one."""
    other = tmp_path / "elsewhere.json"
    other.write_bytes(orjson.dumps(CORE_FORMAT))

    assert "phi" in registry(data, models_file=str(other)).models


def test_a_change_is_seen_at_the_next_look(data: Path) -> None:
    """A model that was just pulled is usable at once, and one that was removed is gone."""
    found = registry(data)
    with pytest.raises(UnknownModel):
        found.resolve("phi")

    write(data, CORE_FORMAT)
    assert found.resolve("phi") == "phi"

    (data / "models.json").unlink()
    with pytest.raises(UnknownModel):
        found.resolve("phi")


def test_an_entry_of_the_settings_wins(data: Path) -> None:
    """And the other one is named, so that nobody wonders."""
    found = registry(data, {"models": {BUNDLED_MODEL: {"path": "other.gguf"}}})

    assert found.settings_of(BUNDLED_MODEL) == GgufSettings()
    assert "is not used" in found.problems[0]


def test_a_broken_entry_leaves_the_others_usable(data: Path) -> None:
    """The warning says which entry and what about it."""
    entries = {
        "good": {"path": "good.gguf"},
        "typo": {"path": "a.gguf", "contxt_length": 1},
        "negative": {"path": "a.gguf", "context_length": -1},
        "unknown": {"type": "pickle", "path": "a.pkl"},
        "text": "a.gguf",
        "list": [],
        "nothing": None,
    }
    with capture_logs() as logs:
        found = registry(data, {"models": entries})

    assert set(found.models) == {BUNDLED_MODEL, "good"}
    problems = "\n".join(found.problems)
    assert "models.typo.contxt_length: there is no such setting" in problems
    assert "models.negative.context_length: Input should be greater" in problems
    assert all(f"models.{name}" in problems for name in ("unknown", "text", "list", "nothing"))
    assert {log["event"] for log in logs} == {"models_file_refused"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"models": []}',
        b'{"models": {"a": ',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"models": {"a": ' * 50_000,
        b" " * (MAX_FILE_BYTES + 1),
    ],
    ids=lambda content: repr(content[:16]),
)
def test_a_broken_file_is_a_warning_and_keeps_what_was_known(data: Path, content: bytes) -> None:
    """Neither half a file nor a hostile one takes the models of the settings or the ones read before away."""
    found = registry(data, CORE_FORMAT)

    write(data, content)

    assert found.refresh()
    assert set(found.models) == {BUNDLED_MODEL, "llama-3-8b", "phi"}
    assert len(found.problems) == 1
    assert not found.refresh()


def test_what_is_no_file_is_not_read(data: Path) -> None:
    """Reading a pipe would wait for ever."""
    os.mkfifo(data / "models.json")

    assert set(registry(data).models) == {BUNDLED_MODEL}


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "../x", "default", "general", "coding", "x" * 101, "a\n", "\u202e", "a\x00"]
)
def test_a_strange_name_is_refused(data: Path, name: str) -> None:
    """A name is a word that can stand in a command, a URL and a log line; roles' names are taken."""
    found = registry(data, {"models": {name: {"path": "a.gguf"}, "llama3.2:1b": {"path": "b.gguf"}}})

    assert set(found.models) == {BUNDLED_MODEL, "llama3.2:1b"}
    assert "is no name for a model" in found.problems[0]
    assert found.problems[0].isprintable()


def test_a_file_of_countless_entries_is_read_up_to_a_limit(data: Path) -> None:
    """The registry is shown as a whole; it has an end."""
    entries = {f"m{number}": {"path": "a.gguf"} for number in range(MAX_ENTRIES + 3)}

    found = registry(data, {"models": entries})

    assert len(found.models) == MAX_ENTRIES + 1
    assert len(found.problems) == 3


def test_roles_name_models(data: Path) -> None:
    """A role is a name for the model the settings choose, else for the one that answers."""
    found = registry(data, CORE_FORMAT, model="phi", roles=RoleSettings(coding="llama-3-8b"))

    assert [found.resolve(name) for name in ("", "default", "general", "coding", "phi")] == [
        "phi",
        "phi",
        "phi",
        "llama-3-8b",
        "phi",
    ]
    assert (found.roles_of("phi"), found.roles_of("llama-3-8b")) == (("general",), ("coding",))


def test_a_role_without_its_model_is_told(data: Path) -> None:
    """The error names the models there are."""
    found = registry(data, roles=RoleSettings(coding="gone"))

    with pytest.raises(UnknownModel, match="no model 'gone'; there are: smollm2-135m"):
        found.resolve("coding")


def test_the_model_that_answers_has_to_exist(data: Path) -> None:
    """What is wrong with models.json is told along: it may be why."""
    with pytest.raises(SettingsError, match=r"engine\.model is 'phi'.*\n.*is not valid JSON"):
        registry(data, b"{", model="phi")


def test_a_remote_entry_needs_no_path(data: Path) -> None:
    """And its key is kept like every secret."""
    entry = {"type": "remote", "base_urls": ["http://127.0.0.1:1/v1"], "model": "m", "api_key": "sesame"}

    settings = registry(data, {"models": {"far": entry}}).settings_of("far")

    assert isinstance(settings, RemoteSettings)
    assert "sesame" not in repr(settings)


def test_models_are_offered_by_name(data: Path) -> None:
    """Those of models.json as well, as soon as they stand there; none where the default is unknown."""
    names = offered_models(Settings(_env_file=None, data=data))
    assert names is not None
    before = list(names())
    write(data, {"models": {"added": {"type": "gguf"}}})

    assert before == [BUNDLED_MODEL]
    assert list(names()) == ["added", BUNDLED_MODEL]
    elsewhere = Settings(_env_file=None, data=data, engine=EngineSettings(model="elsewhere"))
    assert offered_models(elsewhere) is None
