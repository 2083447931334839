"""The registry of models: what settings.toml and models.json name, found by name or by role."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from hub.errors import SettingsError, UnknownModel
from hub.model_settings import GgufSettings, ModelSettings, RemoteSettings, RoleSettings, with_types
from hub.settings import Settings

log = structlog.get_logger(__name__)

ROLES = tuple(RoleSettings.model_fields)
DEFAULT = "default"
"""Stands for `engine.model` where a person chooses; no model may have this name."""
MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_ENTRIES = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,99}")
_ENTRY: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)

Stamp = tuple[int, int, int] | None


class ModelRegistry:
    """Names and settings of all models; what models.json holds is read again when the file has changed."""

    def __init__(self, settings: Settings) -> None:
        """Read the registry.

        Raises: SettingsError: `engine.model` is not in it.
        """
        self.file = settings.models_path
        self.default = settings.engine.model
        self.problems: tuple[str, ...] = ()
        """What is wrong with models.json; what is right in it is used all the same."""
        self._roles = settings.engine.roles
        self._tables = settings.models
        self._models: dict[str, ModelSettings] = dict(settings.models)
        self._stamp: Stamp = None
        self.refresh()
        self._know_the_default()

    @property
    def models(self) -> Mapping[str, ModelSettings]:
        """All entries by name."""
        return self._models

    def refresh(self) -> bool:
        """Read models.json again where it has changed; tells whether it had."""
        if (stamp := stamp_of(self.file)) == self._stamp:
            return False
        self._stamp = stamp
        found: dict[str, ModelSettings] | None = {}
        problems: tuple[str, ...] = ()
        if stamp:
            found, problems = _read(self.file, self._tables)
        if found is None:
            # What was known stays: a file that is just being written is no reason to lose models.
            found = {name: one for name, one in self._models.items() if name not in self._tables}
        self._models = {**found, **self._tables}
        self.problems = problems
        for problem in problems:
            log.warning("models_file_refused", problem=problem)
        return True

    def resolve(self, name: str = "") -> str:
        """Find the model that is meant by its name, a role's, "default" or nothing.

        Raises: UnknownModel: there is none.
        """
        self.refresh()
        if name in self._models:
            return name
        if not name or name in (DEFAULT, *ROLES):
            wanted = getattr(self._roles, name) if name in ROLES else ""
            return self._existing(wanted or self.default)
        return self._existing(name)

    def names(self) -> tuple[str, ...]:
        """Return everything that can be asked for: models and roles, sorted."""
        return tuple(sorted({*self._models, *ROLES}))

    def settings_of(self, name: str) -> ModelSettings:
        """Return a model's settings.

        Raises: UnknownModel: there is no model of this name.
        """
        return self._models[self._existing(name)]

    def roles_of(self, name: str) -> tuple[str, ...]:
        """Return the roles a model has."""
        return tuple(role for role in ROLES if (getattr(self._roles, role) or self.default) == name)

    def put(self, name: str, settings: ModelSettings) -> None:
        """Let a model have other settings, until this process ends."""
        self._tables = {**self._tables, name: settings}
        self._models[name] = settings

    def _existing(self, name: str) -> str:
        if name not in self._models:
            raise UnknownModel(name, sorted(self._models))
        return name

    def _know_the_default(self) -> None:
        if self.default not in self._models:
            problems = "".join(f"\n  {problem}" for problem in self.problems)
            known = ", ".join(sorted(self._models))
            raise SettingsError(f"engine.model is {self.default!r}, but the models are: {known}{problems}")


def offered_models(settings: Settings) -> Callable[[], Sequence[str]] | None:
    """Return what tells the names of all models, sorted; None where only the engine's machine knows them."""
    try:
        registry = ModelRegistry(settings)
    except SettingsError as error:
        log.info("models_not_offered", reason=str(error))
        return None

    def names() -> Sequence[str]:
        registry.refresh()
        return sorted(registry.models)

    return names


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file does; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(
    file: Path, tables: Mapping[str, ModelSettings]
) -> tuple[dict[str, ModelSettings] | None, tuple[str, ...]]:
    """Read a models.json.

    Returns: its usable entries, None when the file as a whole cannot be read; and what is wrong with the others.
    """
    try:
        if not file.is_file():
            return None, (f"{file} is not a file",)
        if file.stat().st_size > MAX_FILE_BYTES:
            return None, (f"{file} is larger than {MAX_FILE_BYTES} bytes",)
        content = orjson.loads(file.read_bytes())
    except OSError as error:
        return None, (f"{file} cannot be read: {error.strerror}",)
    except orjson.JSONDecodeError as error:
        return None, (f"{file} is not valid JSON: {error}",)
    entries = content.get("models") if isinstance(content, dict) else None
    if not isinstance(entries, dict):
        return None, (f'{file} is not of the form {{"models": {{"name": {{...}}}}}}',)
    models: dict[str, ModelSettings] = {}
    problems: list[str] = []
    for name, entry in entries.items():
        if name in tables:
            problems.append(
                f"{file}: models.{name} is not used, because the settings have a model of this name"
            )
        elif problem := _refused(name, len(models)):
            problems.append(f"{file}: {problem}")
        else:
            try:
                models[name] = _with_absolute_paths(_entry(name, entry), file.parent)
            except ValidationError as error:
                problems += [f"{file}: models.{name}{fault}" for fault in _faults(error)]
    return models, tuple(problems)


def _refused(name: str, count: int) -> str:
    if count >= MAX_ENTRIES:
        return f"model {name[:60]!a} is one too many: {MAX_ENTRIES} are read"
    return wrong_name(name)


def wrong_name(name: str) -> str:
    """Tell what is wrong with a model's name; empty where it is one."""
    shown = ascii(name[:60])
    if name == DEFAULT or name in ROLES or not _NAME.fullmatch(name):
        return f"{shown} is no name for a model: letters, digits and ._:@/+- make one, but no name of a role"
    return ""


def _entry(name: str, entry: Any) -> ModelSettings:
    return _ENTRY.validate_python(with_types({name: entry})[name])


def _faults(error: ValidationError) -> list[str]:
    faults = []
    for problem in error.errors(include_input=False, include_url=False)[:5]:
        # The first part is the type of the entry.
        where = "".join(f".{part}" for part in problem["loc"][1:])
        what = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        faults.append(f"{where}: {what}")
    return faults


def _with_absolute_paths(settings: ModelSettings, folder: Path) -> ModelSettings:
    """Let relative paths begin at the folder of the file that names them."""
    if isinstance(settings, RemoteSettings):
        return settings
    adapters = tuple(
        one.model_copy(update={"path": _absolute(one.path, folder)}) for one in settings.adapters
    )
    is_file = not isinstance(settings, GgufSettings) or settings.path
    path = _absolute(settings.path, folder) if is_file else ""
    return settings.model_copy(update={"path": path, "adapters": adapters})


def _absolute(path: str, folder: Path) -> str:
    return os.fspath(folder.resolve() / Path(path).expanduser())
