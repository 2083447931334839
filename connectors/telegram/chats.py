"""What became of chats: groups that go on under another id, and chats that the bot was put out of."""

import structlog

from connectors.store import Store
from connectors.telegram.events import Membership, Place
from connectors.telegram.updates import conversation_at

log = structlog.get_logger(__name__)

MAX_REMEMBERED = 1_000
CLOSED_S = 30 * 86_400.0
"""How long a chat is known to be lost; later Telegram itself says so once more."""
MAX_MOVES = 10
"""A group becomes a supergroup once; what moves on and on is no chat."""


class Chats:
    """Knows them in every process of the connector, and after a restart."""

    def __init__(self, bot_id: int, store: Store) -> None:
        self._bot_id = bot_id
        self._store = store
        self._moves: dict[str, int] = {}

    async def moved(self, old: int, new: int) -> None:
        """Remember that a chat has a new id.

        Raises: BusError: it was not stored.
        """
        if old == new:
            return
        log.info("chat_moved", chat=old, new_chat=new)
        await self._store.set(self._name("moved", old), str(new))
        await self._store.set(self._name("was", new), str(old))

    async def current(self, chat: int) -> int:
        """Return the id under which a chat goes on.

        Raises: BusError: the store cannot be reached.
        """
        return await self._follow("moved", chat)

    async def conversation(self, place: Place) -> str:
        """Name the conversation of a place: of a group that has moved, the one it had from the beginning.

        Raises: BusError: the store cannot be reached.
        """
        return conversation_at(self._bot_id, await self._follow("was", place.chat), place.topic)

    async def note(self, membership: Membership) -> None:
        """Remember whether the bot may write to a chat.

        Raises: BusError: it was not stored.
        """
        name = self._name("closed", membership.chat)
        if membership.is_member:
            await self._store.delete(name)
            return
        log.info("chat_closed", chat=membership.chat)
        await self._store.set(name, str(membership.at), CLOSED_S)

    async def is_closed(self, chat: int, asked_at: int) -> bool:
        """Tell whether the bot has lost a chat since somebody asked there, at a Unix time.

        Raises: BusError: the store cannot be reached.
        """
        closed_at = await self._store.get(self._name("closed", chat))
        # Telegram does not keep the order between messages and memberships, so the times decide.
        return closed_at is not None and int(closed_at) >= asked_at

    async def _follow(self, direction: str, chat: int) -> int:
        # A private chat has a positive id and never moves.
        for _ in range(MAX_MOVES if chat < 0 else 0):
            name = self._name(direction, chat)
            if name not in self._moves:
                found = await self._store.get(name)
                if found is None:
                    break
                if len(self._moves) >= MAX_REMEMBERED:
                    self._moves.pop(next(iter(self._moves)))
                self._moves[name] = int(found)
            chat = self._moves[name]
        return chat

    def _name(self, what: str, chat: int) -> str:
        return f"{what}:{self._bot_id}:{chat}"
