"""Which settings are secrets, and how each is named in every place that may hold it."""

import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

PREFIX = "HUBBUB_"
FILE = "_FILE"
SECRET_NAMES = re.compile(
    r"token|secret|passw|pwd|(?:^|[_-])key$|api[_-]?key|private_key|credential|cookie|authorization|signature",
    re.IGNORECASE,
)
"""Names that belong to secrets, where no type tells."""

Path = tuple[str, ...]
Kind = Literal["text", "json"]
"""`json`: a table or list that holds secrets."""


def path_of(name: str) -> Path:
    """Read what a variable or key is about: `HUBBUB_TELEGRAM__TOKEN`, and `telegram.token` alike."""
    if name.upper().startswith(PREFIX):
        return tuple(name[len(PREFIX) :].lower().split("__"))
    return tuple(name.split("."))


def variable_of(path: Path) -> str:
    """Give the variable that sets a path."""
    return PREFIX + "__".join(path).upper()


def kind_of(path: Path, settings: type[BaseModel]) -> Kind | None:
    """Tell how a setting that is a secret, or holds some, is written; None where it is another."""
    return _kind(settings, path, "")


def referring(name: str, settings: type[BaseModel]) -> Path | None:
    """Tell which secret a variable such as `HUBBUB_TELEGRAM__TOKEN_FILE` gives a file for; None where it does not."""
    if not name.upper().startswith(PREFIX) or not name.upper().endswith(FILE):
        return None
    path = path_of(name[: -len(FILE)])
    return path if kind_of(path, settings) else None


def _kind(annotation: Any, path: Path, name: str) -> Kind | None:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], path, name)
    if origin in (Union, UnionType):
        return next((kind for each in arguments if (kind := _kind(each, path, name))), None)
    if not path:
        return _kind_of_leaf(annotation, name)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(path[0])
        return _kind(field.annotation, path[1:], path[0]) if field else None
    if origin is dict:
        return _kind(arguments[1], path[1:], path[0])
    return None


def _kind_of_leaf(annotation: Any, name: str) -> Kind | None:
    if annotation is SecretStr:
        return "text"
    if annotation is Any:
        # Tables of other packages' connectors are read by those.
        return "text" if SECRET_NAMES.search(name) else None
    is_list = get_origin(annotation) in (tuple, list)
    return "json" if is_list and any(_holds_secrets(each) for each in get_args(annotation)) else None


def _holds_secrets(annotation: Any) -> bool:
    return (
        isinstance(annotation, type)
        and issubclass(annotation, BaseModel)
        and any(field.annotation is SecretStr for field in annotation.model_fields.values())
    )


def without_own(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a program that has no use for the hub's settings, and shall know no secrets."""
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(PREFIX) and name != "HF_TOKEN"
    }


def values_of(settings: Any, name: str = "") -> list[str]:
    """Return the text of every secret in a tree of settings."""
    match settings:
        case SecretStr():
            return [settings.get_secret_value()] if settings.get_secret_value() else []
        case BaseModel():
            # Where a field is a secret its type says so; `web.sites` have keys that every visitor sees.
            return [
                value
                for field in type(settings).model_fields
                for value in values_of(getattr(settings, field))
            ]
        case Mapping():
            return [value for key, inner in settings.items() for value in values_of(inner, str(key))]
        case list() | tuple():
            return [value for inner in settings for value in values_of(inner, name)]
        case str() if settings and SECRET_NAMES.search(name):
            return [settings]
    return []
