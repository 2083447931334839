"""The WebSocket protocol of the widget: JSON text frames, each an object with its type under `t`.

Client to server, at most 16 KiB each; the first frame is `auth` and comes within 5 s:

    {"t": "auth", "token": "", "language": "de"}   empty token: a new visitor; `language` (optional) of the page
    {"t": "auth", "ticket": ...}                   of `POST /widget/session`; good for one socket, for a minute
    {"t": "message", "id": "m1", "text": "Hi", "files": [F...]}
                                                   `id` is the client's own; repeating it never asks twice. `files`
                                                   (optional): ids of `POST /widget/files`
    {"t": "resume", "turn": T, "have": 12, "crc": 1234}
                                                   the rest of a turn, after 12 code points; `crc` (optional) is
                                                   the CRC-32 of their UTF-8, so that a text of an abandoned
                                                   attempt is replaced instead of continued
    {"t": "stop", "turn": T}                       cancel a turn; without `turn`: all that wait or run
    {"t": "history", "last": 50}
    {"t": "feedback", "turn": T, "value": "up"}    or "down", or "" to take it back
    {"t": "got", "turns": [T...]}                  these finals have arrived: they need not be mailed
    {"t": "leave", "email": "a@example.org"}       where answers go when no page is open any more; "" takes it back
    {"t": "ping"}

Server to client; `turn` is opaque and belongs to this visitor alone:

    {"t": "ready", "token": ..., "conversation": ..., "history": [turn...], "limits": {...}, "features": {...},
     "person": {...}}
    {"t": "history", "history": [turn...]}         turn: turn, question, answer, kind, sources, asked_at, answered_at;
                                                   a source's `state`: current, changed or gone, or empty
    {"t": "accepted", "id": "m1", "turn": T}       the message is stored and will be answered
    {"t": "typing", "turn": T}                     taken up, perhaps again: nothing is generated yet
    {"t": "waiting", "turn": T, "wait_s": 12}      so long, by estimate, until something is generated
    {"t": "stopped", "turns": [T...]}              what `stop` has cancelled; no text of these comes any more that counts
    {"t": "delta", "turn": T, "offset": 12, "text": " more"}
                                                   apply it only where `offset` code points are there already
    {"t": "reset", "turn": T}                      drop the text of this turn, it starts again
    {"t": "final", "turn": T, "question": ..., "text": ..., "kind": "answer", "sources": [...], "answered_at": ...}
                                                   kind: answer, notice, error, or cancelled with an empty text
    {"t": "feedback", "turn": T, "value": "up"}    it was recorded
    {"t": "left", "email": ...}                    the address was kept
    {"t": "err", "code": C, "id": "m1", "retry_ms": 500, "limit": 8000}
    {"t": "pong"}                                  answers `ping`, `got`, and a `resume` that finds nothing new
"""

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from connectors.web.json_object import read_object
from hub.events import Judgement
from hub.messages import OutboundMessage, Source, Turn, utc_now

MAX_FRAME_BYTES = 16 * 1024
MAX_HISTORY = 50
MAX_FILES = 5
"""Files of one message."""
MAX_EMAIL_CHARS = 254
"""Source: RFC 5321 section 4.5.3.1.3, with the erratum 1690 of RFC 3696."""

ErrorCode = Literal[
    "bad_json",
    "unknown_type",
    "bad_id",
    "bad_type",
    "too_long",
    "empty",
    "conflict",
    "not_found",
    "slow_down",
    "busy",
    "unavailable",
    "starting",
    "bad_token",
    "bad_ticket",
    "bad_email",
    "no_file",
    "day_limit",
]

_FILE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z0-9-]{2,63}", re.ASCII
)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

Json = dict[str, Any]


