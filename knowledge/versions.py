"""Compares what answers cite with the documents as they are."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from sqlalchemy import or_, select
from sqlalchemy.exc import SQLAlchemyError

from hub.errors import KnowledgeError
from knowledge.tables import DocumentRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

State = Literal["current", "changed", "gone"]
Cited = tuple[str, str]
"""Location and version of a document."""
_READ_BATCH = 200


class DocumentVersions:
    """The documents of all collections, by location and content hash."""

    def __init__(self, engine: "AsyncEngine") -> None:
        self._engine = engine

    async def states(self, cited: Iterable[Cited]) -> Mapping[Cited, State]:
        """Tell of each document whether it still is what was cited; one that was moved and is the same is.

        Raises: KnowledgeError: the database cannot be read.
        """
        wanted = list(dict.fromkeys(cited))
        known: set[Cited] = set()
        try:
            async with self._engine.connect() as connection:
                for start in range(0, len(wanted), _READ_BATCH):
                    part = wanted[start : start + _READ_BATCH]
                    is_named = DocumentRow.location.in_([location for location, _ in part])
                    is_same = DocumentRow.version.in_([version for _, version in part])
                    query = select(DocumentRow.location, DocumentRow.version).where(or_(is_named, is_same))
                    known |= {(row.location, row.version) for row in await connection.execute(query)}
        except SQLAlchemyError as error:
            raise KnowledgeError(f"the database of documents cannot be used: {error}") from error
        locations, versions = {location for location, _ in known}, {version for _, version in known}
        return {each: _state(each, locations, versions) for each in wanted}


def _state(cited: Cited, locations: set[str], versions: set[str]) -> State:
    location, version = cited
    if version in versions:
        return "current"
    return "changed" if location in locations else "gone"
