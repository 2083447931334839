"""How the tests of provisioning fetch."""

import random
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from hub.model_settings import ProvisionSettings
from hub.provision.names import parse_source
from hub.provision.pull import Progress, Pulled, pull
from hub.provision.repository import Patience
from hub.settings import Settings
from tests.emulators.model_hub import REPO, ModelHub

AT_ONCE = Patience(attempts=4, first_pause_s=0.001)


def content(size: int = 300_000, seed: int = 0) -> bytes:
    """Return bytes that are no others."""
    return random.Random(seed).randbytes(size)


def settings_for(hub: ModelHub, data: Path, *, token: str = "", **provision: Any) -> Settings:
    """Let models come from this hub."""
    table = ProvisionSettings(endpoint=hub.endpoint, token=SecretStr(token), **provision)
    return Settings(_env_file=None, data=data, provision=table)


async def fetch(
    settings: Settings, source: str = REPO, *, name: str = "", steps: list[Progress] | None = None
) -> Pulled:
    """Fetch without waiting long for a hub that fails."""
    report = (lambda step: None) if steps is None else steps.append
    return await pull(settings, parse_source(source), report, name=name, patience=AT_ONCE)


def bytes_of(pulled: Pulled) -> bytes:
    """Return the file of a model that was fetched."""
    return Path(pulled.location).read_bytes()


def files_in(folder: Path) -> dict[str, int]:
    """Return the sizes of all files, locks aside."""
    found = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {
        str(path.relative_to(folder)): path.lstat().st_size
        for path in found
        if path.suffix != ".lock" and path.name != "models.json"
    }
