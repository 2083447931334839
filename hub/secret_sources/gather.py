"""Puts secrets from files and Vault into the values of settings.toml, and sees that each is given in one way only."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from hub.errors import SettingsError
from hub.secret_sources.files import Found, in_folders, referred
from hub.secret_sources.names import Path, kind_of, path_of, variable_of
from hub.vault_settings import VaultSettings


def with_secrets(
    values: Mapping[str, Any], variables: Mapping[str, str], settings: type[BaseModel]
) -> dict[str, Any]:
    """Return the values with the secrets in their places.

    Args:
        values: what settings.toml says.
        variables: of the environment, and below them those of `.env`.
        settings: the whole tree.

    Raises:
        SettingsError: a secret cannot be read, is given in two ways, or is none of the settings.
        VaultUnavailable: Vault cannot be asked now.
    """
    given = {path_of(name): f"the variable {name}" for name, value in variables.items() if value}
    filled = _copy(values)
    _put(filled, [*referred(variables, settings), *in_folders(variables, settings)], given, settings)
    vault = _vault_settings(filled, variables)
    if vault.address:
        # Its libraries cost time that others need not spend.
        from hub.secret_sources.vault import read_vault  # noqa: PLC0415

        _put(filled, _found(read_vault(vault), vault, settings), given, settings)
    return filled


def _put(
    values: dict[str, Any], found: Iterable[Found], given: dict[Path, str], settings: type[BaseModel]
) -> None:
    for path, text, where in found:
        name = ".".join(path)
        if path in given:
            raise SettingsError(f"{name} is given twice: by {given[path]} and by {where}; keep one of them")
        given[path] = where
        value: Any = text
        if kind_of(path, settings) == "json":
            try:
                value = json.loads(text)
            except ValueError:
                raise SettingsError(f"{name}: {where} holds no JSON, as {variable_of(path)} would") from None
        _set(values, path, value)


def _set(values: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise SettingsError(f"{'.'.join(path)}: {part} is no table in the settings file")
    values[path[-1]] = value


def _found(secret: Mapping[str, Any], vault: VaultSettings, settings: type[BaseModel]) -> list[Found]:
    where = f"Vault's {vault.mount}/{vault.path}"
    found: list[Found] = []
    for key, value in secret.items():
        kind = kind_of(path_of(key), settings)
        if kind is None or path_of(key)[0] == "vault":
            raise SettingsError(f"{where} has the key {key[:100]!a}, but there is no such secret")
        text = json.dumps(value) if kind == "json" and not isinstance(value, str) else value
        if not isinstance(text, str) or not text:
            raise SettingsError(f"{where}: the value of {key} is no text, or empty")
        found.append((path_of(key), text, f"the key {key} of {where}"))
    known = {path for path, _, _ in found}
    if missing := [key for key in vault.keys if path_of(key) not in known]:
        raise SettingsError(f"{where} lacks the key {', '.join(missing)}, which vault.keys asks for")
    return found


def _vault_settings(values: Mapping[str, Any], variables: Mapping[str, str]) -> VaultSettings:
    table = values.get("vault", {})
    if not isinstance(table, dict):
        raise SettingsError("vault is no table in the settings file")
    own = {path_of(name): value for name, value in variables.items() if value}
    named = {path[1]: value for path, value in own.items() if len(path) == 2 and path[0] == "vault"}
    if isinstance(keys := named.get("keys"), str):
        named["keys"] = _keys(keys)
    try:
        return VaultSettings.model_validate({**table, **{k: v for k, v in named.items() if not _is_file(k)}})
    except ValidationError:
        # Told with its place when the whole tree is read.
        return VaultSettings()


def _is_file(name: str) -> bool:
    return name in ("token_file", "secret_id_file")


def _keys(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in values.items()}
