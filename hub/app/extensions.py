"""Finds what installed packages offer under the names of connectors' types."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from connectors.parts import ERASURE_GROUP, GROUP, MakeConnector, MakeTraces
from hub.errors import SettingsError


def connector_maker(name: str, kind: str) -> MakeConnector:
    """Find what makes connectors of a type, among all packages that are installed.

    Raises: SettingsError: none offers it, or it cannot be loaded.
    """
    found = _points(GROUP)
    if kind not in found:
        known = ", ".join(sorted(found)) or "none"
        raise SettingsError(
            f"[connectors.{name}] has the type {kind!r}, which no installed package offers; there are: {known}"
        )
    make: MakeConnector = _loaded(found[kind], kind)
    return make


def traces_maker(kind: str) -> MakeTraces | None:
    """Find what removes a person from the state of connectors of a type; None where they keep nothing of anybody.

    Raises: SettingsError: it cannot be loaded. Nobody may be told that all was removed then.
    """
    point = _points(ERASURE_GROUP).get(kind)
    if point is None:
        return None
    make: MakeTraces = _loaded(point, kind)
    return make


def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _loaded(point: EntryPoint, kind: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"the connector type {kind!r} cannot be loaded: {error}") from error
