"""What travels on the bus: where a message comes from, what it says, and the reply that goes back.

All models are frozen JSON; unknown fields are ignored, so old and new processes can share a stream.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import to_json

from hub.errors import FileProblem

CUT_MARK = " […]"
_PLAIN_PART = re.compile(r"-?[A-Za-z0-9_]+", re.ASCII)
MAX_ID_CHARS = 64


def conversation_id(connector: str, *parts: str) -> str:
    """Name a conversation so that it is safe in keys, paths and URLs.

    Args:
        connector: the channel's name, such as `telegram`.
        parts: what identifies the conversation there, such as bot id, chat id and topic.

    Returns: `[A-Za-z0-9_-]{1,64}`; the parts themselves where they are plain, else their digest.
    """
    readable = "-".join((connector, *parts))
    # One "-" may begin a part, as in a group's chat id; any other could make two conversations look alike.
    if len(readable) <= MAX_ID_CHARS and all(_PLAIN_PART.fullmatch(part) for part in parts):
        return readable
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=16)
    return f"{connector}-{digest.hexdigest()}"


def utc_now() -> datetime:
    """Return the time of this machine as an aware UTC datetime."""
    return datetime.now(UTC)


class Message(BaseModel):
    """Base of what crosses a process."""

    # An error may end up in a log, and what people write may not.
    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, use_attribute_docstrings=True
    )


class Address(Message):
    """Where a message came from and where its reply goes."""

    connector: str
    """Name of the connector: `telegram`, `email`, `web`, `api`."""
    account: str
    """Which of the operator's accounts: bot id, mailbox, site key or API key id."""
    chat: str
    """Chat id, mail address or visitor session: what the connector sends to."""
    thread: str = ""
    """Topic of a group or root Message-ID of a mail thread; empty where there is none."""
    person: str
    """Who wrote, as the channel knows them; memory and knowledge never cross it."""
    is_group: bool = False
    """Whether others read along: what is known of a person from elsewhere has no place there."""
    is_verified: bool = False
    """Whether the channel vouches that `person` wrote this."""


class Attachment(Message):
    """A file that came with a message, already turned into text."""

    name: str
    media_type: str
    size_bytes: int
    text: str
    problem: Literal[""] | FileProblem = ""
    """Why there is no text; the sender is told. Empty where there is some."""
    is_cut: bool = False
    """Whether the end of the text was left away."""


class PromptMessage(Message):
    """One message of a prompt that a client wrote itself."""

    role: Literal["system", "user", "assistant"]
    text: str


class Generation(Message):
    """What a client wants of a model itself, without the assistant's memory and documents."""

    model: str
    """Name in the registry, or a role."""
    messages: tuple[PromptMessage, ...] = ()
    prompt: str = ""
    """Continued as it stands when there are no messages."""
    max_tokens: int = 0
    """0: as many as `engine.max_answer_tokens`."""
    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str = ""
    json_schema: str = ""
    with_history: bool = False
    """Whether the conversation's earlier turns come before the messages."""
    use_cache: bool | None = None
    """Whether an answer may come from the cache; None: as the settings say, at temperature 0 only."""


