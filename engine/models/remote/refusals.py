"""What an endpoint answers when it does not answer: turned into our errors, without the key and without end."""

import aiohttp
import orjson

from engine.models.remote.wire import error_text, says_too_long
from hub.errors import ContextWindowExceeded, ModelError, OptionRefused
from hub.http_client import retry_after_s
from hub.model_settings import RemoteSettings

MAX_ERROR_BYTES = 1 << 16
MAX_SHOWN_CHARS = 300
_EVENT_STREAM = "text/event-stream"


class EndpointFailed(ModelError):
    """An endpoint gave no answer; another one may.

    `may_pass` says whether the same endpoint may give one a moment later, and `retry_after_s` when it asked for it.
    """

    def __init__(self, text: str, *, may_pass: bool = True, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.may_pass = may_pass
        self.retry_after_s = retry_after_s


async def check(response: aiohttp.ClientResponse, host: str, settings: RemoteSettings) -> None:
    """Raise what a response means unless it is the beginning of an answer.

    Raises:
        EndpointFailed: another attempt or endpoint may have an answer.
        ModelError: the request itself is refused.
    """
    if 300 <= response.status < 400:
        raise EndpointFailed(f"{host} redirects elsewhere, which is not followed", may_pass=False)
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise EndpointFailed(f"{host} sent a compressed answer although it was asked not to", may_pass=False)
    if response.status == 200 and response.content_type == _EVENT_STREAM:
        return
    body = await _beginning(response)
    error = _error_object(body)
    said = shown(error_text(error), settings)
    if response.status != 200:
        raise _refusal(response, host, error, said, settings)
    if said and isinstance(error, dict):
        raise EndpointFailed(f"{host} failed and said: {said}")
    raise EndpointFailed(
        f"{host} answered with {shown(response.content_type, settings)}; expected is {_EVENT_STREAM}"
    )


def _refusal(
    response: aiohttp.ClientResponse, host: str, error: object, said: str, settings: RemoteSettings
) -> ModelError:
    status = response.status
    because = f" ({status}): {said}" if said else f" ({status})"
    if says_too_long(error):
        return ContextWindowExceeded(settings.context_length, settings.context_length + 1)
    if status in {400, 413, 422}:
        return OptionRefused(f"{host} refused the request{because}")
    if status in {401, 403}:
        return EndpointFailed(f"{host} does not accept the API key{because}", may_pass=False)
    if status == 404:
        return EndpointFailed(
            f"{host} has no model {settings.model!r}, or no OpenAI-compatible API at this path{because}",
            may_pass=False,
        )
    may_pass = status in {408, 429} or status >= 500
    return EndpointFailed(
        f"{host} gave no answer{because}",
        may_pass=may_pass,
        retry_after_s=retry_after_s(response.headers.get("Retry-After", "")),
    )


def shown(text: str, settings: RemoteSettings) -> str:
    """Make what a server said fit to be shown: short, on one line, and without the key it may have repeated."""
    if key := settings.api_key.get_secret_value():
        text = text.replace(key, "***")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= MAX_SHOWN_CHARS else line[:MAX_SHOWN_CHARS] + "…"


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_ERROR_BYTES:
                break
    except (aiohttp.ClientError, OSError):
        pass  # What came says enough; the status is known.
    return bytes(body[:MAX_ERROR_BYTES])


def _error_object(body: bytes) -> object:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace").strip()
    if not isinstance(value, dict):
        return ""
    # The reference has the object in `error`, Ollama a text; vLLM of old has its fields at the top, FastAPI `detail`.
    if inner := value.get("error"):
        return inner if isinstance(inner, dict) else {"message": inner}
    return {name: value[name] for name in ("message", "detail", "code", "type") if name in value}
