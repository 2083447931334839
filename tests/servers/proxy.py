"""A TCP proxy that loses answers, slows them down, or falls silent without closing anything.

A lost answer: the request reaches the server, its answer never reaches the client.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.servers.redis import free_port


@dataclass(slots=True)
class Loss:
    """One answer that will be lost."""

    request: bytes
    """What the request must hold."""
    answer: bytes
    """What the answer must hold."""
    happened: asyncio.Event = field(default_factory=asyncio.Event)


class LossyProxy:
    """Forwards to a port of this machine and closes the connection in place of chosen answers."""

    def __init__(self, server_port: int) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._server_port = server_port
        self.delay_s = 0.0
        """How much longer each answer takes."""
        self._losses: list[Loss] = []
        self._is_silent = False
        # Counts how often it fell silent: whatever was open then never hears anything again.
        self._silences = 0
        self._connections: set[asyncio.Task[None]] = set()

    def lose(self, request: bytes, answer: bytes = b"") -> Loss:
        """Lose the next answer that holds `answer` to a request that holds `request`."""
        loss = Loss(request, answer)
        self._losses.append(loss)
        return loss

    def forget_losses(self) -> None:
        """Lose nothing more that has not been asked for meanwhile."""
        self._losses.clear()

    @contextlib.asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Swallow everything both ways and close nothing, as a cable does that is pulled; old connections stay dead."""
        self._is_silent, self._silences = True, self._silences + 1
        try:
            yield
        finally:
            self._is_silent = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["LossyProxy"]:
        """Serve until the block ends."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            connections = list(self._connections)
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            # Closed sockets leave the loop with its next round.
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Also where it is cancelled before it has begun.
        task.add_done_callback(lambda _: writer.close())

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, requests = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.close()
            return
        born = self._silences - self._is_silent
        # One command is under way on a connection at a time: the last request is the one that is answered.
        last = bytearray()
        forward = asyncio.create_task(
            _forward_requests(reader, requests, last, lambda: born != self._silences)
        )
        try:
            while data := await answers.read(1 << 16):
                if born != self._silences:
                    continue
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if loss := self._chosen(bytes(last), data):
                    self._losses.remove(loss)
                    loss.happened.set()
                    break
                writer.write(data)
                last.clear()
        except OSError:
            pass
        finally:
            forward.cancel()
            await asyncio.gather(forward, return_exceptions=True)
            for stream in (writer, requests):
                stream.close()
                with contextlib.suppress(OSError):
                    await stream.wait_closed()

    def _chosen(self, request: bytes, answer: bytes) -> Loss | None:
        return next(
            (loss for loss in self._losses if loss.request in request and loss.answer in answer), None
        )


async def _forward_requests(
    reader: asyncio.StreamReader,
    requests: asyncio.StreamWriter,
    last: bytearray,
    is_dead: Callable[[], bool],
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            if is_dead():
                continue
            last += data
            requests.write(data)
    requests.close()
