"""Bodies, queries and answers of the API; what clients send is checked strictly, unknown fields are refused."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hub.api.replies import Outcome
from hub.messages import Address, FactChange, Source, Turn
from hub.text import normalise

MAX_QUERY_CHARS = 1_000
MAX_RESULTS = 20

SessionId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}\z",
        # What JSON Schema calls the end of a text is no newline before it.
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,64}$"},
    ),
]


def _digits(value: object) -> object:
    # A query holds text only; anything but plain digits stays text and is refused.
    return (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
        else value
    )


def checked_text(text: str, max_chars: int) -> str:
    """Return what a person wrote, normalised; raises what pydantic makes a field's error of."""
    text = normalise(text).strip()
    if not text:
        raise PydanticCustomError("no_text", "there is no text in it")
    # Composing can make text longer than it came.
    if len(text) > max_chars:
        raise PydanticCustomError("too_long", "there is too much text in it")
    return text


DIGITS = BeforeValidator(_digits)
"""Of a number in a query; stands behind its limits, so that the API's document knows them."""


class Asked(BaseModel):
    """Base of what clients send."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


def such_as(*examples: dict[str, JsonValue], **more: JsonValue) -> ConfigDict:
    """Give a model examples of what it reads, which the API's document shows, and further words of JSON Schema."""
    return ConfigDict(json_schema_extra={"examples": list(examples), **more})


class Given(BaseModel):
    """Base of what clients are given."""

    model_config = ConfigDict(use_attribute_docstrings=True)


YesNo = Literal["true", "false"]
"""As a query writes it."""


def is_yes(word: YesNo | None) -> bool | None:
    """Read it; None where nothing was said."""
    return None if word is None else word == "true"


class NoQuery(Asked):
    """A route without parameters."""


class HistoryQuery(Asked):
    """Which session's turns."""

    session_id: SessionId
    last: Annotated[int, Field(ge=1, le=200), DIGITS] = 50


class SearchQuery(Asked):
    """What to look for in the documents."""

    q: Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARS)]
    k: Annotated[int, Field(ge=1, le=MAX_RESULTS), DIGITS] = 5
    """How many passages."""

    @field_validator("q")
    @classmethod
    def _normalised(cls, query: str) -> str:
        return checked_text(query, MAX_QUERY_CHARS)


class GenerateKeyQuery(Asked):
    """Which tier the new key is to have."""

    tier: Annotated[str, Field(min_length=1, max_length=64)] = "free"


class UsageAnswer(Given):
    """What an answer cost."""

    model: str
    """Name of the model that wrote it."""
    prompt_tokens: int
    answer_tokens: int
    cached_tokens: int
    """Tokens of the prompt that the model still knew."""
    finish: Literal["stop", "length"]
    """The answer ended by itself, or at the largest number of tokens."""
    from_cache: bool


class ChatAnswer(Given):
    """The reply to one message."""

    response: str
    """Markdown; `[1]` refers to the source of that number."""
    kind: Literal["answer", "notice", "error", "cancelled"]
    sources: tuple[Source, ...]
    session_id: str
    turn: str
    model: str
    """Who answered: `hubbub`, or the model that was asked itself."""
    tokens_used: int
    """Of prompt and answer together."""
    processing_time: float
    """Seconds from the beginning of the turn to its end."""
    timestamp: AwareDatetime
    usage: UsageAnswer | None

    @classmethod
    def of(cls, outcome: Outcome, session_id: str, model: str) -> "ChatAnswer":
        """Make it from how the turn ended.

        Args:
            model: as the client named it; `hubbub` is named so, other models by their names in the registry.
        """
        cost = outcome.usage
        shown = UsageAnswer(**cost.model_dump(exclude={"processing_s"})) if cost else None
        return cls(
            response=outcome.text,
            kind=outcome.kind,
            sources=outcome.sources,
            session_id=session_id,
            turn=outcome.turn,
            model=cost.model if cost and model != "hubbub" else model,
            tokens_used=cost.prompt_tokens + cost.answer_tokens if cost else 0,
            processing_time=round(cost.processing_s, 6) if cost else 0.0,
            timestamp=outcome.at,
            usage=shown,
        )


