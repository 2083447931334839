"""What goes over the socket between the engine and a model's process: frames of JSON, each with many messages."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from engine.models.base import (
    End,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
    Waiting,
)
from hub import errors
from hub.errors import HubError, ModelError

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A longer frame holds no prompt that any model could take; whoever announces one is not listened to any more."""
_FULL_FRAME_BYTES = 256 * 1024
"""What waits to be sent is cut into frames of about this size."""
_LENGTH_BYTES = 4

Fields = dict[str, Any]


class BrokenFrames(ModelError):
    """What came over the socket cannot be read; nothing that follows could be."""


class FrameLink:
    """One end of the socket: what is put within one round of the event loop leaves in one write."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: list[bytes] = []

    @classmethod
    async def open(cls, end: socket.socket) -> "FrameLink":
        """Take over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end))

    def put(self, message: Fields) -> None:
        """Send a message soon; after the other end has gone it is dropped.

        Raises: ModelError: it is larger than a frame may be.
        """
        data = orjson.dumps(message)
        if len(data) + 2 > MAX_FRAME_BYTES:
            raise ModelError(f"a request of {len(data)} bytes is too large for any model")
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(data)

    async def drain(self) -> None:
        """Wait until the other end keeps up."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not self._writer.is_closing():
            self._writer.writelines(_frames(waiting))

    async def messages(self) -> AsyncIterator[Fields]:
        """Yield what the other end says, until it is gone.

        Raises: BrokenFrames: it says what cannot be read.
        """
        while True:
            try:
                size = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
                if size > MAX_FRAME_BYTES:
                    raise BrokenFrames(f"a frame of {size} bytes was announced")
                frame = orjson.loads(await self._reader.readexactly(size))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            except orjson.JSONDecodeError as error:
                raise BrokenFrames("a frame is not JSON") from error
            if not isinstance(frame, list) or not all(isinstance(message, dict) for message in frame):
                raise BrokenFrames("a frame holds no messages")
            for message in frame:
                yield message

    def close(self) -> None:
        """Send what waits, and let the other end know that nothing follows."""
        if self._waiting:
            self._flush()
        self._writer.close()


def _frames(messages: list[bytes]) -> list[bytes]:
    frames: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for message in messages:
        if part and size + len(message) > _FULL_FRAME_BYTES:
            frames.append(_frame(part))
            part, size = [], 0
        part.append(message)
        size += len(message) + 1
    return [*frames, _frame(part)] if part else frames


def _frame(messages: list[bytes]) -> bytes:
    body = b"[" + b",".join(messages) + b"]"
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


# -- the contract as JSON ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a model is asked."""

    prompt: Prompt
    options: GenerateOptions
    requester: Requester


_REQUEST = TypeAdapter(Request)
_EVENTS: dict[str, TypeAdapter[Any]] = {
    kind.__name__.lower(): TypeAdapter(kind) for kind in (Waiting, Text, End, ModelStatistics)
}


def request_fields(request: Request) -> Fields:
    """Write down a request."""
    fields: Fields = _valid(asdict(request))
    return fields


def parse_request(fields: Fields) -> Request:
    """Read a request.

    Raises: BrokenFrames: it is none.
    """
    try:
        return _REQUEST.validate_python(fields)
    except ValidationError as error:
        raise BrokenFrames("a message is no request") from error


def event_fields(event: GenerateEvent | ModelStatistics) -> Fields:
    """Write down what a model says."""
    if isinstance(event, Text):
        # Nearly all there is, one for each token; `asdict` takes ten times as long.
        return {"event": "text", "fields": {"text": event.text, "tokens": event.tokens}}
    return {"event": type(event).__name__.lower(), "fields": asdict(event)}


def parse_event(fields: Fields) -> Any:
    """Read what a model says: one of the contract's events, or its statistics.

    Raises: BrokenFrames: it is none of them.
    """
    try:
        return _EVENTS[fields["event"]].validate_python(fields["fields"])
    except (KeyError, TypeError, ValidationError) as error:
        raise BrokenFrames("a message is no event of a model") from error


def error_fields(error: HubError) -> Fields:
    """Write down an error with its class and what it knows."""
    known = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float)}
    return {"error": type(error).__name__, "text": _valid(str(error)), "known": _valid(known)}


def parse_error(fields: Fields) -> HubError:
    """Make the same error again; one of an unknown class becomes a ModelError."""
    found = getattr(errors, str(fields["error"]), None)
    kind = found if isinstance(found, type) and issubclass(found, HubError) else ModelError
    # Not by its constructor: each class has one of its own, and what that made of its arguments is all here.
    error = kind.__new__(kind, str(fields.get("text", "")))
    known = fields.get("known")
    vars(error).update(known if isinstance(known, Mapping) else {})
    return error


def _valid(value: Any) -> Any:
    """Replace what is no character, such as half of a surrogate pair: JSON has no way to say it."""
    match value:
        case str() if not value.isascii():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {name: _valid(one) for name, one in value.items()}
        case tuple() | list():
            return [_valid(one) for one in value]
    return value