class FrameError(Exception):
    """A frame that cannot be used; `code` and `fields` are what the client is told."""

    def __init__(self, code: ErrorCode, **fields: Any) -> None:
        super().__init__(code)
        self.code = code
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Auth:
    """Who the client says it is."""

    token: str
    ticket: str
    language: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What the visitor wrote, as it came."""

    id: str
    text: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resume:
    """How much of a turn the client has; `have` is -1 when it said nothing usable."""

    turn: str
    have: int
    crc: int | None

    def missing(self, text: str) -> int:
        """Return after how many code points of `text` the client goes on; -1 when it has to start again."""
        if not 0 <= self.have <= len(text):
            return -1
        if self.crc is not None and self.crc != zlib.crc32(text[: self.have].encode("utf-8", "replace")):
            return -1
        return self.have


@dataclass(frozen=True, slots=True)
class Stop:
    """A wish to have a turn cancelled; empty: all that wait or run."""

    turn: str


@dataclass(frozen=True, slots=True)
class ShowHistory:
    """A wish for the last turns."""

    last: int
    conversation: str | None


@dataclass(frozen=True, slots=True)
class Judge:
    """What the visitor thinks of an answer."""

    turn: str
    value: Judgement


@dataclass(frozen=True, slots=True)
class Got:
    """Finals that have arrived."""

    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Where answers go when the page is closed; empty: nowhere."""

    email: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A question whether the hub is still there."""


ClientFrame = Auth | Ask | Resume | Stop | ShowHistory | Judge | Got | Leave | Ping


def parse(data: str, *, max_text_chars: int) -> ClientFrame:
    """Read one frame; fields nobody asked for are ignored.

    Raises: FrameError: it is not of this protocol.
    """
    frame = read_object(data)
    if frame is None:
        raise FrameError("bad_json")
    kind = frame.get("t")
    if kind == "message":
        return _ask(frame, max_text_chars)
    if not isinstance(kind, str) or kind not in _READERS:
        raise FrameError("unknown_type")
    return _READERS[kind](frame)


def _text(frame: Json, name: str) -> str:
    text = frame.get(name, "")
    if not isinstance(text, str):
        raise FrameError("bad_type")
    return text


def _auth(frame: Json) -> Auth:
    return Auth(_text(frame, "token"), _text(frame, "ticket"), _text(frame, "language"))


def _history(frame: Json) -> ShowHistory:
    conversation = frame.get("conversation")
    return ShowHistory(
        _count(frame.get("last"), MAX_HISTORY), None if conversation is None else str(conversation)
    )


def _texts(frame: Json, name: str, most: int) -> list[str]:
    texts = frame.get(name, [])
    if not isinstance(texts, list) or len(texts) > most or not all(isinstance(text, str) for text in texts):
        raise FrameError("bad_type")
    return texts


def _ask(frame: Json, max_text_chars: int) -> Ask:
    message_id, text = frame.get("id"), frame.get("text")
    if not isinstance(message_id, str) or not _ID.fullmatch(message_id):
        raise FrameError("bad_id")
    if not isinstance(text, str):
        raise FrameError("bad_type", id=message_id)
    if len(text) > max_text_chars:
        raise FrameError("too_long", id=message_id, limit=max_text_chars)
    return Ask(message_id, text, _files(frame, message_id))


def _files(frame: Json, message_id: str) -> tuple[str, ...]:
    files = frame.get("files", [])
    if not isinstance(files, list) or len(files) > MAX_FILES:
        raise FrameError("bad_type", id=message_id)
    if not all(isinstance(file, str) and _FILE.fullmatch(file) for file in files):
        raise FrameError("no_file", id=message_id)
    return tuple(files)


def _judge(frame: Json) -> Judge:
    match frame.get("value"):
        case "up" | "down" | "" as value:
            return Judge(_text(frame, "turn"), value)
    raise FrameError("bad_type")


def _leave(frame: Json) -> Leave:
    email = _text(frame, "email").strip()
    if email and (len(email) > MAX_EMAIL_CHARS or not _EMAIL.fullmatch(email)):
        raise FrameError("bad_email")
    return Leave(email)


def _resume(frame: Json) -> Resume:
    turn, have, crc = frame.get("turn"), frame.get("have"), frame.get("crc")
    if not isinstance(turn, str):
        raise FrameError("not_found")
    if not isinstance(have, int) or isinstance(have, bool):
        have = -1
    return Resume(turn, have, crc if isinstance(crc, int) else None)


def _count(value: Any, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < most:
        return value
    return most


_READERS: dict[str, Callable[[Json], ClientFrame]] = {
    "auth": _auth,
    "resume": _resume,
    "stop": lambda frame: Stop(_text(frame, "turn")),
    "history": _history,
    "feedback": _judge,
    "got": lambda frame: Got(tuple(_texts(frame, "turns", MAX_HISTORY))),
    "leave": _leave,
    "ping": lambda _: Ping(),
}


def dump(frame_type: str, **fields: Any) -> str:
    """Write one frame for the client."""
    return json.dumps({"t": frame_type, **fields}, ensure_ascii=False, separators=(",", ":"))


def turn_fields(turn: Turn, handle: str) -> Json:
    """Return a past exchange as the client gets it."""
    return {
        "turn": handle,
        "question": turn.question,
        "answer": turn.answer,
        "kind": turn.kind,
        "sources": [_source(source) for source in turn.sources],
        "asked_at": turn.asked_at.isoformat(),
        "answered_at": turn.answered_at.isoformat(),
    }


def final_fields(message: OutboundMessage, handle: str) -> Json:
    """Return a durable reply as the client gets it."""
    return {
        "turn": handle,
        "question": message.question,
        "text": message.text,
        "kind": message.kind,
        "sources": [_source(source) for source in message.sources],
        "answered_at": message.created_at.isoformat(),
    }


def cancelled_fields(handle: str) -> Json:
    """Return the end of a turn that was cancelled while nobody looked."""
    at = utc_now().isoformat()
    return {
        "turn": handle,
        "question": "",
        "text": "",
        "kind": "cancelled",
        "sources": [],
        "answered_at": at,
    }


def past_final_fields(turn: Turn, handle: str) -> Json:
    """Return a past exchange the way its reply would have come."""
    fields = turn_fields(turn, handle)
    return {"text": fields.pop("answer")} | fields


def _source(source: Source) -> Json:
    return source.model_dump(include={"number", "title", "heading", "quote", "location", "state"})