class ShownTurn(Turn):
    """One turn as a client is shown it: without what the hub itself needs of it."""

    address: Address | None = Field(default=None, exclude=True)
    facts: tuple[FactChange, ...] = Field(default=(), exclude=True)


class HistoryAnswer(Given):
    """The latest turns of a session, oldest first."""

    session_id: str
    turns: Sequence[ShownTurn]


class SearchHit(Given):
    """One passage."""

    model_config = ConfigDict(extra="allow")

    source: str
    """Path or URL of the document."""
    title: str = ""
    heading: str = ""
    text: str
    score: float


class SearchAnswer(Given):
    """Passages, best first."""

    results: Sequence[SearchHit]
    from_cache: bool = False
    """Whether the same was asked before, and nothing has changed since."""


class CacheAccount(Given):
    """The look-ups of one cache, since Redis' data began."""

    lookups: int
    hits: int
    misses: int
    consistent: bool
    """Whether hits and misses add up to the look-ups."""


class CacheAccountingAnswer(Given):
    """The caches by name."""

    caches: Mapping[str, CacheAccount]


FilePath = Annotated[str, Field(min_length=1, max_length=400)]


class ReviewRequest(Asked):
    """What is under review: words about it, its changed files, or both."""

    model_config = such_as(
        {"query": "Invalidate the token cache", "files": ["src/cache.py"], "max_results": 5},
        anyOf=[
            {"required": ["query"], "properties": {"query": {"minLength": 1}}},
            {"required": ["files"], "properties": {"files": {"minItems": 1}}},
        ],
    )

    query: Annotated[str, Field(max_length=MAX_QUERY_CHARS)] = ""
    """What the change is about."""
    files: Annotated[list[FilePath], Field(max_length=50)] = []
    """Paths of changed files, relative to their repository."""
    repositories: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=20)
    ] = []
    """Whose code and documents are looked at; none, or `all`, means every one."""
    max_results: Annotated[int | None, Field(ge=1, le=50)] = None
    """References at most; never more than the setting `review.max_results`."""

    @field_validator("query")
    @classmethod
    def _normalised(cls, query: str) -> str:
        return checked_text(query, MAX_QUERY_CHARS) if query.strip() else ""

    @model_validator(mode="after")
    def _holds_something(self) -> "ReviewRequest":
        if not self.query and not self.files:
            raise PydanticCustomError("nothing_asked", "it needs a query or changed files")
        return self


class ReviewAreas(Given):
    """What deserves a look, by kind."""

    files: Sequence[str] = ()
    symbols: Sequence[str] = ()
    docs: Sequence[str] = ()


class ReviewReference(Given):
    """A place in the ingested code or documents that bears on the change."""

    repository: str
    file_path: str
    summary: str
    """The lines that matter, on one line."""
    score: float
    """0 to 1: how near it is to what was asked."""
    kind: Literal["code", "doc"]
    heading: str = ""
    symbols: Sequence[str] = ()
    """Symbols of the changed files that it names."""
    version: str = ""
    """Content hash of the file that was ingested."""
    url: str | None = None
    """Where it can be read, for files that were fetched from an address."""


class ReviewAnswer(Given):
    """What the ingested repositories say about a change; empty where nobody answers in time."""

    enabled: bool
    degraded: bool = False
    """Whether it is empty because nobody answered."""
    focus_areas: Sequence[str] = ()
    areas: ReviewAreas = ReviewAreas()
    references: Sequence[ReviewReference] = ()


class GenerateKeyAnswer(Given):
    """A new key; its text is never shown again."""

    api_key: str
    tier: str
    limit: int
    """Requests per window."""
    window: int
    """Seconds."""


class HealthAnswer(Given):
    """Whether the hub works, as far as anybody may know."""

    status: Literal["ok", "degraded"]
    redis: Literal["up", "down"]
    engine: Literal["up", "down"]


class DeltaEvent(Given):
    """Text that was generated."""

    turn: str
    offset: int
    """Code points that came before."""
    text: str


class TurnStarted(Given):
    """The message was stored and will be answered."""

    turn: str
    session_id: str


class WaitingEvent(Given):
    """Others come first."""

    turn: str
    wait_s: float
    """Estimated seconds until something is generated."""
