"""Bodies of the routes below /v1; what cannot be done is refused by name, never left out in silence."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hub.api.requests import (
    MAX_MESSAGES,
    MAX_MODEL_CHARS,
    LogitBias,
    MaxTokens,
    Said,
    Sampling,
    Stops,
    Temperature,
    TopP,
    for_assistant,
    question_of,
)
from hub.api.schemas import Asked, such_as

MAX_PARTS = 100
_NOTHING = (None, False, 0, "", "none", "auto")


def _refused(value: Any) -> None:
    if value not in _NOTHING and value not in ([], {}):
        raise PydanticCustomError("not_supported", "this server does not support it")


NotSupported = Annotated[Any, AfterValidator(_refused)]
"""May be there as long as it asks for nothing."""
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_MODEL_CHARS)]


class TextPart(Asked):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessageParam(Asked):
    """A message; also one that this server gave before, with all that stood in it."""

    model_config = such_as(
        anyOf=[
            {"properties": {"role": {"const": "assistant"}}},
            {"required": ["content"], "properties": {"content": {"not": {"type": "null"}}}},
        ]
    )

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(max_length=MAX_PARTS)] | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    sources: Any = None
    annotations: Any = None
    refusal: NotSupported = None
    audio: NotSupported = None
    function_call: NotSupported = None
    tool_calls: NotSupported = None

    def said(self) -> Said:
        """Return it as a message to a model."""
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return Said(role="system" if self.role == "developer" else self.role, content=text)

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise PydanticCustomError("no_content", "a message needs content")
        return self


class StreamOptions(Asked):
    """What a stream tells beside the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchema(Asked):
    """A schema with its name."""

    name: Annotated[str, Field(max_length=200)]
    description: Annotated[str, Field(max_length=2000)] | None = None
    # The name is the protocol's; pydantic has a method of this name.
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Asked):
    """Which form the answer is to have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_document(self) -> dict[str, Any] | None:
        """Return the schema of the answer; None for free text."""
        if self.type == "text":
            return None
        return (self.json_schema.schema_ if self.json_schema else None) or {}

    @model_validator(mode="after")
    def _has_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise PydanticCustomError(
                "schema", "json_schema goes with the type json_schema, and only with it"
            )
        return self


class Shared(Asked):
    """What both kinds of completion take."""

    model: ModelName
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    max_tokens: MaxTokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stop: Stops = None
    seed: int | None = None
    logit_bias: LogitBias | None = None
    frequency_penalty: NotSupported = None
    presence_penalty: NotSupported = None
    logprobs: NotSupported = None
    # Whom and what a request is for changes nothing here.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    # Beyond OpenAI's own fields, by the client's `extra_body`.
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    grammar: Annotated[str, Field(max_length=20_000)] | None = None
    use_cache: bool | None = None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream is to end with what it cost."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def sampling(self) -> Sampling:
        """Return how the model is to write."""
        own = {
            name: value for name in Sampling.model_fields if (value := getattr(self, name, None)) is not None
        }
        if self.seed is not None:
            own["seed"] = self.seed & 0xFFFFFFFF
        return Sampling.model_validate(own)

    def _check_assistant(self) -> None:
        if for_assistant(self.model) and self.sampling().shapes_answer():
            raise PydanticCustomError(
                "needs_model", "stop, logit_bias, grammar and response_format need a model of their own"
            )


class ChatCompletionRequest(Shared):
    """Messages to the assistant (`hubbub`) or to a model."""

    model_config = such_as(
        {"model": "hubbub", "messages": [{"role": "user", "content": "Where is my data kept?"}]},
        {
            "model": "general",
            "messages": [{"role": "user", "content": "Name three rivers."}],
            "max_tokens": 40,
            "stream": True,
        },
    )

    messages: Annotated[list[ChatMessageParam], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: MaxTokens | None = None
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text"]] | None = None
    parallel_tool_calls: Any = None
    tools: NotSupported = None
    tool_choice: NotSupported = None
    functions: NotSupported = None
    function_call: NotSupported = None
    top_logprobs: NotSupported = None
    audio: NotSupported = None
    prediction: NotSupported = None
    reasoning_effort: NotSupported = None
    verbosity: NotSupported = None
    web_search_options: NotSupported = None
    moderation: NotSupported = None

    @property
    def said(self) -> list[Said]:
        """The messages, as text."""
        return [message.said() for message in self.messages]

    def sampling(self) -> Sampling:
        """Return how the model is to write."""
        own: dict[str, Any] = {}
        if self.max_completion_tokens is not None:
            own["max_tokens"] = self.max_completion_tokens
        if self.response_format is not None:
            own["json_schema"] = self.response_format.schema_document()
        return super().sampling().model_copy(update=own)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_assistant()
        if for_assistant(self.model):
            question_of(self.said)
        return self


class CompletionRequest(Shared):
    """A text that is continued as it stands."""

    model_config = such_as({"model": "general", "prompt": "The three longest rivers are", "max_tokens": 20})

    prompt: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1, max_length=1)]
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    echo: NotSupported = None
    suffix: NotSupported = None

    @property
    def text(self) -> str:
        """The one text."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_assistant()
        if for_assistant(self.model):
            question_of([Said(role="user", content=self.text)])
        elif not self.text:
            raise PydanticCustomError("no_text", "there is no text in it")
        return self


class EmbeddingRequest(Asked):
    """Texts that are to become vectors."""

    model_config = such_as({"model": "all-MiniLM-L6-v2", "input": ["one text", "another one"]})

    model: ModelName
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=256)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Any = None

    @property
    def texts(self) -> list[str]:
        """What is to be embedded, in order."""
        return [self.input] if isinstance(self.input, str) else self.input
