"""A client of Redis that answers within the call: no loop, no pool, one socket, for tests that make very many calls."""

import asyncio
import socket
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from redis.exceptions import ResponseError

T = TypeVar("T")
Word = str | bytes | int | float
_NOT_LOADED = "NOSCRIPT"


class DirectScript:
    """A script that is called as redis-py's `AsyncScript` is."""

    def __init__(self, client: "DirectRedis", source: str) -> None:
        self._client = client
        self._source = source
        self._sha = client.command("SCRIPT", "LOAD", source)

    async def __call__(self, *, keys: list[str], args: list[Word]) -> Any:
        """Run it; a server that has forgotten it is told again."""
        words = (self._sha, len(keys), *keys, *args)
        try:
            return self._client.command("EVALSHA", *words)
        except ResponseError as error:
            if _NOT_LOADED not in str(error):
                raise
            self._client.command("SCRIPT", "LOAD", self._source)
            return self._client.command("EVALSHA", *words)


class DirectRedis:
    """Stands for the client of an `OrderedQueue`."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")
        # Never run: what the scripts' callers ask it for is the time.
        self._loop = asyncio.new_event_loop()
        self.calls = 0
        """Commands so far."""

    def close(self) -> None:
        """Close the socket."""
        self._answers.close()
        self._socket.close()
        self._loop.close()

    def command(self, *words: Word) -> Any:
        """Send one command and return its answer.

        Raises: ResponseError: the server refused it.
        """
        self.calls += 1
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        lines = [b"*%d" % len(parts)]
        for part in parts:
            lines += [b"$%d" % len(part), part]
        self._socket.sendall(b"\r\n".join(lines) + b"\r\n")
        answer = self._answer()
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    def _answer(self) -> Any:
        line = self._answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            return ResponseError(rest.decode())
        size = int(rest)
        if size < 0:
            return None
        if kind == b"$":
            return self._answers.read(size + 2)[:-2]
        return [self._answer() for _ in range(size)]

    def register_script(self, source: str) -> DirectScript:
        """Load a script."""
        return DirectScript(self, source)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that waits for nothing but this client.

        Raises: RuntimeError: it waits for something else.
        """
        asyncio._set_running_loop(self._loop)
        try:
            call.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
        finally:
            asyncio._set_running_loop(None)
        call.close()
        raise RuntimeError("the call waits for something that is not Redis")


def pairs(flat: list[bytes]) -> Mapping[bytes, bytes]:
    """Read the answer to HGETALL, or the fields of an entry."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
