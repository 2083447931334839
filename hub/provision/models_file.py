"""Writes entries of `models.json`, so that a running hub knows what was fetched at once."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from hub.errors import ProvisionError
from hub.model_settings import ModelSettings
from hub.provision.ledger import write_atomically
from hub.settings import Settings

LOCK_TIMEOUT_S = 30.0
_ENTRY: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)


def register(settings: Settings, name: str, entry: Mapping[str, Any]) -> None:
    """Put a model into models.json; what a person added to an entry of the same model stays.

    Raises: ProvisionError: another model has the name, or the file cannot be read or written.
    """
    file = settings.models_path
    check_free(settings, name, entry)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT_S):
            content = _read(file)
            models = content.setdefault("models", {})
            merged = {**models.get(name, {}), **entry}
            _ENTRY.validate_python(merged)
            models[name] = merged
            write_atomically(file, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    except Timeout:
        raise ProvisionError(
            f"{file} is held by another process for {LOCK_TIMEOUT_S:.0f} s already"
        ) from None
    except OSError as error:
        raise ProvisionError(f"{file} cannot be written: {error.strerror}") from error
    except ValidationError as error:
        raise ProvisionError(f"{file}: models.{name} is wrong: {error.errors()[0]['msg']}") from None


def join(settings: Settings, name: str, entry: Mapping[str, Any]) -> bool:
    """Put a model into models.json unless it is there; tells whether it was not.

    Raises: ProvisionError: as `register`.
    """
    check_free(settings, name, entry)
    if name in _read(settings.models_path).get("models", {}):
        return False
    register(settings, name, entry)
    return True


def check_free(settings: Settings, name: str, entry: Mapping[str, Any]) -> None:
    """Make sure that a name is free, or the same model's.

    Raises: ProvisionError: another model has it.
    """
    if name in settings.models:
        raise ProvisionError(f"the settings have a model {name} already; choose another name with --name")
    known = _read(settings.models_path).get("models", {}).get(name)
    if known is None:
        return
    if not isinstance(known, dict) or _what(known) != _what(entry):
        raise ProvisionError(
            f"{settings.models_path} has another model {name} already; choose another name with --name"
        )


def path_for(settings: Settings, path: Path) -> str:
    """Write a path as models.json has it: from its own folder on where that holds it, so that both can move."""
    folder = settings.models_path.parent.resolve()
    path = path.resolve()
    return os.fspath(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _what(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return entry.get("type", "gguf"), entry.get("path"), entry.get("model"), _tuple(entry.get("base_urls"))


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else ()


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content = orjson.loads(file.read_bytes())
    except OSError as error:
        raise ProvisionError(f"{file} cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise ProvisionError(f"{file} is not valid JSON, and is left as it is: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("models", {}), dict):
        raise ProvisionError(
            f'{file} is not of the form {{"models": {{"name": {{...}}}}}}, and is left as it is'
        )
    return content
