"""Several messages sent as one album become one turn.

Telegram delivers the updates of a chat one after the other, each only when the one before was confirmed, so the pieces
of an album cannot wait for each other unconfirmed. Each is confirmed when it lies in the store, which is as durable as the
stream; a process that dies in between leaves the pieces to the next one.

Source: https://github.com/tdlib/telegram-bot-api, WebhookActor.cpp, `send_update` and `drop_event`.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence

import structlog
from pydantic import ValidationError

from connectors.store import Store
from connectors.telegram.events import Incoming
from connectors.telegram.ports import Quarantine
from hub.errors import BusError, BusFull
from hub.messages import Message

log = structlog.get_logger(__name__)

GATHER_S = 2.0
"""An album is whole so long after its last piece."""
KEPT_S = 48 * 3600.0
"""How long it is known what an album held: as long as its pieces can come again or be edited."""
RETRY_S = 2.0

PIECES = ":pieces"
"""Names of sets of pieces end so."""
LOOK_EVERY_S = 30.0
"""How soon a process gathers what another one has left."""

HandIn = Callable[[Incoming], Awaitable[bool]]
"""Publish a message; tells whether it was. Raises: BusError: it was not stored."""


class Album(Message):
    """The pieces of one turn, in the order in which they were sent."""

    pieces: tuple[Incoming, ...]

    @property
    def ids(self) -> frozenset[int]:
        """Return the message ids of the pieces."""
        return frozenset(piece.message_id for piece in self.pieces)


class Albums:
    """Gathers the pieces of albums; all processes of the connector share one store.

    Args:
        hand_in: publishes an album that is whole.
        quarantine: is told of pieces that nobody can read.
    """

    def __init__(self, bot_id: int, store: Store, hand_in: HandIn, quarantine: Quarantine) -> None:
        self._index = f"albums:{bot_id}"
        self._store = store
        self._hand_in = hand_in
        self._quarantine = quarantine
        self._looking: asyncio.Task[None] | None = None
        self._due: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def add(self, piece: Incoming) -> None:
        """Keep a piece; when this returns, it can be confirmed.

        Raises: BusError: it was not stored.
        """
        name = _name(piece)
        await self._store.add(self._pieces(name), piece.model_dump_json())
        await self._store.add(self._index, name)
        self._await_more(name)

    async def settle(self, following: Incoming) -> None:
        """Publish the albums that somebody has sent before another message, which must not overtake them.

        A piece does not end the album it belongs to, nor does what others write in between.

        Raises: BusError: one was not stored.
        """
        goes_on = _name(following) if following.album and not following.is_edit else ""
        for name in await self._store.members(self._index):
            if name.startswith(_sender(following)) and name != goes_on:
                await self._finish(name)

    async def resume(self) -> None:
        """Gather on what an earlier process has left, now and from time to time: another one may end at any moment.

        Raises: BusError: the store cannot be reached.
        """
        await self._look()
        self._looking = asyncio.create_task(self._look_again(), name="albums")

    async def _look(self) -> None:
        for name in await self._store.members(self._index):
            if name not in self._tasks:
                self._await_more(name)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except BusError as error:
                log.warning("albums_not_looked_at", reason=str(error))

    async def edited(self, edit: Incoming) -> tuple[Incoming, Album | None]:
        """Put an edited piece into its album.

        Returns: the message to publish and, where its album is known, the album as it is then; the edit alone otherwise.
            The message has no `replaces` when the edit changes nothing.
        Raises: BusError: the store cannot be reached.
        """
        _, album = await self._holding(edit)
        if album is None:
            return edit, None
        pieces = [edit if piece.message_id == edit.message_id else piece for piece in album.pieces]
        same = all(
            (old.message.text, old.files) == (new.message.text, new.files)
            for old, new in zip(album.pieces, pieces, strict=True)
        )
        whole = joined(pieces, edit.message.external_key)
        message = whole.message.model_copy(
            update={
                "replaces": "" if same else whole.message.origin,
                "received_at": edit.message.received_at,
                "stream": False,
            }
        )
        return whole.model_copy(update={"message": message}), Album(pieces=tuple(pieces))

    async def keep(self, edit: Incoming, album: Album) -> None:
        """Remember an album as it is after an edit that was published.

        Raises: BusError: it was not stored.
        """
        key, _ = await self._holding(edit)
        await self._store.set(key, album.model_dump_json(), KEPT_S)

    async def close(self) -> None:
        """Stop gathering; what was gathered stays in the store."""
        tasks = [*self._tasks.values(), *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._due.clear()

    async def _holding(self, piece: Incoming) -> tuple[str, Album | None]:
        """Return the turn that a piece became a part of, and where it is kept; None where it did not."""
        for number in itertools.count():
            key = self._turn(_name(piece), number)
            if not piece.album or (kept := await self._store.get(key)) is None:
                break
            album = Album.model_validate_json(kept)
            if piece.message_id in album.ids:
                return key, album
        return "", None

    def _pieces(self, name: str) -> str:
        return f"{self._index}:{name}{PIECES}"

    def _turn(self, name: str, number: int) -> str:
        return f"{self._index}:{name}:turn:{number}"

    def _await_more(self, name: str) -> None:
        self._due[name] = asyncio.get_running_loop().time() + GATHER_S
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(self._gather(name), name=f"album {name}")

    async def _gather(self, name: str) -> None:
        clock = asyncio.get_running_loop().time
        try:
            while (due := self._due.get(name)) is not None:
                if (left_s := due - clock()) > 0:
                    await asyncio.sleep(left_s)
                    continue
                await self._finish_at_last(name)
                # A piece that came meanwhile has moved the time.
                if self._due.get(name) == due:
                    del self._due[name]
        except Exception:
            # The pieces stay in the store; whoever starts next gathers on.
            log.exception("album_failed", album=name)
        finally:
            self._tasks.pop(name, None)

    async def _finish_at_last(self, name: str) -> None:
        while True:
            try:
                await self._finish(name)
                return
            except BusError as error:
                wait_s = error.retry_after_s if isinstance(error, BusFull) else RETRY_S
                log.warning("album_not_published", reason=str(error), retry_in_s=wait_s)
                await asyncio.sleep(wait_s)

    async def _finish(self, name: str) -> None:
        """Publish what was gathered of an album; what comes late becomes a turn of its own.

        Two that do this at once do the same: what a turn holds is decided once, and its key is accepted once.
        """
        stored = await self._store.members(self._pieces(name))
        rest = await self._by_id(stored)
        if not await self._is_for_the_bot(name, rest):
            rest.clear()
        for number in itertools.count():
            if not rest:
                break
            album = await self._frozen(name, number, rest)
            # Pieces that are gone from the store were published before.
            if album.ids <= rest.keys() and not (number and _says_nothing(album)):
                await self._hand_in(joined(album.pieces, _key(album.pieces[0], number)))
            for message_id in album.ids:
                rest.pop(message_id, None)
        for piece in stored:
            await self._store.discard(self._pieces(name), piece)
        await self._store.discard(self._index, name)
        if await self._store.members(self._pieces(name)):
            await self._store.add(self._index, name)
            self._await_more(name)

    async def _is_for_the_bot(self, name: str, pieces: dict[int, Incoming]) -> bool:
        if any(piece.is_addressed for piece in pieces.values()):
            return True
        return bool(pieces) and await self._store.get(self._turn(name, 0)) is not None

    async def _by_id(self, stored: Sequence[str]) -> dict[int, Incoming]:
        pieces: dict[int, Incoming] = {}
        for text in stored:
            try:
                piece = Incoming.model_validate_json(text)
            except ValidationError as error:
                reason = f"a piece of an album has {error.error_count()} faults"
                log.warning("album_piece_unreadable", reason=reason)
                await self._quarantine("telegram", reason, text.encode("utf-8", "replace"))
            else:
                pieces.setdefault(piece.message_id, piece)
        return pieces

    async def _frozen(self, name: str, number: int, rest: dict[int, Incoming]) -> Album:
        """Decide once, for all processes and attempts, what one turn of an album holds."""
        album = Album(pieces=tuple(rest[message_id] for message_id in sorted(rest)))
        kept = await self._store.keep_first(self._turn(name, number), album.model_dump_json(), KEPT_S)
        return Album.model_validate_json(kept)


def joined(pieces: Sequence[Incoming], key: str) -> Incoming:
    """Return the pieces of an album as one message: captions in their order, then all files."""
    first = next((piece for piece in pieces if piece.is_addressed), pieces[0])
    texts = [piece.message.text for piece in pieces if piece.message.text]
    message = first.message.model_copy(
        update={
            "external_key": key,
            "origin": pieces[0].message.origin,
            "text": "\n\n".join(texts),
            "quoted": next((piece.message.quoted for piece in pieces if piece.message.quoted), ""),
        }
    )
    files = tuple(file for piece in pieces for file in piece.files)
    return first.model_copy(
        update={"message": message, "message_id": pieces[0].message_id, "files": files, "album": ""}
    )


def _sender(message: Incoming) -> str:
    return f"{message.place.chat}:{message.message.address.person}:"


def _name(piece: Incoming) -> str:
    return f"{_sender(piece)}{piece.album}"


def _key(piece: Incoming, number: int) -> str:
    late = f":{number}" if number else ""
    return f"tg:{piece.message.address.account}:album:{piece.place.chat}:{piece.album}{late}"


def _says_nothing(album: Album) -> bool:
    """Tell whether a late part of an album, whose first part was answered, has neither a word nor a document."""
    return not any(
        piece.message.text or any(file.is_document for file in piece.files) for piece in album.pieces
    )
