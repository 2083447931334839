"""Files that were uploaded and wait for the message they belong to."""

import secrets
from collections.abc import Sequence

from pydantic import ValidationError

from connectors.store import Store
from connectors.web.visitors import Visitor
from hub.messages import Attachment, Message

KEPT_S = 3600
USED_S = 86_400
"""Of a file that was sent: its message may come again as long as its id is known."""


class KeptFile(Message):
    """A file with whose it is."""

    visitor: str
    site: str
    attachment: Attachment


class KeptFiles:
    """Keeps the text of files for an hour, and for a day once they were sent."""

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
        """Return the files of a message; None when one is not there any more, or somebody else's.

        Raises: BusError: Redis is away.
        """
        found: dict[str, KeptFile] = {}
        for file_id in file_ids:
            file = _file(await self._store.get(f"file:{file_id}"))
            if file is None or (file.visitor, file.site) != (visitor.id, visitor.site):
                return None
            found[file_id] = file
        for file_id, file in found.items():
            await self._store.set(f"file:{file_id}", file.model_dump_json(), USED_S)
        return tuple(found[file_id].attachment for file_id in file_ids)


def _file(record: str | None) -> KeptFile | None:
    try:
        return None if record is None else KeptFile.model_validate_json(record)
    except ValidationError:
        return None
