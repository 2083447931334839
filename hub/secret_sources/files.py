"""Secrets in files: one for each, as Docker, Kubernetes and systemd hand them to a program."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from hub.errors import SettingsError
from hub.secret_sources.names import PREFIX, kind_of, path_of, referring
from hub.secret_sources.names import Path as Name

FOLDER_VARIABLE = "HUBBUB_SECRETS_DIR"
DOCKER_FOLDER = "/run/secrets"
"""Source: Docker's documentation, "Manage secrets in Docker Compose"."""
MAX_BYTES = 1 << 20

Found = tuple[Name, str, str]
"""What it is about, its text, and where it was found, for a person to read."""


def referred(variables: Mapping[str, str], settings: type[BaseModel]) -> Iterator[Found]:
    """Read the files that variables such as `HUBBUB_TELEGRAM__TOKEN_FILE` name.

    Raises: SettingsError: one cannot be read, or is empty.
    """
    for variable, file in variables.items():
        if file and (name := referring(variable, settings)):
            yield name, _text(Path(file), variable), f"the file that {variable} names"


def in_folders(variables: Mapping[str, str], settings: type[BaseModel]) -> Iterator[Found]:
    """Read the files of the secrets folders whose names are those of secrets; others may share them.

    Raises: SettingsError: a file cannot be read, or is called like a setting there is not, or a folder is missing.
    """
    named = variables.get(FOLDER_VARIABLE, "")
    for folder in map(Path, filter(None, named.split(os.pathsep))):
        if not folder.is_dir():
            raise SettingsError(f"{FOLDER_VARIABLE}: {folder} is no folder")
        yield from _in_folder(folder, settings)
    if not named and Path(DOCKER_FOLDER).is_dir():
        yield from _in_folder(Path(DOCKER_FOLDER), settings, is_named=False)


def _in_folder(folder: Path, settings: type[BaseModel], *, is_named: bool = True) -> Iterator[Found]:
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        if isinstance(error, PermissionError) and not is_named:
            # It holds secrets of others, and nobody has said that the hub's are there.
            return
        raise SettingsError(f"the secrets in {folder} cannot be listed: {error.strerror}") from None
    for file in files:
        if not file.is_file():
            continue
        name = path_of(file.name)
        if kind_of(name, settings):
            yield name, _text(file, str(file)), f"the file {file}"
        elif file.name.upper().startswith(PREFIX):
            raise SettingsError(f"{file}: there is no such secret")


def _text(file: Path, where: str) -> str:
    try:
        with file.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
        # The line that an editor or `echo` ends is not part of it.
        text = data.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{where}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{where}: {file} holds no text in UTF-8") from None
    if not text or len(data) > MAX_BYTES:
        raise SettingsError(f"{where}: {file} is {'larger than 1 MiB' if text else 'empty'}")
    return text
