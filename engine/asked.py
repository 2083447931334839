"""What a model was asked for one turn, and what it said: enough to ask it the very same again."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from engine.models.base import ChatModel, GenerateOptions, Prompt
from engine.models.templates import EncodedPrompt
from hub.messages import Generation, Message, Turn

_DIGEST_CHARS = 16
_MAX_GENERATION_BYTES = 32_768
"""Of what a client wrote itself; a longer prompt is kept as its digest only."""


@runtime_checkable
class Encoding(Protocol):
    """A model whose vocabulary lies in this process."""

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Turn a prompt into tokens.

        Raises: ModelError: the prompt is empty, or the template cannot hold its messages.
        """


class PromptDigest(Message):
    """A prompt as the model read it, without its text."""

    of: Literal["tokens", "text"]
    """Whether the tokens' ids were hashed or, where another server has the vocabulary, the texts."""
    tokens: int
    """0 where they are not known."""
    sha256: str
    """Of the ids as little-endian int32, or of the messages as JSON."""
    messages: tuple[str, ...] = ()
    """The beginning of the SHA-256 of each message: where two prompts differ."""


class Inputs(Message):
    """What a prompt was made of, beside the model's own profile."""

    question: str = ""
    facts: tuple[str, ...] = ()
    """Statements, most important first."""
    turns: tuple[str, ...] = ()
    """Ids of the earlier turns that were handed over, oldest first."""
    said: tuple[Turn, ...] = ()
    """Those of them that no history holds: a client told them."""
    last_turns: int = 0
    summary: tuple[str, ...] | None = None
    """Its lines; None where it was not handed over."""
    style: str = ""
    """The line on how the person wants to be answered."""
    generation: Generation | None = None
    """What a client wrote itself; then all else is empty."""


class Asked(Message):
    """One request to a model, and its answer."""

    model: str
    """Name in the registry of the one that answered."""
    model_hash: str = ""
    """Of its settings and files; empty where they could not be read."""
    inputs: Inputs | None
    """None where they were too long to keep."""
    prompt: PromptDigest
    options: dict[str, Any]
    """Sampling, seed and limits."""
    answer: str
    """The model's own words, before any check."""
    is_whole: bool
    """Whether the model ended it; otherwise it was stopped behind these words."""

    def generate_options(self) -> GenerateOptions:
        """Return the options as a model takes them."""
        values = dict(self.options)
        values["stop"] = tuple(values.get("stop", ()))
        values["logit_bias"] = tuple(
            (int(token), float(bias)) for token, bias in values.get("logit_bias", ())
        )
        return GenerateOptions(**values)


@dataclass(slots=True)
class Asking:
    """A request under way."""

    model: str
    inputs: Inputs | None
    prompt: PromptDigest
    options: GenerateOptions
    pieces: list[str] = field(default_factory=list)
    is_whole: bool = False

    def done(self, model_hash: str) -> Asked:
        """Return what was asked and said."""
        return Asked(
            model=self.model,
            model_hash=model_hash,
            inputs=self.inputs,
            prompt=self.prompt,
            options=asdict(self.options),
            answer="".join(self.pieces),
            is_whole=self.is_whole,
        )

    def answered_by(self, name: str) -> None:
        """Note that another model has stepped in: its tokens are not those that were hashed."""
        if name != self.model:
            self.model = name
            self.prompt = self.prompt.model_copy(update={"of": "text", "tokens": 0, "sha256": ""})


def asking(model: ChatModel, prompt: Prompt, options: GenerateOptions, inputs: Inputs | None) -> Asking:
    """Begin to note a request."""
    if inputs is not None and inputs.generation is not None:
        size = len(inputs.generation.model_dump_json().encode("utf-8", "replace"))
        inputs = inputs if size <= _MAX_GENERATION_BYTES else None
    return Asking(model.name, inputs, digest_of(model, prompt), replace(options))


def digest_of(model: ChatModel, prompt: Prompt) -> PromptDigest:
    """Digest a prompt as a model reads it.

    Raises: ModelError: the template cannot hold its messages.
    """
    texts = [[message.role, message.text] for message in prompt.messages] or [["", prompt.text]]
    parts = tuple(_sha256(json.dumps(part, ensure_ascii=False).encode("utf-8", "replace")) for part in texts)
    each = tuple(part[:_DIGEST_CHARS] for part in parts)
    # Of several, the prompt was made for the first.
    model = getattr(model, "first", model)
    if isinstance(model, Encoding):
        tokens = model.encode(prompt).tokens
        digest = _sha256(tokens.astype("<i4", copy=False).tobytes())
        return PromptDigest(of="tokens", tokens=len(tokens), sha256=digest, messages=each)
    return PromptDigest(of="text", tokens=0, sha256=_sha256("".join(parts).encode()), messages=each)


def inputs_of(
    question: str,
    facts: Sequence[str],
    turns: Sequence[Turn],
    *,
    last_turns: int,
    summary: Sequence[str] | None,
    style: str = "",
) -> Inputs:
    """Note what a prompt is made of; turns that a client told are kept with it, since nobody else has them."""
    return Inputs(
        question=question,
        facts=tuple(facts),
        turns=tuple(turn.turn for turn in turns),
        said=tuple(turn for turn in turns if turn.turn.startswith("0-")),
        last_turns=last_turns,
        summary=None if summary is None else tuple(summary),
        style=style,
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
