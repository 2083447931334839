"""Files that were uploaded and wait for the message they belong to."""

import secrets
from collections.abc import Sequence

from pydantic import ValidationError

from connectors.store import Store
from connectors.web.visitors import Visitor
from hub.messages import Attachment, Message

KEPT_S = 3600


class KeptFile(Message):
    """A file with whose it is."""

    visitor: str
    site: str
    attachment: Attachment


class KeptFiles:
    """Keeps the text of files for an hour."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, visitor: Visitor, attachment: Attachment) -> str:
        """Keep a file for its visitor and return the id that names it in a message.

        Raises: BusError: Redis is away.
        """
        file_id = secrets.token_hex(16)
        file = KeptFile(visitor=visitor.id, site=visitor.site, attachment=attachment)
        await self._store.set(f"file:{file_id}", file.model_dump_json(), KEPT_S)
        return file_id

    async def find(self, visitor: Visitor, file_ids: Sequence[str]) -> tuple[Attachment, ...] | None:
        """Return the files; None when one is not there any more, or somebody else's.

        Raises: BusError: Redis is away.
        """
        found = []
        for file_id in file_ids:
            file = _file(await self._store.get(f"file:{file_id}"))
            if file is None or (file.visitor, file.site) != (visitor.id, visitor.site):
                return None
            found.append(file.attachment)
        return tuple(found)


def _file(record: str | None) -> KeptFile | None:
    try:
        return None if record is None else KeptFile.model_validate_json(record)
    except ValidationError:
        return None
