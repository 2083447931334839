"""Secrets planted into settings: a value of its own for every secret there is, by every way in which one may be given."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

from hub.secret_sources.names import path_of, variable_of
from hub.settings import Settings
from tests.emulators.vault import Vault
from tests.settings_tree import leaves

MARK = "planted-"
"""What every planted secret begins with."""


def planted(
    *, account: Mapping[str, str] | None = None, redis: str = "", database: str = ""
) -> dict[str, str]:
    """Give a value for every secret, by its path.

    The tree of settings says which there are: one that is added is planted, too.

    Args:
        account: of a mailbox, without its password.
        redis: host and port; its URL gets a planted password.
        database: likewise, and the name of the database.
    """
    found = [path for path, default in leaves(Settings()) if isinstance(default, SecretStr)]
    values = {".".join(path): f"{MARK}{'-'.join(path)}-0001" for path in found if path[0] != "vault"}
    values |= {name: f"x-key={value}" for name, value in values.items() if name.endswith(".headers")}
    # A token is looked at before it is used.
    values["telegram.token"] = f"123456:{MARK}telegram-token-000000000001"
    values["bus.redis_url"] = f"redis://:{values['bus.redis_url']}@{redis or '127.0.0.1:9'}/0"
    values["database_url"] = f"postgresql://hub:{values['database_url']}@{database or '127.0.0.1:9/hub'}"
    mailbox = {
        "address": "help@example.org",
        "imap_host": "imap.example.org",
        "smtp_host": "smtp.example.org",
    }
    site = {
        "key": "shop",
        "origins": ["https://shop.example"],
        "identity_secret": f"{MARK}identity-secret-of-32-bytes-0001",
    }
    return values | {
        "models.far.api_key": f"{MARK}models-far-0001",
        "connectors.shop.secret": f"{MARK}connectors-shop-0001",
        "email.accounts": json.dumps([mailbox | dict(account or {}) | {"password": f"{MARK}account-0001"}]),
        "web.sites": json.dumps([site]),
    }  # fmt: skip


def _environment(folder: Path, values: Mapping[str, str], vault: Vault) -> dict[str, str]:
    return {variable_of(path_of(name)): value for name, value in values.items()}


def _dotenv(folder: Path, values: Mapping[str, str], vault: Vault) -> dict[str, str]:
    lines = [f"{variable_of(path_of(name))}='{value}'\n" for name, value in values.items()]
    (folder / ".env").write_text("".join(lines))
    return {}


def _files(folder: Path, values: Mapping[str, str], vault: Vault) -> dict[str, str]:
    variables = {}
    for name, value in values.items():
        (folder / f"{name}.txt").write_text(f"{value}\n")
        variables[f"{variable_of(path_of(name))}_FILE"] = str(folder / f"{name}.txt")
    return variables


def _folder(folder: Path, values: Mapping[str, str], vault: Vault) -> dict[str, str]:
    return _mounted(folder / "mounted", {variable_of(path_of(name)): value for name, value in values.items()})


def _folder_of_paths(folder: Path, values: Mapping[str, str], vault: Vault) -> dict[str, str]:
    return _mounted(folder / "mounted", values)


def _mounted(folder: Path, values: Mapping[str, str]) -> dict[str, str]:
    folder.mkdir()
    for name, value in values.items():
        (folder / name).write_text(value)
    return {"HUBBUB_SECRETS_DIR": str(folder)}


def _vault(folder: Path, values: Mapping[str, str], vault: Vault) -> dict[str, str]:
    vault.put("hubbub", dict(values))
    return {"HUBBUB_VAULT__ADDRESS": vault.address, "HUBBUB_VAULT__TOKEN": vault.token}


def _approle(folder: Path, values: Mapping[str, str], vault: Vault) -> dict[str, str]:
    entered = {"HUBBUB_VAULT__ROLE_ID": vault.role_id, "HUBBUB_VAULT__SECRET_ID": vault.secret_id}
    return {"HUBBUB_VAULT__ADDRESS": _vault(folder, values, vault)["HUBBUB_VAULT__ADDRESS"], **entered}


WAYS: dict[str, Callable[[Path, Mapping[str, str], Vault], dict[str, str]]] = {
    "environment": _environment,
    "dotenv": _dotenv,
    "files": _files,
    "folder": _folder,
    "folder of paths": _folder_of_paths,
    "vault": _vault,
    "approle": _approle,
}
"""Each puts values where its way reads them, below a working directory, and gives the variables to set."""
