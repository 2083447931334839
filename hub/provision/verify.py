"""Computes the sums of what was fetched again, and compares them with what was recorded."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hub.errors import ProvisionError
from hub.model_settings import GgufSettings, ModelSettings, OnnxSettings, SafetensorsSettings
from hub.provision.download import sha256_of
from hub.provision.ledger import ledger_above
from hub.provision.names import MODELS_FOLDER
from hub.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What became of one file of a model."""

    model: str
    path: str
    state: Literal["ok", "changed", "missing", "unknown"]
    """`unknown`: nobody recorded a sum of it."""
    sha256: str = ""
    """As it is now."""


def verify(settings: Settings, models: Mapping[str, ModelSettings], name: str = "") -> Iterator[Checked]:
    """Check the files of all models with files of their own, or of one.

    Raises: ProvisionError: there is no such model, or it has no files on this machine.
    """
    chosen = {name: models[name]} if name in models else {} if name else dict(models)
    if name and not chosen:
        raise ProvisionError(f"there is no model {name!r}; there are: {', '.join(sorted(models))}")
    local = {one: (path, model) for one, model in chosen.items() if (path := path_of(model)) is not None}
    if name and not local:
        raise ProvisionError(f"{name} has no file of its own on this machine")
    for one, (path, model) in local.items():
        yield from _check(settings, one, path, getattr(model, "sha256", ""))


def path_of(model: ModelSettings) -> Path | None:
    """Return a model's own file or folder; None where it has none on this machine."""
    if not isinstance(model, GgufSettings | SafetensorsSettings | OnnxSettings) or not model.path:
        return None
    return Path(model.path)


def _check(settings: Settings, name: str, path: Path, sha256: str) -> Iterator[Checked]:
    recorded = dict(_recorded(settings, path)) or ({path: sha256} if sha256 else {})
    if path.is_dir() and path in recorded:
        # The setting has the sum of a folder's largest file.
        largest = max((one for one in path.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
        recorded = {largest: sha256}
    if not recorded:
        yield Checked(model=name, path=os.fspath(path), state="unknown" if path.exists() else "missing")
    for file, expected in sorted(recorded.items()):
        if not file.is_file():
            yield Checked(model=name, path=os.fspath(file), state="missing")
            continue
        found = sha256_of(file)
        state: Literal["ok", "changed"] = "ok" if found == expected.lower() else "changed"
        yield Checked(model=name, path=os.fspath(file), state=state, sha256=found)


def _recorded(settings: Settings, path: Path) -> Iterator[tuple[Path, str]]:
    folder, ledger = ledger_above(path.resolve(), (settings.data / MODELS_FOLDER).resolve())
    for name, fetched in ledger.files.items():
        file = folder / name
        # Of a file in parts the registry names the first only.
        begin = path.resolve().name.partition("-00001-of-")[0]
        is_part = file.parent == path.resolve().parent and "-of-" in path.name and file.name.startswith(begin)
        if file == path.resolve() or is_part or (path.is_dir() and file.parent == path.resolve()):
            yield file, fetched.sha256
