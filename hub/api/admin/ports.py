"""What the operators' routes ask of the rest: the API knows neither documents nor how people are remembered."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, computed_field

from hub.admin.conversations import Conversations
from hub.admin.dead import DeadLetterDesk
from hub.admin.erasures import Erasures
from hub.admin.events import EventBook
from hub.admin.people import PeopleBook
from hub.admin.remembered import Remembered
from hub.audit import AuditLog
from hub.egress.book import EgressBook
from hub.erasure.person import Principal
from hub.key_usage import UsageBook
from hub.operators.desk import Operators

Outcome = Literal["added", "replaced", "unchanged"]


class Shown(BaseModel):
    """Base of what routes answer with."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)


class CollectionShown(Shown):
    """A collection of documents."""

    name: str
    audience: str
    """`public`, `operator`, `site:KEY` or `person:ID`."""
    created_at: datetime
    documents: int
    chunks: int
    size_bytes: int

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def version(self) -> str:
        """What If-Match takes; another one whenever somebody else may read it."""
        told = f"{self.name}\x1f{self.audience}\x1f{self.created_at.isoformat()}"
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


class DocumentShown(Shown):
    """A document of a collection."""

    id: int
    location: str
    """What answers cite it by; of an upload its name."""
    title: str
    media_type: str
    version: str
    """SHA-256 of its bytes."""
    size_bytes: int
    chunks: int
    added_at: datetime
    is_upload: bool
    """Whether it came by the API, and not from a folder or another source that is read again."""


class GapShown(Shown):
    """Questions that ask the same, and that the documents did not answer."""

    id: int
    question: str
    count: int
    first_asked: datetime
    last_asked: datetime
    connectors: tuple[str, ...]
    examples: tuple[str, ...]
    proposals: tuple[dict[str, str], ...]
    is_looked_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A document as it was sent."""

    collection: str
    name: str
    data: bytes
    charset: str = ""
    wanted: str = ""
    """Version that what it replaces must still have; empty: any, or none."""


class DocumentDesk(Protocol):
    """The documents; every method raises DatabaseError where the database is away."""

    async def collections(self) -> list[CollectionShown]:
        """List all collections by name."""

    async def collection(self, name: str) -> CollectionShown | None:
        """Show one."""

    async def set_audience(self, name: str, audience: str, *, wanted: str = "") -> bool:
        """Say who may read a collection; True where it is new.

        Args:
            wanted: version that it must still have; empty: any, or none.

        Raises: Problem: the name or the audience cannot be one, or it has another version.
        """

    async def remove_collection(self, name: str) -> int | None:
        """Remove a collection; gives how many documents went, None where there is none of the name."""

    async def documents(
        self, collection: str, *, after: int, limit: int, name: str = "", is_upload: bool | None = None
    ) -> Sequence[DocumentShown]:
        """List documents of a collection by id.

        Args:
            name: what their locations begin with.
            is_upload: whether they came by the API; None: either.
        """

    async def remove_document(self, collection: str, document_id: int) -> bool:
        """Remove a document of a collection; False where it has none of the id."""

    async def add(self, upload: Upload) -> tuple[Outcome, DocumentShown]:
        """Take a document in, whole or not at all; the same bytes under the same name change nothing.

        Raises:
            Problem: it cannot be read, is too long, its collection is not there, or no engine embeds it.
            BusError: Redis is away.
        """


class GapDesk(Protocol):
    """The questions nobody could answer; every method raises DatabaseError where the database is away."""

    async def gaps(self) -> list[GapShown]:
        """List them, those asked most often first."""

    async def forget(self, gap_id: int) -> bool:
        """Remove one with all its questions; False where there is none of the id."""


class Exports(Protocol):
    """Hands out what is kept of a person."""

    async def archive(self, principals: Sequence[Principal]) -> IO[bytes]:
        """Write a person's archive into a file that has no name and goes when it is closed.

        Raises: HubError: a store cannot be read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminParts:
    """Everything the operators' routes use."""

    documents: DocumentDesk
    max_document_bytes: int
    gaps: GapDesk
    people: PeopleBook
    remembered: Remembered
    erasures: Erasures
    exports: Exports
    operators: Operators
    audit: AuditLog
    conversations: Conversations
    dead: DeadLetterDesk
    events: EventBook
    usage: UsageBook
    settings: Mapping[str, Any]
    """The settings in force, without what is secret."""
    speaking: frozenset[str]
    """Channels by which somebody can be written to who has not just asked."""
    egress: EgressBook
