"""What a connector of another package needs so that a person can be removed from what it keeps; see docs/connectors.md."""

from connectors.parts import MakeTraces
from connectors.store import ListedStore
from hub.erasure.person import Person, Principal
from hub.erasure.stores import PersonalRecords, PersonalStore, Widening

__all__ = ["ListedStore", "MakeTraces", "Person", "PersonalRecords", "PersonalStore", "Principal", "Widening"]
