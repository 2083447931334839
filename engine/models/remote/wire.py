"""The OpenAI-compatible protocol: requests as JSON, and what the pieces of an answer say.

Source: OpenAI API reference, "Create chat completion", "The chat completion chunk object", "Create completion".
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from engine.models.base import GenerateOptions, Prompt
from engine.models.markup import without_markup
from hub.errors import OptionRefused

MAX_STOPS = 4
"""More are not sent; the answer is cut by us at every stop string anyway. Source: reference, parameter `stop`."""
_THOUGHTS = ("reasoning_content", "reasoning")
"""Fields of vLLM, llama-server and Ollama; the protocol itself has none."""
_DEFAULTS = GenerateOptions(max_tokens=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to an endpoint."""

    path: Literal["/chat/completions", "/completions"]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one event of the answer says; a field that it does not tell is empty."""

    text: str = ""
    is_thought: bool = False
    """Whether the model thinks aloud; a sign of life, and no part of the answer."""
    finish: str = ""
    """`stop`, `length` or another word of the server for why it ended."""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cached_tokens: int = 0


class NotThisProtocol(ValueError):
    """What came is no event of this protocol; the text says what it was."""


class ServerSaid(ValueError):
    """An error object came instead of an event; the text is the server's own."""


def make_request(model: str, prompt: Prompt, options: GenerateOptions) -> Request:
    """Write the request for a prompt.

    Raises: OptionRefused: the protocol has no words for an option.
    """
    _refuse_what_it_lacks(prompt, options)
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
    }
    if options.temperature > 0:
        body |= {"top_p": options.top_p, "seed": options.seed}
    if options.stop:
        body["stop"] = list(options.stop[:MAX_STOPS])
    if options.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in options.logit_bias}
    if options.json_schema:
        body["response_format"] = _response_format(options.json_schema)
    if not prompt.messages:
        return Request(path="/completions", body=orjson.dumps(body | {"prompt": _writable(prompt.text)}))
    messages = [
        {"role": message.role, "content": without_markup(_writable(message.text))}
        for message in prompt.messages
    ]
    return Request(path="/chat/completions", body=orjson.dumps(body | {"messages": messages}))


def read_event(data: bytes) -> Piece:
    """Read the JSON of one event.

    Raises:
        NotThisProtocol: it is something else.
        ServerSaid: it is an error object.
    """
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise NotThisProtocol("an event that is not JSON") from None
    if not isinstance(event, dict):
        raise NotThisProtocol("an event that is not a JSON object")
    if error := event.get("error"):
        raise ServerSaid(error_text(error))
    choices = event.get("choices")
    usage = event.get("usage")
    if not isinstance(choices, list) and not isinstance(usage, dict):
        raise NotThisProtocol("an event without choices")
    choice = choices[0] if choices and isinstance(choices, list) and isinstance(choices[0], dict) else {}
    usage = usage if isinstance(usage, dict) else {}
    return Piece(
        text=_text_of(choice),
        is_thought=any(_object(choice.get("delta")).get(name) for name in _THOUGHTS),
        finish=_word(choice.get("finish_reason")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        answer_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
    )


def error_text(error: Any) -> str:
    """Return the message of an error object, of any of the shapes that are about."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("error") or error.get("detail") or error.get("type") or ""
        return error_text(error) if isinstance(error, dict) else error_text(str(error))
    return str(error)


def says_too_long(error: Any) -> bool:
    """Tell whether an error object says that the prompt is longer than the context.

    Source: OpenAI's code, and llama-server's type of error.
    """
    kinds = {"context_length_exceeded", "exceed_context_size_error"}
    return bool(kinds & {str(_object(error).get(name)) for name in ("code", "type")})


def _refuse_what_it_lacks(prompt: Prompt, options: GenerateOptions) -> None:
    if options.grammar:
        raise OptionRefused("a remote model knows no grammar; json_schema is what its protocol has")
    if options.json_schema and not prompt.messages:
        raise OptionRefused("a remote model keeps to a json_schema only where it is asked with messages")
    if options.repeat_penalty != _DEFAULTS.repeat_penalty:
        raise OptionRefused("a remote model knows no repeat_penalty")
    if any(not math.isfinite(bias) for _, bias in options.logit_bias):
        raise OptionRefused("a remote model takes finite numbers as logit_bias only, from -100 to 100")
    if options.temperature > 0 and options.top_k not in {0, _DEFAULTS.top_k}:
        raise OptionRefused("a remote model knows no top_k; top_p is what its protocol has")
    if options.temperature > 0 and options.min_p != _DEFAULTS.min_p:
        raise OptionRefused("a remote model knows no min_p; top_p is what its protocol has")


def _response_format(json_schema: str) -> dict[str, Any]:
    try:
        schema = orjson.loads(json_schema)
    except orjson.JSONDecodeError as error:
        raise OptionRefused(f"json_schema is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise OptionRefused("json_schema is a JSON object, and this one is not")
    if not schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _writable(text: str) -> str:
    # JSON has no words for half a character pair, which a message may hold.
    return text.encode("utf-8", "replace").decode("utf-8")


def _text_of(choice: dict[str, Any]) -> str:
    text = choice.get("text") if "text" in choice else _object(choice.get("delta")).get("content")
    if text is None:
        return ""
    if not isinstance(text, str):
        raise NotThisProtocol("a piece of text that is not a text")
    return text


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""
