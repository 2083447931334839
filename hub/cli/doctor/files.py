"""The files: the data folder and who may read it, the interaction log, settings with secrets in them."""

import os
import re
import stat
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from hub.backup.files import name_of
from hub.backup.unfinished import is_folder_marked
from hub.cli.doctor.finding import Finding, fail, ok, warn
from hub.settings import Settings, settings_file

LOG_BYTES = 1 << 30
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SECRET = re.compile(r"(password|secret|token|api_key)$")
_URL = re.compile(r"(redis_url|database_url)$")


async def look_at_files(settings: Settings) -> list[Finding]:
    """Look at the data folder and at the files with secrets."""
    data = settings.data.expanduser().resolve()
    findings = [_folder(data)]
    if is_folder_marked(data):
        advice = "Run `hubbub restore FILE` with the same backup again; until then no hub starts."
        findings.append(fail("restore", "a restore has not finished", advice))
    if log := _log(settings, data):
        findings.append(log)
    return findings + _settings_files()


def _folder(data: Path) -> Finding:
    if not data.exists():
        above = next(place for place in data.parents if place.exists())
        return _unwritable(data, above) or ok("data folder", f"{data} is made at the first start")
    if not data.is_dir():
        return fail("data folder", f"{data} is no folder", "Set `data` to a folder, or give --data.")
    if unwritable := _unwritable(data, data):
        return unwritable
    if (owner := data.stat().st_uid) != os.geteuid():
        return warn(
            "data folder",
            f"{data} belongs to the user {name_of(owner)}, and this is {name_of(os.geteuid())}",
            f"Run the hub and its commands as one user: `sudo -u {name_of(owner)} hubbub doctor`.",
        )
    if mode := stat.S_IMODE(data.stat().st_mode) & _OTHERS:
        return warn(
            "data folder",
            f"{data} holds what people said, and other users of this machine may enter it (mode {mode:03o} beyond its owner)",
            f"Run `chmod 700 {data}`.",
        )
    return ok("data folder", f"{data}, for its owner alone")


def _unwritable(data: Path, place: Path) -> Finding | None:
    """Try to write there: rights alone do not tell of a disk that is full or mounted for reading."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return fail(
            "data folder",
            f"{data} cannot be written: {error.strerror}",
            f"Run `chown -R {os.geteuid()} {place}`, free some room, or set `data` to another folder.",
        )
    return None


def _log(settings: Settings, data: Path) -> Finding | None:
    path = data / "log.jsonl"
    size = path.stat().st_size if path.is_file() else 0
    if size < LOG_BYTES:
        return None
    grows = "and grows with every answer" if settings.log.interactions else "and grows no more"
    advice = f"Move it away with `mv {path} {path}.old` and keep it as long as you have promised"
    if settings.log.interactions:
        advice += ", or set `interactions = false` in the table [log]"
    return warn("log.jsonl", f"it has {size / 1e9:.1f} GB {grows}", f"{advice}.")


def _settings_files() -> list[Finding]:
    findings = []
    path = settings_file()
    if path is not None and _is_readable_by_others(path) and (names := sorted(_secrets_in(_toml(path)))):
        text = f"{path} holds secrets ({', '.join(names)}) and can be read by other users"
        advice = f"Move them into `.env`, or run `chmod 600 {path}`."
        findings.append(warn("secrets", text, advice))
    env = Path(".env")
    if env.is_file() and _is_readable_by_others(env) and any(_is_secret(name) for name in dotenv_values(env)):
        text, advice = (
            ".env holds secrets and can be read by other users",
            f"Run `chmod 600 {env.resolve()}`.",
        )
        findings.append(warn("secrets", text, advice))
    return findings or [ok("secrets", "in no file that others may read")]


def _is_readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return lower.startswith("hubbub_") and bool(
        _SECRET.search(lower) or _URL.search(lower) or "__accounts" in lower
    )


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def _secrets_in(value: Any, where: str = "") -> set[str]:
    """Name the settings of a file that are secrets, and URLs with a password in them."""
    match value:
        case dict():
            return {
                found
                for name, inner in value.items()
                for found in _secrets_in(inner, f"{where}.{name}".lstrip("."))
            }
        case list():
            return {found for inner in value for found in _secrets_in(inner, where)}
        case str() if value and (_SECRET.search(where) or (_URL.search(where) and "@" in value)):
            return {where}
    return set()
