"""What clients send to be answered: a prompt or messages, by the assistant or by a model itself."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from hub.api.schemas import Asked, SessionId, checked_text, such_as
from hub.messages import Generation, PromptMessage
from hub.text import normalise

ASSISTANT = "hubbub"
"""The model that is the assistant itself, with memory, documents and sources."""
MAX_PROMPT_CHARS = 8_000
"""Of a message to the assistant. Any text of this length, escaped, stays below what an entry of the bus may hold."""
MAX_MESSAGES = 1_000
MAX_EARLIER_CHARS = 16_000
"""How much of a conversation that a client keeps itself the assistant is shown, counted from its end."""
MAX_MODEL_CHARS = 200
MAX_TOKENS = 1_000_000
MAX_STOPS = 16

_CONTROLS = dict.fromkeys(code for code in range(32) if chr(code) not in "\t\n\r") | {0x7F: None}

MaxTokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Temperature = Annotated[float, Field(ge=0, le=2)]
TopP = Annotated[float, Field(gt=0, le=1)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]


def _token_id(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise PydanticCustomError("token_id", "token ids are written as digits")
    return text


def checked_stops(stop: str | list[str] | None) -> str | list[str] | None:
    """Return the strings that end an answer, unless they are too many."""
    if isinstance(stop, list) and len(stop) > MAX_STOPS:
        raise PydanticCustomError("too_many", "at most 16 strings may end an answer")
    return stop


Stops = Annotated[Stop | list[Stop] | None, AfterValidator(checked_stops)]
TokenId = Annotated[str, AfterValidator(_token_id)]
LogitBias = Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=300)]


def for_assistant(model: str) -> bool:
    """Tell whether a name means the assistant."""
    return model in ("", ASSISTANT)


def without_controls(text: str) -> str:
    """Return the text as it is, but for the control characters nobody writes."""
    return text.translate(_CONTROLS)


class Said(Asked):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Asked):
    """How a model writes; the assistant writes as the settings say."""

    max_tokens: MaxTokens | None = None
    temperature: Temperature = 0.0
    top_p: TopP = 0.95
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 40
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0
    seed: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 0
    stop: Stops = None
    logit_bias: LogitBias | None = None
    """Token ids to what is added to their logits."""
    grammar: Annotated[str, Field(max_length=20_000)] = ""
    json_schema: dict[str, Any] | None = None
    """The answer is a JSON document of this schema; `{}` is any JSON object."""
    use_cache: bool | None = None
    """Whether an answer that was given before may be given again."""

    def generation(self, model: str, messages: Sequence[PromptMessage], prompt: str) -> Generation:
        """Ask a model for an answer written so."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Generation(
            model=model,
            messages=tuple(messages),
            prompt=prompt,
            max_tokens=self.max_tokens or 0,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            seed=self.seed,
            stop=tuple(stop),
            logit_bias=tuple((int(token), bias) for token, bias in (self.logit_bias or {}).items()),
            grammar=self.grammar,
            json_schema="" if self.json_schema is None else orjson.dumps(self.json_schema).decode(),
            use_cache=self.use_cache,
        )

    def shapes_answer(self) -> bool:
        """Tell whether the answer is to have a form that the assistant cannot give it."""
        return bool(self.stop or self.logit_bias or self.grammar) or self.json_schema is not None


class AskRequest(Sampling):
    """Something to be answered: a prompt, or messages.

    The assistant (`model` is `hubbub`, or left out) writes as the settings say and takes neither `raw` nor what shapes an answer. Its
    question has something to read in it, and of messages it is the last one.
    """

    model_config = such_as(
        {"prompt": "Where is my data kept?", "session_id": "s1"},
        {"model": "general", "prompt": "Name three rivers.", "max_tokens": 60, "temperature": 0.7},
        {"model": "general", "messages": [{"role": "user", "content": "Name three rivers."}], "stream": True},
        oneOf=[
            {"required": [given], "properties": {given: {"not": {"type": "null"}}, other: {"type": "null"}}}
            for given, other in (("prompt", "messages"), ("messages", "prompt"))
        ],
    )

    # Before the prompt, whose check asks for it.
    model: Annotated[str, Field(max_length=MAX_MODEL_CHARS)] = ""
    """`hubbub` or nothing: the assistant; any other name or role: that model itself."""
    prompt: Annotated[str, Field(min_length=1)] | None = None
    messages: Annotated[list[Said], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    session_id: SessionId | None = None
    """Conversation it belongs to."""
    raw: bool = False
    """Continue the prompt as it stands, without the model's chat template."""
    stream: bool = False
    """Answer by server-sent events while the text is generated."""

    @field_validator("prompt")
    @classmethod
    def _checked(cls, prompt: str | None, info: ValidationInfo) -> str | None:
        if prompt is None:
            return None
        if for_assistant(info.data.get("model", "")):
            return checked_text(prompt, MAX_PROMPT_CHARS)
        if not (text := without_controls(prompt)):
            raise PydanticCustomError("no_text", "there is no text in it")
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise PydanticCustomError("one_of", "either prompt or messages is needed")
        if self.raw and (self.prompt is None or self.session_id is not None):
            raise PydanticCustomError("raw", "raw goes with a prompt alone, outside of sessions")
        if not for_assistant(self.model):
            return self
        if self.raw or self.shapes_answer():
            raise PydanticCustomError(
                "needs_model", "raw, stop, logit_bias, grammar and json_schema need a model of their own"
            )
        if self.messages is not None:
            question_of(self.messages)
        return self

    @property
    def question(self) -> str:
        """What the assistant is to answer."""
        return self.prompt or question_of(self.messages or [])

    @property
    def earlier(self) -> tuple[PromptMessage, ...]:
        """What was said before, for the assistant."""
        return earlier_of(self.messages or [])

    def direct(self) -> Generation | None:
        """Return what is asked of the model itself; None where the assistant is asked."""
        if for_assistant(self.model):
            return None
        if self.raw:
            return self.generation(self.model, (), self.prompt or "")
        said = self.messages or [Said(role="user", content=self.prompt or "")]
        return self.generation(self.model, prompt_messages(said), "")


def prompt_messages(said: Sequence[Said]) -> list[PromptMessage]:
    """Turn what a client wrote into messages of a prompt."""
    return [PromptMessage(role=one.role, text=without_controls(one.content)) for one in said]


def question_of(said: Sequence[Said]) -> str:
    """Return the question that messages to the assistant end with."""
    if said[-1].role != "user":
        raise PydanticCustomError("no_question", "the last message must be the user's")
    return checked_text(said[-1].content, MAX_PROMPT_CHARS)


def earlier_of(said: Sequence[Said]) -> tuple[PromptMessage, ...]:
    """Return the latest of what was said before the question, as far as the assistant looks back."""
    kept: list[PromptMessage] = []
    left = MAX_EARLIER_CHARS
    for one in reversed(said[:-1]):
        text = normalise(one.content)
        left -= len(text)
        if left < 0:
            break
        kept.append(PromptMessage(role=one.role, text=text))
    return tuple(reversed(kept))
