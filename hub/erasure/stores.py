"""What the eraser asks of whoever keeps something of people; each store has one owner module, which implements these."""

from collections.abc import AsyncIterator
from typing import Any, Protocol, runtime_checkable

from hub.erasure.person import Person, Principal


class PersonalStore(Protocol):
    """One place where something of a person may lie.

    Both methods may be called again and again, in any process, also after a kill in the middle of one.
    """

    name: str
    """Stands in receipts: lower case, no data of anybody."""

    async def erase(self, person: Person) -> int:
        """Remove what is theirs and nothing else.

        Returns: how many things went; 0 when there is nothing left.
        Raises: HubError: it could not be removed; repeating is safe.
        """

    async def holds(self, person: Person) -> int:
        """Count what is left of them, by looking and not by remembering what was erased."""


@runtime_checkable
class Widening(Protocol):
    """A store that can tell what else belongs to a person: linked identities, conversations, turns."""

    async def widen(self, person: Person) -> Person:
        """Return the person with what this store knows beyond that; the same one when it is nothing."""


@runtime_checkable
class Naming(Protocol):
    """A store that knows people by more than what Redis and the archive know of everybody."""

    def everybody(self) -> AsyncIterator[Principal]:
        """Give everybody it knows; nobody is missing, some may come twice."""


class Compacting(Protocol):
    """Files in which what was removed may still lie, until they are written anew."""

    name: str

    async def compact(self) -> None:
        """Write the files anew without what was removed; return once the old ones are gone.

        Raises: HubError: they could not be written; repeating is safe.
        """


@runtime_checkable
class PersonalRecords(Protocol):
    """A store whose rows can be handed to the person, or to another hub."""

    name: str
    """Of the file in the archive, without its ending."""

    def rows(self, person: Person | None) -> AsyncIterator[dict[str, Any]]:
        """Give what is theirs, row by row as JSON objects; of everybody where `person` is None."""
