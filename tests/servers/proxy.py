"""A TCP proxy that loses answers: the request reaches the server, its answer never reaches the client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
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
        self._losses: list[Loss] = []
        self._connections: set[asyncio.Task[None]] = set()

    def lose(self, request: bytes, answer: bytes = b"") -> Loss:
        """Lose the next answer that holds `answer` to a request that holds `request`."""
        loss = Loss(request, answer)
        self._losses.append(loss)
        return loss

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
        # One command is under way on a connection at a time: the last request is the one that is answered.
        last = bytearray()
        forward = asyncio.create_task(_forward_requests(reader, requests, last))
        try:
            while data := await answers.read(1 << 16):
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
    reader: asyncio.StreamReader, requests: asyncio.StreamWriter, last: bytearray
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            last += data
            requests.write(data)
    requests.close()
