"""An endpoint with the OpenAI-compatible protocol that answers each request as a test says, faults included.

It speaks HTTP byte by byte, since what is wrong on a real network is seldom what a framework would write.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import orjson


@dataclass
class Request:
    """What arrived."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Connection:
    """The other end of one request, for a behaviour to write to."""

    request: Request
    writer: asyncio.StreamWriter
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closes the connection."""

    async def write(self, data: bytes) -> None:
        """Send bytes now."""
        self.writer.write(data)
        await self.writer.drain()

    async def begin(self, *, status: str = "200 OK", **headers: str) -> None:
        """Send the head of an event stream whose end is the end of the connection."""
        lines = {"Content-Type": "text/event-stream", "Connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await self.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode())


Behaviour = Callable[[Connection], Awaitable[None]]


def event(text: str = "", finish: str | None = None, **more: Any) -> bytes:
    """Write one piece of an answer."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return b"data: " + orjson.dumps({"choices": [choice], **more}) + b"\n\n"


def says(*words: str, finish: str = "stop", end: bytes = b"data: [DONE]\n\n") -> Behaviour:
    """Answer with these pieces."""

    async def behave(connection: Connection) -> None:
        await connection.begin()
        await connection.write(b"".join([*map(event, words), event(finish=finish), end]))

    return behave


def streams(data: bytes) -> Behaviour:
    """Answer with an event stream of these bytes, then close."""

    async def behave(connection: Connection) -> None:
        await connection.begin()
        await connection.write(data)

    return behave


def answers(status: str, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer with this status and body."""

    async def behave(connection: Connection) -> None:
        await connection.begin(status=status, **{"Content_Type": "application/json"} | headers)
        await connection.write(body)

    return behave


async def falls_silent(connection: Connection) -> None:
    """Say nothing until the client gives up."""
    await connection.hung_up.wait()


def falls_silent_after(data: bytes) -> Behaviour:
    """Begin an answer and say no more until the client gives up."""

    async def behave(connection: Connection) -> None:
        await connection.begin()
        await connection.write(data)
        await connection.hung_up.wait()

    return behave


class Endpoint:
    """A server on a free loopback port; requests meet the behaviours one after another, the last one again and again."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)
        self.requests: list[Request] = []
        self.hung_up = asyncio.Event()
        """Set when a client closed a connection before its behaviour was through."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Endpoint":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.base_url = f"http://{self.host}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            connection = Connection(request=await _read(reader), writer=writer)
            self.requests.append(connection.request)
            behave = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
            watching = asyncio.create_task(self._watch(reader, connection))
            try:
                await behave(connection)
            finally:
                watching.cancel()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        except asyncio.CancelledError:
            pass  # The test is over; asyncio would log it as a fault of the server.
        finally:
            writer.close()

    async def _watch(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        # A client that goes while something lies unread resets the connection.
        with contextlib.suppress(ConnectionError):
            while await reader.read(1024):
                pass
        connection.hung_up.set()
        self.hung_up.set()


async def _read(reader: asyncio.StreamReader) -> Request:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(path=first.split()[1], headers=headers, body=orjson.loads(body) if body else None)
