"""What messages said, so that an edit that says the same is told from one that asks anew."""

import hashlib

from connectors.store import Store
from connectors.telegram.events import Incoming
from connectors.telegram.updates import OLDEST_EDIT_S


class Edits:
    """Remembers a digest of each message for as long as it can be edited."""

    def __init__(self, bot_id: int, store: Store) -> None:
        self._bot_id = bot_id
        self._store = store

    async def changes_nothing(self, edit: Incoming) -> bool:
        """Tell whether a message says the same as before its edit; False for one that was never seen.

        Raises: BusError: the store cannot be reached.
        """
        return await self._store.get(self._name(edit)) == _digest(edit)

    async def remember(self, incoming: Incoming) -> bool:
        """Remember what was published; tells whether the message is known with another content.

        Raises: BusError: it was not stored.
        """
        digest = _digest(incoming)
        if incoming.is_edit:
            await self._store.set(self._name(incoming), digest, OLDEST_EDIT_S)
            return False
        return await self._store.keep_first(self._name(incoming), digest, OLDEST_EDIT_S) != digest

    def _name(self, incoming: Incoming) -> str:
        # Only who wrote a message can edit it.
        who = incoming.message.address.person
        return f"text:{self._bot_id}:{incoming.place.chat}:{who}:{incoming.message_id}"


def _digest(incoming: Incoming) -> str:
    said = "\x1f".join((incoming.message.text, *(file.unique_id for file in incoming.files)))
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:32]
