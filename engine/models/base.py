"""The contract of a chat model: a prompt in; its answer out, piece by piece, with what it cost."""

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a prompt; its text is data and can never close the message or open another."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model continues: messages that end with the question, or plain text."""

    messages: tuple[ChatMessage, ...] = ()
    shared: int = 0
    """How many of the first messages hold nobody's own text; what is computed of them serves everybody."""
    text: str = ""
    """Continued as it stands, without a chat template, when there are no messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """On whose behalf a model is asked."""

    audience: str = ""
    """Who may profit from what was computed: beyond the shared messages a prompt is matched with earlier ones of the
    same audience only. A conversation, or the key of a client."""
    person: str = ""
    """Who waits; people of one tier get equal shares of the model."""
    tier: str = ""
    weight: float = 1.0
    """Share of the tier against others, more than 0."""
    returns: bool = False
    """Whether a longer prompt of the same audience is likely to follow, so that what was computed is worth keeping."""


ANYBODY = Requester()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """How one answer is generated; what a model cannot do it refuses with ModelError."""

    max_tokens: int
    temperature: float = 0.0
    """0 always takes the likeliest token."""
    top_p: float = 0.95
    top_k: int = 40
    """0 looks at all tokens."""
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    """More than 1 makes tokens of the last 64 less likely."""
    seed: int = 0
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these; they are not part of the answer."""
    ignore_end: bool = False
    """Go on to `max_tokens` where the model would end; for measurements."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Pairs of a token id and what is added to its logit."""
    grammar: str = ""
    """GBNF with the rule `root`; the answer is a text of this language."""
    json_schema: str = ""
    """JSON Schema as JSON; the answer is a document of it. `{}` is any JSON object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The request does not start at once; may come again with a better estimate before the first text."""

    wait_s: float
    """Estimated seconds until the first text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of the answer: whole characters, never empty."""

    text: str
    tokens: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The last thing that comes."""

    reason: Literal["stop", "length"]
    """The model or a stop string ended the answer, or `max_tokens` did."""
    prompt_tokens: int
    answer_tokens: int
    cached_tokens: int = 0
    """Tokens of the prompt that were known from an earlier one."""


GenerateEvent = Waiting | Text | End


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What a loaded model does and has done since it was loaded."""

    memory_bytes: int = 0
    """Memory its process takes; 0 where it runs elsewhere."""
    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    steps: int = 0
    """Computations, each for all requests that could take part; 0 where another server computes."""
    step_requests: int = 0
    """Requests that took part in them, added up."""
    busy_s: float = 0.0
    """Time spent computing."""


class ChatModel(Protocol):
    """A model that continues a conversation; any number of requests at once."""

    name: str
    context_length: int
    """Tokens of prompt and answer together."""

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included; safe to call from the event loop."""

    def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Generate the assistant's next message: `Text` pieces, at last one `End`; `Waiting` only before the first text.

        Closing the iterator (or cancelling its task) stops the model before the next token.

        Raises:
            ContextWindowExceeded: prompt and `max_tokens` do not fit.
            OptionRefused: the model cannot do what an option asks.
            ModelError: the model failed; nothing else it runs is harmed.
        """

    async def statistics(self) -> ModelStatistics:
        """Tell what it does."""

    async def close(self) -> None:
        """Free the model's memory once running answers have ended."""


@runtime_checkable
class Forgetting(Protocol):
    """A model that holds what it has computed of earlier prompts for those who go on with them."""

    async def forget(self, audiences: Collection[str]) -> None:
        """Let go of what is held for audiences alone; what everybody shares stays.

        Raises: ModelError: the model failed, and holds nothing any more.
        """


class ModelProvider(Protocol):
    """Where loaded models come from."""

    def use(self, name: str) -> AbstractAsyncContextManager[ChatModel]:
        """Give a model by its name in the registry or by a role; it stays loaded while the block lasts.

        Raises:
            UnknownModel: there is no such name.
            ModelError: it could not be loaded.
        """