class InboundMessage(Message):
    """One message of a person, as it lies on the inbound stream."""

    external_key: str
    """The channel's own id of this delivery; the same key is accepted once."""
    origin: str = ""
    """The channel's own id of the message within its conversation; what edits it names it again."""
    replaces: str = ""
    """The `origin` of the message whose new text this is: its turn is undone, and its answer is replaced in place."""
    conversation: str
    """Order is kept within it; made by `conversation_id`."""
    address: Address
    text: str
    """What the person wrote, normalised; a command keeps its slash: `/start`."""
    quoted: str = ""
    """Earlier text the message carries along (mail history, replied-to message): context of lower trust."""
    is_forwarded: bool = False
    """Whether somebody else wrote the text: it is answered, but tells nothing of the person."""
    attachments: tuple[Attachment, ...] = ()
    language: str = ""
    """BCP 47 tag where the channel tells it, or where it shows in the text."""
    received_at: AwareDatetime = Field(default_factory=utc_now)
    reply: dict[str, str] = Field(default_factory=dict)
    """What the connector itself needs to answer (message id, subject, references); nobody else reads it."""
    stream: bool = False
    """Whether the channel shows the text while it is generated."""
    model: str = ""
    """The model the assistant is to use for this message, a name of the registry or a role; empty: as is set."""
    generation: Generation | None = None
    """Set where the model itself is asked; the assistant takes no part then."""
    earlier: tuple[PromptMessage, ...] = ()
    """What was said before, where the client keeps its conversation itself; stands in for the history then."""
    spoken: str = ""
    """What an operator says in the assistant's place: it goes to the person as it stands, and nothing is answered."""
    is_refusable: bool = False
    """Whether a model that is too busy may refuse it, because its sender comes again by themselves; else it waits."""
    kept_s: int = 0
    """How long the turn is kept in the history of its conversation; 0: for good."""
    tier: str = ""
    """Tier of the API key; empty for the other channels."""
    trace: dict[str, str] = Field(default_factory=dict)
    """Where the trace of the message goes on: W3C `traceparent` and `tracestate`; empty where none is kept."""

    @property
    def question(self) -> str:
        """What was asked: the text, or the last words of what the model is to continue."""
        if self.text or self.generation is None:
            return self.text
        messages = self.generation.messages
        return messages[-1].text if messages else self.generation.prompt


def shortened(message: InboundMessage, limit_bytes: int) -> InboundMessage:
    """Cut what a message carries along, and at last its text, until its JSON has at most `limit_bytes`."""

    def excess() -> int:
        return len(message.model_dump_json().encode("utf-8", "replace")) - limit_bytes

    for part in ("quoted", "attachments", "text"):
        if (too_much := excess()) <= 0:
            break
        if part == "attachments":
            message = message.model_copy(update={"attachments": _cut_last(message.attachments, too_much)})
        else:
            text: str = getattr(message, part)
            message = message.model_copy(update={part: _cut(text, too_much)})
    return message


def _cut_last(attachments: tuple[Attachment, ...], bytes_less: int) -> tuple[Attachment, ...]:
    """Cut the texts of the last files first; a file that loses all of its text is named all the same."""
    kept = list(attachments)
    for at in reversed(range(len(kept))):
        if bytes_less <= 0:
            break
        before = len(kept[at].model_dump_json())
        text = _cut(kept[at].text, bytes_less)
        kept[at] = kept[at].model_copy(
            update={"text": text, "is_cut": True, "problem": kept[at].problem if text else "too_large"}
        )
        bytes_less -= before - len(kept[at].model_dump_json())
    return tuple(kept)


def _cut(text: str, bytes_less: int) -> str:
    # JSON writes some characters as up to six bytes for one, so bytes of JSON are counted, not of UTF-8.
    kept, size = len(text), 0
    while kept and size < bytes_less + len(CUT_MARK.encode()):
        kept -= 1
        size += len(to_json(text[kept])) - 2
    return text[:kept] + CUT_MARK if kept else ""


class Source(Message):
    """A passage an answer rests on, as it is shown to the reader."""

    number: int
    """1 for the first; the answer refers to it as `[1]`."""
    title: str
    location: str
    """Path or URL of the document, relative to where it was added from."""
    heading: str = ""
    quote: str
    """The sentences of the passage that carry the answer."""
    score: float
    """Cosine similarity between question and passage, -1 to 1."""
    version: str = ""
    """Content hash of the document when it was cited; empty for a file that came with the message."""
    state: Literal["", "current", "changed", "gone"] = ""
    """Whether the document still is what was cited, as of when a turn is read; empty where nobody looked."""


