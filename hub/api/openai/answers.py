"""Answers in the form OpenAI's API gives them: whole, and piece by piece."""

from datetime import datetime
from typing import Any, Protocol

from hub.api.replies import Outcome
from hub.messages import Usage

Json = dict[str, Any]


class Form(Protocol):
    """How one kind of completion is written down."""

    prefix: str
    whole_object: str
    piece_object: str

    def whole(self, outcome: Outcome, finish: str) -> Json:
        """Describe a whole answer, as its only choice."""

    def first(self) -> Json | None:
        """Describe the beginning of a stream; None where it has none."""

    def piece(self, text: str) -> Json:
        """Describe a piece of text."""

    def last(self, outcome: Outcome, finish: str) -> Json:
        """Describe the end of a stream."""


class ChatForm:
    """A message of the assistant."""

    prefix, whole_object, piece_object = "chatcmpl-", "chat.completion", "chat.completion.chunk"

    def __init__(self, *, with_sources: bool) -> None:
        self._with_sources = with_sources

    def whole(self, outcome: Outcome, finish: str) -> Json:
        """Describe the message; the assistant's has its sources beside the text."""
        message = {"role": "assistant", "content": outcome.text, "refusal": None, **self._sources(outcome)}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}

    def first(self) -> Json | None:
        """Name the role."""
        return _delta({"role": "assistant", "content": "", "refusal": None})

    def piece(self, text: str) -> Json:
        """More content."""
        return _delta({"content": text})

    def last(self, outcome: Outcome, finish: str) -> Json:
        """Say why it ended."""
        return _delta(self._sources(outcome), finish)

    def _sources(self, outcome: Outcome) -> Json:
        if not self._with_sources:
            return {}
        return {"sources": [source.model_dump(mode="json") for source in outcome.sources]}


class TextForm:
    """Text that goes on from a prompt."""

    prefix, whole_object, piece_object = "cmpl-", "text_completion", "text_completion"

    def whole(self, outcome: Outcome, finish: str) -> Json:
        """Describe the text."""
        return _text(outcome.text, finish)

    def first(self) -> Json | None:
        """Nothing."""
        return None

    def piece(self, text: str) -> Json:
        """More text."""
        return _text(text, None)

    def last(self, outcome: Outcome, finish: str) -> Json:
        """Say why it ended."""
        return _text("", finish)


class Completion:
    """One completion on its way to the client."""

    def __init__(self, form: Form, *, turn: str, model: str, began: datetime) -> None:
        self._form = form
        self._head = {"id": f"{form.prefix}{turn}", "created": int(began.timestamp()), "model": model}

    def whole(self, outcome: Outcome) -> Json:
        """Describe the answer."""
        model = {"model": outcome.usage.model} if outcome.usage and self._names_model() else {}
        return {
            **self._head,
            **model,
            "object": self._form.whole_object,
            "choices": [self._form.whole(outcome, _finish(outcome))],
            "usage": usage_object(outcome.usage),
        }

    def first(self) -> list[Json]:
        """Describe the beginning of a stream."""
        choice = self._form.first()
        return [] if choice is None else [self._chunk(choice)]

    def piece(self, text: str) -> Json:
        """Describe a piece of text."""
        return self._chunk(self._form.piece(text))

    def last(self, outcome: Outcome, *, with_usage: bool) -> list[Json]:
        """Describe the end of a stream."""
        end = [self._chunk(self._form.last(outcome, _finish(outcome)))]
        if with_usage:
            cost = {"choices": [], "usage": usage_object(outcome.usage)}
            end.append({**self._head, "object": self._form.piece_object, **cost})
        return end

    def _chunk(self, choice: Json) -> Json:
        return {**self._head, "object": self._form.piece_object, "choices": [choice]}

    def _names_model(self) -> bool:
        return self._head["model"] != "hubbub"


def usage_object(usage: Usage | None) -> Json:
    """Say what an answer cost."""
    prompt, answer = (usage.prompt_tokens, usage.answer_tokens) if usage else (0, 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens if usage else 0},
    }


def _finish(outcome: Outcome) -> str:
    return outcome.usage.finish if outcome.usage else "stop"


def _delta(delta: Json, finish: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _text(text: str, finish: str | None) -> Json:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
