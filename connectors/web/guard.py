"""The heads of a client's frames, looked at before aiohttp reads them: what it accepts and this hub does not.

aiohttp takes frames without a mask, a message in any number of fragments, and close codes that are never sent. Like `hub.api.deadline` this knows of
aiohttp's inner workings.
"""

from typing import Any

from aiohttp import WebSocketError, WSCloseCode, web

MAX_FRAGMENTS = 100
"""Frames one message may come in."""

_FIN, _OPCODE, _MASKED, _LENGTH = 0x80, 0x0F, 0x80, 0x7F
_FIRST_CONTROL = _CLOSE = 0x8
_NEVER_SENT = (1005, 1006, 1015)
"""Source: RFC 6455 section 7.4.1, codes that stand for what was not said."""
_LONG = {126: 2, 127: 8}
"""Bytes of a longer length. Source: RFC 6455 section 5.2."""


class FrameGuard:
    """Stands where aiohttp's parser was and hands on to it what is in order."""

    def __init__(self, parser: Any, queue: Any) -> None:
        self._parser = parser
        self._queue = queue
        self._head = b""
        self._left = 0
        """Bytes of the payload that are still to come."""
        self._mask = b""
        """Of a close frame whose code is still to come; else empty."""
        self._code = b""
        self._fragments = 0
        self._is_broken = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what has arrived; the answer is aiohttp's: whether to close, and what is left."""
        if self._is_broken:
            return True, b""
        good, problem = self.look(data)
        done, tail = self._parser.feed_data(data[:good])
        if problem is None:
            return bool(done), bytes(tail)
        self._is_broken = True
        self._queue.set_exception(problem)
        return True, b""

    def feed_eof(self) -> None:
        """Take the end."""
        self._parser.feed_eof()

    def look(self, data: bytes) -> tuple[int, WebSocketError | None]:
        """Follow the frames; return how much of the data is in order, and what is not."""
        at = begins = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                if self._mask and (problem := self._judge_code(data[at : at + step])):
                    return begins, problem
                self._left -= step
                at += step
                continue
            if not self._head:
                begins = at
            self._head += data[at : at + 1]
            at += 1
            if len(self._head) == 2 and (problem := self._judge(*self._head)):
                return begins, problem
            self._end_head()
        return at, None

    def _judge(self, first: int, second: int) -> WebSocketError | None:
        if not second & _MASKED:
            return WebSocketError(WSCloseCode.PROTOCOL_ERROR, "frame without a mask")
        if first & _OPCODE >= _FIRST_CONTROL:
            return None
        self._fragments = 0 if first & _FIN else self._fragments + 1
        if self._fragments > MAX_FRAGMENTS:
            return WebSocketError(WSCloseCode.POLICY_VIOLATION, "message in too many fragments")
        return None

    def _judge_code(self, payload: bytes) -> WebSocketError | None:
        self._code += payload[: 2 - len(self._code)]
        if len(self._code) < 2:
            return None
        code = int.from_bytes(said ^ masked for said, masked in zip(self._code, self._mask, strict=False))
        self._mask = self._code = b""
        if code in _NEVER_SENT:
            return WebSocketError(WSCloseCode.PROTOCOL_ERROR, "close code that is never sent")
        return None

    def _end_head(self) -> None:
        if len(self._head) < 2:
            return
        flag = self._head[1] & _LENGTH
        more = _LONG.get(flag, 0)
        if len(self._head) == 2 + more + 4:  # four bytes of mask
            self._left = int.from_bytes(self._head[2 : 2 + more]) if more else flag
            self._mask = self._head[-4:] if self._head[0] & _OPCODE == _CLOSE else b""
            self._head = b""


class GuardedSocket(web.WebSocketResponse):
    """A server's socket whose frames are guarded."""

    def _post_start(self, request: Any, protocol: Any, writer: Any) -> None:
        early = request.protocol._message_tail
        super()._post_start(request, protocol, writer)
        guard = FrameGuard(self._parser, self._reader)
        # What came with the handshake has been read already; the guard has to know where its last frame ends.
        _, problem = guard.look(early)
        if problem is not None and self._reader is not None:
            self._reader.set_exception(problem)
        request.protocol._payload_parser = guard
