"""Entries of another `models.json`: they join that of the data folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from hub.errors import HubError, ProvisionError
from hub.export.importing import Imported
from hub.model_registry import MAX_FILE_BYTES, wrong_name
from hub.model_settings import with_types
from hub.provision.models_file import join, path_for
from hub.settings import Settings

_ENTRIES: TypeAdapter[dict[str, dict[str, Any]]] = TypeAdapter(dict[str, dict[str, Any]])


def take_models(settings: Settings, file: Path) -> Imported:
    """Take the entries that are not there yet.

    Raises: HubError: the file is no models.json. OSError: it cannot be read.
    """
    if file.stat().st_size > MAX_FILE_BYTES:
        raise HubError(f"{file} is larger than {MAX_FILE_BYTES} bytes")
    try:
        entries = _ENTRIES.validate_python(orjson.loads(file.read_bytes())["models"])
    except (ValueError, KeyError, TypeError) as error:
        raise HubError(f'{file} is not of the form {{"models": {{"name": {{...}}}}}}') from error
    done = Imported()
    for name, entry in entries.items():
        if problem := wrong_name(name):
            done.refuse(problem)
            continue
        try:
            moved = _from_here(settings, file.parent, with_types({name: entry})[name])
            done.taken["models"] += join(settings, name, moved)
        except ProvisionError as error:
            done.refuse(f"model {name}: {error}")
    return done


def _from_here(settings: Settings, folder: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Let relative paths, which begin at the folder of the file they stand in, lead to the same files."""
    moved = dict(entry)
    if isinstance(path := entry.get("path"), str) and path:
        moved["path"] = path_for(settings, folder / Path(path).expanduser())
    if isinstance(adapters := entry.get("adapters"), list):
        moved["adapters"] = [
            _from_here(settings, folder, one) if isinstance(one, dict) else one for one in adapters
        ]
    return moved
