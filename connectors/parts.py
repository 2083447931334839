"""What the hub hands to a connector that comes by an entry point, of this package or of another."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base import AttachmentReader, Connector
from connectors.live import Live
from connectors.store import ListedStore, Store
from hub.erasure.stores import PersonalStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorParts:
    """What a connector may use of the hub."""

    name: str
    """Of its table `[connectors.NAME]`: the connector's own name, that of its stream, and of its addresses."""
    public_url: str
    """How the world reaches the hub's HTTP server; empty where it does not."""
    store: Store
    live: Live
    quarantine: Callable[[str, str, bytes], Awaitable[None]]
    """Note input that no attempt could make valid: source, reason, bytes."""
    reader: AttachmentReader


MakeConnector = Callable[[Mapping[str, Any], ConnectorParts], Connector]
"""What an entry point of the group `hubbub.connectors` names: takes the connector's table of settings.

Raises: SettingsError: a setting is wrong or missing; the text says which."""
GROUP = "hubbub.connectors"

MakeTraces = Callable[[str, ListedStore], PersonalStore]
"""What an entry point of the group `hubbub.erasure` names, under the connector's own name: takes the name of its table and
its store, and gives what removes a person from it. It opens nothing: erasing needs no running connector.

Where the external keys of its messages name their sender it has a method `external_keys(person)` as well, which gives
what those begin with."""
ERASURE_GROUP = "hubbub.erasure"
