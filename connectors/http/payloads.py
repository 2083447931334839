"""What travels: the message a program hands in, and the reply it is called with."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from hub.messages import Address, InboundMessage, OutboundMessage, conversation_id
from hub.text import language_tag, normalise
from hub.traces.intake import caller_trace

MAX_TEXT_CHARS = 8_000
Id = Annotated[str, Field(min_length=1, max_length=128)]


class IncomingMessage(BaseModel):
    """One message of a person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id
    """The program's own id of it; the same id is taken once."""
    conversation: Id
    """Messages of one conversation are answered in order."""
    person: Id
    """Who wrote; the program vouches for it."""
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    quoted: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    """What the message replies to."""
    language: Annotated[str, Field(max_length=35)] = ""
    is_group: bool = False
    """Whether several people write and read in this conversation."""
    replaces: Annotated[str, Field(max_length=128)] = ""
    """Id of the message whose new text this is."""

    def inbound(self, connector: str) -> InboundMessage:
        """Return it as it goes onto the bus."""
        conversation = conversation_id(connector, self.conversation)
        return InboundMessage(
            external_key=f"{connector}:{self.id}",
            origin=self.replaces or self.id,
            replaces=self.replaces,
            conversation=conversation,
            address=Address(
                connector=connector,
                account=connector,
                chat=self.conversation,
                person=self.person,
                is_group=self.is_group,
                is_verified=True,
            ),
            text=normalise(self.text).strip(),
            quoted=normalise(self.quoted).strip(),
            language=language_tag(self.language),
            reply={"id": self.id},
            # The request was signed: who sent it may go on with a trace of their own.
            trace=caller_trace(),
        )


class OutgoingSource(BaseModel):
    """A passage the reply rests on."""

    number: int
    title: str
    location: str
    heading: str
    quote: str


class OutgoingReply(BaseModel):
    """One reply."""

    id: str
    """The same for every attempt to deliver it."""
    in_reply_to: str
    """Id of the message."""
    conversation: str
    person: str
    kind: str
    """`answer`, or `notice` and `error`, where the hub speaks and not the model."""
    text: str
    """Markdown; `[1]` refers to the first source."""
    sources: tuple[OutgoingSource, ...]
    replaces: bool
    """Whether it takes the place of an earlier reply to the same message."""

    @classmethod
    def of(cls, message: OutboundMessage) -> "OutgoingReply":
        """Say what goes to the program."""
        return cls(
            id=message.reply_id,
            in_reply_to=message.reply.get("id", ""),
            conversation=message.address.chat,
            person=message.address.person,
            kind=message.kind,
            text=message.text,
            sources=tuple(
                OutgoingSource(
                    number=source.number,
                    title=source.title,
                    location=source.location,
                    heading=source.heading,
                    quote=source.quote,
                )
                for source in message.sources
            ),
            replaces=bool(message.replaces),
        )
