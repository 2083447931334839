"""What goes into a turn beside the message, and what comes out of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, Protocol

from engine.asked import Asking
from engine.memory.style import Style
from engine.memory.summary import Summary
from hub.facts import Fact
from hub.messages import FactChange, InboundMessage, Source, Turn, Usage
from hub.traces import timed

Route = Literal[
    "command", "small_talk", "memory", "computed", "documents", "quote", "unknown", "model", "operator"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What is remembered of a conversation and its person."""

    turns: Sequence[Turn] = ()
    """Earlier turns, oldest first."""
    all_turns: Callable[[], Awaitable[Sequence[Turn]]] | None = None
    """Reads all turns that are kept of the person's conversations, oldest first; None where `turns` are all."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Key to sentence, as `learn_facts` makes them."""
    proofs: Mapping[str, Fact] = field(default_factory=dict)
    """The same facts with what each of them rests on."""
    style: Style = field(default_factory=Style)
    """How the person writes, and wants to be answered."""
    summary: Summary = field(default_factory=Summary)
    """What was asked and told before these turns."""
    preferences: Mapping[str, str] = field(default_factory=dict)
    """What was chosen for this conversation, such as its model."""
    stopped: int = 0
    """How many turns the message has cancelled, where it is `/stop`."""


@dataclass(slots=True, kw_only=True)
class TurnStats:
    """Where the time of a turn went."""

    model: str = ""
    route: Route = "unknown"
    retrieve_ms: float = 0.0
    """Search for passages and weighing of their statements."""
    first_token_ms: float = 0.0
    """From the start of the generation to the model's first token, which is shown once its sentence has passed the
    check; 0 where the model was not asked."""
    generate_ms: float = 0.0
    check_ms: float = 0.0
    total_ms: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompt that the model still knew."""
    answer_tokens: int = 0
    best_score: float = 0.0
    """Of the passages found, -1 to 1."""
    asked: list[Asking] = field(default_factory=list)
    """Requests to models, in their order."""
    chunks: list[int] = field(default_factory=list)
    """Ids of the chunks that the answer rests on."""
    fact_keys: list[str] = field(default_factory=list)
    """Keys of the remembered facts that the answer was given."""
    flagged: int = 0
    """Sentences of documents, attachments and quoted mail that address the model instead of the reader."""

    @contextmanager
    def retrieving(self) -> Iterator[None]:
        """Count the time of the block, and let it be a step of the turn's trace."""
        began = perf_counter()
        try:
            with timed("retrieve"):
                yield
        finally:
            self.retrieve_ms += (perf_counter() - began) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the assistant says to one message."""

    kind: Literal["answer", "notice", "error"]
    code: str = ""
    """Of an `error`: a stable word that programs compare."""
    text: str
    sources: tuple[Source, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """Newly learned about the person; each replaces what was known under its key."""
    proofs: Mapping[str, FactChange] = field(default_factory=dict)
    """The words that these facts rest on."""
    forgotten: tuple[str, ...] = ()
    """Keys of facts that the person wants to be forgotten, wherever they were told."""
    style: Mapping[str, str] = field(default_factory=dict)
    """Newly chosen by the person with `/style`."""
    preferences: Mapping[str, str] = field(default_factory=dict)
    """Newly chosen for the conversation; each replaces what was chosen under its key."""
    unanswered: tuple[str, ...] = ()
    """The questions of the message that nothing supports an answer to."""
    forget: Literal["", "conversation", "person"] = ""
    """Whose window, summary, facts and preferences are to be emptied; of a person also the facts told elsewhere."""
    usage: Usage | None = None
    stats: TurnStats


class TextSink(Protocol):
    """Where a person sees the text while it is generated; a turn adds only what stays."""

    async def add(self, text: str) -> None:
        """Show more text."""

    async def waiting(self, wait_s: float) -> None:
        """Show that the model is busy, and for how long by estimate; the next text takes it back."""

    async def reset(self) -> None:
        """Drop what was shown, because the turn is begun again; no turn does it to its own text."""


class Answers(Protocol):
    """What turns a message into an answer."""

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message, and show it as it grows."""
