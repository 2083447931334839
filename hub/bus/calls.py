"""Questions from one process to another, answered at once or not at all; used where repeating is harmless.

A caller puts a request on the service's stream and waits on an answer stream of its own. A request that is not
answered in time is forgotten: what must survive a crash goes by the ordered queue.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog
from redis.asyncio import Redis

from hub.bus.connection import bus_errors
from hub.bus.group_read import GroupRead
from hub.bus.keys import Keys
from hub.bus.tail import Tail
from hub.errors import BusError, HubError
from hub.waiting import happens

log = structlog.get_logger(__name__)

Service = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class CallFailed(HubError):
    """The other process answered with an error, or nobody answered in time."""


class Caller:
    """Asks services; one per process."""

    def __init__(self, redis: Redis, reader: Redis) -> None:
        self._redis: Any = redis
        self._name = secrets.token_hex(8)
        answers = [Keys().answers(self._name)]
        self._tail = Tail(redis, reader, answers, name="answers", from_start=True)
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    async def call(self, service: str, request: Mapping[str, Any], *, timeout_s: float) -> Any:
        """Ask a service and return its answer.

        Raises: CallFailed: it answered with an error, or nobody did within `timeout_s`. BusError: Redis is away.
        """
        call_id = secrets.token_hex(8)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = answer
        fields = {
            "id": call_id,
            "caller": self._name,
            "until_ms": int((time.time() + timeout_s) * 1000),
            "request": orjson.dumps(request),
        }
        try:
            with bus_errors(f"{service} could not be asked"):
                await self._redis.xadd(Keys().calls(service), fields, maxlen=1000, approximate=True)
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise CallFailed(f"nobody answered within {timeout_s:.0f} s; is an engine running?") from None
        finally:
            del self._waiting[call_id]

    async def run(self, stop: asyncio.Event) -> None:
        """Receive answers until `stop` is set, and those that somebody waits for then."""
        await self._tail.run(self._deliver, stop, is_used=lambda: bool(self._waiting))

    def _deliver(self, fields: dict[bytes, bytes]) -> None:
        future = self._waiting.get(fields.get(b"id", b"").decode("utf-8", "replace"))
        if future is None or future.done():
            return
        if b"error" in fields:
            future.set_exception(CallFailed(fields[b"error"].decode("utf-8", "replace")))
            return
        try:
            future.set_result(orjson.loads(fields[b"answer"]))
        except (KeyError, orjson.JSONDecodeError):
            # One answer nobody can read must not keep this process from hearing the others.
            log.warning("answer_unreadable")
            future.set_exception(CallFailed("the answer cannot be read"))


async def serve(redis: Redis, reader: Redis, services: Mapping[str, Service], stop: asyncio.Event) -> None:
    """Answer calls until `stop` is set; any number of processes may serve the same services."""
    waiting = GroupRead(reader)
    taking = asyncio.create_task(_take(redis, waiting, services, stop))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({taking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await waiting.wake(redis)
        await taking
    finally:
        for task in (taking, stopped):
            task.cancel()
        await waiting.close()


async def _take(
    redis: Redis, waiting: GroupRead, services: Mapping[str, Service], stop: asyncio.Event
) -> None:
    client: Any = redis
    streams = {Keys().calls(name): service for name, service in services.items()}
    running: set[asyncio.Task[None]] = set()
    ready = False
    while not stop.is_set():
        try:
            if not ready:
                await _ensure_groups(client, streams)
                ready = True
            with bus_errors("calls could not be read"):
                answer = await waiting.entries(
                    "services", "any", dict.fromkeys(streams, ">"), count=8, noack=True
                )
        except BusError as error:
            ready = False
            log.warning("calls_interrupted", error=str(error))
            await happens(stop, within_s=0.5)
            continue
        for stream, entries in answer:
            for entry, fields in entries:
                task = asyncio.create_task(_answer(client, streams[stream.decode()], fields))
                running.add(task)
                task.add_done_callback(running.discard)
                with contextlib.suppress(BusError), bus_errors("a call could not be removed"):
                    await client.xdel(stream, entry)
    if running:
        await asyncio.wait(running, timeout=5)


async def _ensure_groups(client: Any, streams: Mapping[str, Service]) -> None:
    with bus_errors("the services could not be announced"):
        for stream in streams:
            with contextlib.suppress(Exception):
                await client.xgroup_create(stream, "services", id="0", mkstream=True)
        await client.ping()


async def _answer(client: Any, service: Service, fields: dict[bytes, bytes]) -> None:
    try:
        caller, call_id, request = fields[b"caller"].decode(), fields[b"id"], orjson.loads(fields[b"request"])
        is_late = int(fields[b"until_ms"]) < time.time() * 1000
    except (KeyError, ValueError):
        log.warning("call_unreadable")
        return
    if is_late:
        return
    reply: dict[str, bytes | str] = {"id": call_id}
    try:
        reply["answer"] = orjson.dumps(await service(request))
    except HubError as error:
        reply["error"] = str(error)
    except Exception:
        log.exception("call_failed")
        reply["error"] = "the service failed; its log says why"
    stream = Keys().answers(caller)
    with contextlib.suppress(BusError), bus_errors("a call could not be answered"):
        await client.xadd(stream, reply, maxlen=1000, approximate=True)
        await client.expire(stream, 600)