class Usage(Message):
    """What an answer cost."""

    model: str
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompt that the model still knew."""
    finish: Literal["stop", "length"] = "stop"
    processing_s: float = 0.0
    """From the beginning of the turn to its commit."""
    from_cache: bool = False
    """Whether the whole answer came from the response cache."""


class Course(Message):
    """Where the time of a message went until its reply was written, in milliseconds, and what that took."""

    received_at: AwareDatetime
    attempts: int = 1
    """How often the turn was begun."""
    queue_ms: float = 0.0
    """From its arrival to the beginning of the attempt that ended it."""
    recall_ms: float = 0.0
    retrieve_ms: float = 0.0
    first_token_ms: float = 0.0
    """Part of `generate_ms`, which is part of `turn_ms` like the others."""
    generate_ms: float = 0.0
    check_ms: float = 0.0
    turn_ms: float = 0.0
    model: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0


def reply_id_of(turn: str) -> str:
    """Name the reply of a turn: the same for every attempt, so that a peer can be asked whether it has it already."""
    return f"{turn}:0"


class OutboundMessage(Message):
    """One reply, as it lies on the outbound stream of its connector."""

    reply_id: str
    """`<turn>:<n>`; the same for every attempt to send it."""
    turn: str
    """Entry id of the inbound message this answers."""
    replaces: str = ""
    """The turn whose reply this one takes the place of, because its message was edited."""
    conversation: str
    address: Address
    kind: Literal["answer", "notice", "error", "cancelled"] = "answer"
    """`notice`: the hub speaks, not the model; `error`: the message could not be answered; `cancelled`: the turn was
    stopped and undone, what was shown of it is taken back and nothing is sent."""
    code: str = ""
    """Of an `error`: a stable word that programs compare; empty where there is none for it."""
    retry_after_s: int = 0
    """Of an `error`: the seconds after which the same may be asked again; 0 where nobody knows."""
    text: str
    """Markdown; sources are not part of it, each connector shows them its own way."""
    sources: tuple[Source, ...] = ()
    reply: dict[str, str] = Field(default_factory=dict)
    """Handed through from the inbound message."""
    usage: Usage | None = None
    question: str = ""
    """What the person wrote; a mail reply quotes it."""
    created_at: AwareDatetime = Field(default_factory=utc_now)
    course: Course | None = None
    """None in replies of earlier versions."""
    trace: dict[str, str] = Field(default_factory=dict)
    """Where the trace of the message goes on."""


FoundBy = Literal["rules", "model", "person", "operator"]
"""Who found a fact; `person`: they corrected it themselves; `operator`: whoever runs the hub did."""


class FactChange(Message):
    """What a turn did to one fact about its person."""

    key: str
    """Kind of the fact, such as `name` or `favourite colour`."""
    text: str = ""
    """A sentence about the user; empty: the fact was forgotten."""
    quote: str = ""
    """The words it rests on, as they stand in the message."""
    found_by: FoundBy = "rules"


class Turn(Message):
    """One exchange as the conversation's history keeps it."""

    turn: str
    address: Address | None = None
    """Who asked, and where; in a group one row of the history is one person's. None in rows of earlier versions."""
    question: str
    answer: str
    kind: Literal["answer", "notice", "error"] = "answer"
    code: str = ""
    sources: tuple[Source, ...] = ()
    usage: Usage | None = None
    who: str = ""
    """Of a conversation that several people share: who asked, as `principal_of` names them."""
    facts: tuple[FactChange, ...] = ()
    """What was learned of the person, or forgotten, in this turn."""
    asked_at: AwareDatetime
    answered_at: AwareDatetime


class Envelope(Message):
    """What tells whose a message or a reply is; the rest of it is not read."""

    conversation: str = ""
    turn: str = ""
    external_key: str = ""
    address: Address | None = None


def envelope_of(body: bytes) -> Envelope:
    """Read whose a body is; an empty envelope where it holds no message."""
    try:
        return Envelope.model_validate_json(body)
    except ValueError:
        return Envelope()
