"""What one update means to the hub."""

from dataclasses import dataclass

from hub.messages import InboundMessage, Message


@dataclass(frozen=True, slots=True)
class Me:
    """The bot itself."""

    bot_id: int
    username: str


class Place(Message):
    """Where in Telegram something is shown."""

    chat: int
    topic: int | None
    private: bool


class RemoteFile(Message):
    """A file of a message, as it lies at Telegram."""

    kind: str
    """Telegram's word for it: `document`, `photo`, `voice`."""
    file_id: str
    unique_id: str
    """The same for the same content."""
    name: str
    media_type: str
    size_bytes: int = 0

    @property
    def is_document(self) -> bool:
        """Whether its content may be text."""
        return self.kind == "document"


class Incoming(Message):
    """A message for the bus; of an album, one piece of it."""

    message: InboundMessage
    place: Place
    message_id: int
    files: tuple[RemoteFile, ...] = ()
    album: str = ""
    """Telegram's id of the album it belongs to; empty for a message of its own."""
    is_addressed: bool = True
    """False for a piece of an album in a group that calls the bot in another piece, or not at all."""

    @property
    def is_edit(self) -> bool:
        """Whether an earlier message has been changed."""
        return bool(self.message.replaces)


@dataclass(frozen=True, slots=True)
class WithoutText:
    """A person sent something that cannot be read, without a word, and waits for an answer."""

    place: Place
    message_id: int
    language: str


@dataclass(frozen=True, slots=True)
class Moved:
    """A group became a supergroup and goes on under another id."""

    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Membership:
    """The bot was let into a chat, or has lost it."""

    chat: int
    is_member: bool
    at: int
    """Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """Somebody pressed a button below a message of the bot."""

    query_id: str
    key: str
    """External key of a message that it may become."""
    person: str
    language: str
    data: str
    place: Place | None
    """None where Telegram does not say which message it was."""
    message_id: int
    has_sources: bool
    """Whether the message has a button for its sources."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing for the hub; the reason is counted."""

    reason: str


Event = Incoming | WithoutText | Moved | Membership | Pressed | Ignored
