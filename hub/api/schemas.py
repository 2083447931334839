"""Bodies, queries and answers of the API; what clients send is checked strictly, unknown fields are refused."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from hub.messages import OutboundMessage, Source, Turn
from hub.text import normalise

MAX_PROMPT_CHARS = 8_000
"""Any text of this length, escaped, stays below what an entry of the bus may hold."""
MAX_QUERY_CHARS = 1_000
MAX_RESULTS = 20

SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}\z")]


def _digits(value: object) -> object:
    # A query holds text only; anything but plain digits stays text and is refused.
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
        else value
    )


def _text(text: str, max_chars: int) -> str:
    text = normalise(text).strip()
    if not text:
        raise PydanticCustomError("no_text", "there is no text in it")
    # Composing can make text longer than it came.
    if len(text) > max_chars:
        raise PydanticCustomError("too_long", "there is too much text in it")
    return text


QueryInt = Annotated[int, BeforeValidator(_digits)]


class Asked(BaseModel):
    """Base of what clients send."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class NoQuery(Asked):
    """A route without parameters."""


class GenerateRequest(Asked):
    """One message that belongs to no conversation."""

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
    stream: bool = False
    """Answer by server-sent events while the text is generated."""

    @field_validator("prompt")
    @classmethod
    def _normalised(cls, prompt: str) -> str:
        return _text(prompt, MAX_PROMPT_CHARS)


class ChatRequest(GenerateRequest):
    """One message of a person."""

    session_id: SessionId | None = None
    """Conversation it belongs to; a new one is made when it is left out."""


class HistoryQuery(Asked):
    """Which session's turns."""

    session_id: SessionId
    last: Annotated[QueryInt, Field(ge=1, le=200)] = 50


class SearchQuery(Asked):
    """What to look for in the documents."""

    q: Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARS)]
    k: Annotated[QueryInt, Field(ge=1, le=MAX_RESULTS)] = 5
    """How many passages."""

    @field_validator("q")
    @classmethod
    def _normalised(cls, query: str) -> str:
        return _text(query, MAX_QUERY_CHARS)


class GenerateKeyQuery(Asked):
    """Which tier the new key is to have."""

    tier: Annotated[str, Field(min_length=1, max_length=64)] = "free"


class ChatAnswer(BaseModel):
    """The reply to one message."""

    response: str
    """Markdown; `[1]` refers to the source of that number."""
    kind: Literal["answer", "notice", "error"]
    sources: tuple[Source, ...]
    session_id: str
    turn: str

    @classmethod
    def of_reply(cls, reply: OutboundMessage, session_id: str) -> "ChatAnswer":
        """Make it from the reply on the bus."""
        return cls(
            response=reply.text,
            kind=reply.kind,
            sources=reply.sources,
            session_id=session_id,
            turn=reply.turn,
        )

    @classmethod
    def of_turn(cls, turn: Turn, session_id: str) -> "ChatAnswer":
        """Make it from the conversation's history."""
        return cls(
            response=turn.answer,
            kind=turn.kind,
            sources=turn.sources,
            session_id=session_id,
            turn=turn.turn,
        )


class HistoryAnswer(BaseModel):
    """The latest turns of a session, oldest first."""

    session_id: str
    turns: Sequence[Turn]


class SearchHit(BaseModel):
    """One passage."""

    model_config = ConfigDict(extra="allow")

    source: str
    """Path or URL of the document."""
    title: str = ""
    heading: str = ""
    text: str
    score: float


class SearchAnswer(BaseModel):
    """Passages, best first."""

    results: Sequence[SearchHit]


class GenerateKeyAnswer(BaseModel):
    """A new key; its text is never shown again."""

    api_key: str
    tier: str
    limit: int
    """Requests per window."""
    window: int
    """Seconds."""


class HealthAnswer(BaseModel):
    """Whether the hub works, as far as anybody may know."""

    status: Literal["ok", "degraded"]
    redis: Literal["up", "down"]
    engine: Literal["up", "down"]


class DeltaEvent(BaseModel):
    """Text that was generated."""

    turn: str
    offset: int
    """Code points that came before."""
    text: str


class TurnStarted(BaseModel):
    """The message was stored and will be answered."""

    turn: str
    session_id: str
