"""Facts about turns and deliveries, written in the same step as the commit that made them true.

The worker and the senders write them by `event_effect(keys, event.fields())`; metrics and archive read them.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Judgement = Literal["up", "down", ""]
"""What a person thinks of an answer; empty where they take it back."""
MOST = 2**40
"""No count is larger; what would be one is a damaged event, and neither metrics nor the database could add it up."""
LATEST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""
Milliseconds = Annotated[float, Field(ge=0, le=LATEST_MS)]
Count = Annotated[int, Field(ge=0, le=MOST)]


class Event(BaseModel):
    """Base of what lies on the events stream: frozen, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def fields(self) -> dict[str, str | int | float]:
        """Return the fields of the stream entry; booleans as 0 and 1."""
        values = self.model_dump()
        return {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}


class TurnEvent(Event):
    """One message was answered or explained, or cancelled by its sender."""

    kind: Literal["turn"] = "turn"
    turn: str = ""
    connector: str
    route: str
    """How the answer came about, such as `knowledge`, `small_talk` or `command`; few different values."""
    kind_of_answer: Literal["answer", "notice", "error", "cancelled"] = "answer"
    queue_ms: Milliseconds
    """From its arrival to the beginning of the turn that ended it."""
    turn_ms: Milliseconds
    """From the beginning of that turn to its commit."""
    prompt_tokens: Count = 0
    answer_tokens: Count = 0
    model: str = ""
    """Name in the registry; empty when no model was asked."""
    cached_tokens: Count = 0
    """Tokens of the prompt that the model still knew from an earlier one."""
    attempts: Annotated[int, Field(ge=1, le=MOST)] = 1
    recall_ms: Milliseconds = 0.0
    retrieve_ms: Milliseconds = 0.0
    first_token_ms: Milliseconds = 0.0
    """From the start of the generation to the model's first token; 0 where no model was asked."""
    generate_ms: Milliseconds = 0.0
    check_ms: Milliseconds = 0.0
    code: str = ""
    """Of an error: one of a few words."""
    tier: str = ""
    """Of the API key; empty for other channels."""
    # What the archive needs. The texts are not here: it reads them from the history, so that this stream, which
    # nobody's erasure can rewrite entry by entry at little cost, holds no word of anybody and stays small, and what
    # was forgotten before it was archived is not archived at all.
    conversation: str = ""
    """Empty in events of earlier versions."""
    account: str = ""
    person: str = ""
    """As in the address of what they wrote."""
    identity: str = ""
    """Who that is as the channel vouches for them; empty where it does not."""
    is_group: bool = False
    asked_at_ms: Annotated[int, Field(ge=0, le=LATEST_MS)] = 0
    """When the message arrived, in milliseconds since 1970."""
    replaces: str = ""
    """The turn that was undone, because its message was edited."""
    forgets: Literal["", "conversation", "person"] = ""
    """Whose turns and facts are no longer to be remembered."""
    is_passing: bool = False
    """Whether the turn is kept for a while only, as a request that belongs to no conversation is."""
    flagged: Count = 0
    """Sentences of documents, attachments and quoted mail that addressed the model."""


class DeliveryEvent(Event):
    """One reply ended: it stands at its destination, was refused, or was given up."""

    kind: Literal["delivery"] = "delivery"
    turn: str = ""
    connector: str
    state: Literal["placed", "failed", "gave_up"]
    unclear: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Requests of it that were sent and never answered, because their sender died; each may stand there twice."""
    wait_ms: Milliseconds
    """From the reply's creation to this end."""
    conversation: str = ""
    """Empty in events of earlier versions."""


class FeedbackEvent(Event):
    """Somebody has judged an answer, or changed their mind."""

    kind: Literal["feedback"] = "feedback"
    turn: str
    connector: str
    conversation: str
    person: str
    """As in the address of what they write."""
    value: Judgement


AnyEvent = TurnEvent | DeliveryEvent | FeedbackEvent
_ANY: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="kind")])


def parse_event(fields: Mapping[bytes, bytes]) -> AnyEvent | None:
    """Read a stream entry; None when it is of a kind this version does not know, or damaged."""
    texts = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()
    }
    try:
        return _ANY.validate_python(texts)
    except ValidationError:
        return None
