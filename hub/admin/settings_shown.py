"""The settings in force, with nothing in them that gives access to anything."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from hub.redaction import MASK, without_secrets
from hub.settings import Settings


def shown_settings(settings: Settings) -> dict[str, Any]:
    """Return the tree of settings as JSON has it; secrets are `***` where they are set, and empty where they are not.

    Tables of connectors that others have made are not known here: of their texts only the type is shown.
    """
    shown = _shown(settings, settings.model_dump(mode="json"))
    shown["connectors"] = {name: _of_connector(table) for name, table in settings.connectors.items()}
    return dict(shown)


def _shown(value: Any, dumped: Any) -> Any:
    """Hide the secrets of a value; `dumped` is the same as JSON."""
    match value:
        case SecretStr():
            return MASK if value.get_secret_value() else ""
        case BaseModel():
            return {name: _shown(getattr(value, name), dumped[name]) for name in type(value).model_fields}
        case Mapping():
            return {str(name): _shown(inner, dumped[name]) for name, inner in value.items()}
        case list() | tuple():
            return [_shown(inner, shown) for inner, shown in zip(value, dumped, strict=True)]
    # A password may stand in any address.
    return without_secrets(dumped) if isinstance(dumped, str) else dumped


def _of_connector(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _foreign(value, is_shown=name == "type") for name, value in table.items()}


def _foreign(value: Any, *, is_shown: bool = False) -> Any:
    match value:
        case bool():
            return value
        case Mapping():
            return {str(name): _foreign(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_foreign(inner) for inner in value]
        case str() if is_shown or not value:
            return value
    return MASK
