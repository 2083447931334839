"""What was fetched is compared with what was recorded."""

import hashlib
import shutil
from pathlib import Path

import pytest

from hub.errors import ProvisionError
from hub.model_registry import ModelRegistry
from hub.model_settings import GgufSettings, ModelSettings, RemoteSettings, SafetensorsSettings
from hub.provision.verify import Checked, verify
from hub.settings import Settings
from tests.emulators.model_hub import REPO, ModelHub
from tests.hub.provision.fetching import content, fetch, settings_for


def _states(settings: Settings, name: str = "") -> dict[str, str]:
    found: list[Checked] = list(verify(settings, ModelRegistry(settings).models, name))
    return {Path(one.path).name: one.state for one in found}


async def test_a_changed_and_a_missing_file_are_found(data: Path) -> None:
    """Each file of a folder is looked at."""
    files = {"model.safetensors": content(), "config.json": b"{}", "tokenizer.json": b"[]"}
    async with ModelHub(files) as hub:
        settings = settings_for(hub, data)
        pulled = await fetch(settings)

    assert _states(settings) == dict.fromkeys(files, "ok")
    (Path(pulled.location) / "model.safetensors").write_bytes(content(seed=1))
    (Path(pulled.location) / "config.json").unlink()
    assert _states(settings, pulled.name) == {
        "model.safetensors": "changed",
        "config.json": "missing",
        "tokenizer.json": "ok",
    }


async def test_only_the_files_of_a_model_are_looked_at(data: Path) -> None:
    """Another one of the same repository is another model; parts of one belong together."""
    parts = {f"big-Q8_0-0000{number}-of-00002.gguf": content(seed=number) for number in (1, 2)}
    async with ModelHub({"small-Q4_K_M.gguf": content(), **parts}) as hub:
        settings = settings_for(hub, data)
        await fetch(settings, f"{REPO}:Q4_K_M", name="small")
        await fetch(settings, f"{REPO}:Q8_0", name="big")

    assert _states(settings, "small") == {"small-Q4_K_M.gguf": "ok"}
    assert _states(settings, "big") == dict.fromkeys(parts, "ok")


async def test_a_data_folder_that_was_moved_is_the_same(data: Path, tmp_path: Path) -> None:
    """The registry and the record name no place outside of it."""
    async with ModelHub({"small-Q4_K_M.gguf": content()}) as hub:
        await fetch(settings_for(hub, data))
    shutil.move(data, tmp_path / "moved")

    assert _states(Settings(_env_file=None, data=tmp_path / "moved")) == {"small-Q4_K_M.gguf": "ok"}


def test_the_sum_in_the_settings_is_compared_where_nothing_was_fetched(data: Path, tmp_path: Path) -> None:
    """For files and folders that somebody put there; without a sum nothing can be said."""
    file = tmp_path / "own.gguf"
    file.write_bytes(b"weights")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_bytes(b"{}")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    models: dict[str, ModelSettings] = {
        "right": GgufSettings(path=str(file), sha256=sha256.upper()),
        "wrong": GgufSettings(path=str(file), sha256="0" * 64),
        "silent": GgufSettings(path=str(file)),
        "gone": GgufSettings(path=str(tmp_path / "gone.gguf")),
        "folder": SafetensorsSettings(type="safetensors", path=str(folder), sha256=sha256),
        "bundled": GgufSettings(),
    }

    found = {one.model: one.state for one in verify(Settings(_env_file=None, data=data), models)}

    assert found == {
        "right": "ok",
        "wrong": "changed",
        "silent": "unknown",
        "gone": "missing",
        "folder": "ok",
    }


def test_a_model_without_files_is_told(data: Path) -> None:
    """And so is one that is not there at all."""
    settings = Settings(_env_file=None, data=data)
    models = {"far": RemoteSettings(type="remote", base_urls=("http://h/v1",), model="m")}

    with pytest.raises(ProvisionError, match="far has no file of its own"):
        list(verify(settings, models, "far"))
    with pytest.raises(ProvisionError, match="no model 'near'; there are: far"):
        list(verify(settings, models, "near"))
