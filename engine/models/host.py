"""A process of its own for models: loads what it is told to, answers requests, and ends with the engine.

`python -m engine.models.host FD` is started by `ModelProcess` with one end of a socket pair.
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog
import uvloop
from pydantic import TypeAdapter, ValidationError

from engine.models.base import ChatModel, Forgetting
from engine.models.frames import Fields, FrameLink, error_fields, event_fields, parse_request
from engine.models.registry import MODEL_TYPES, ModelType
from hub.egress.guard import install
from hub.egress.loop import new_event_loop
from hub.errors import HubError, ModelError
from hub.model_settings import ModelSettings

log = structlog.get_logger(__name__)

_SETTINGS: TypeAdapter[ModelSettings] = TypeAdapter(ModelSettings)
_FIRST_TO_GO = 500
"""Of 1000: where the machine runs out of memory, a model ends sooner than the processes that hold messages."""


class Host:
    """Does what the engine asks; each request is a task of its own."""

    def __init__(self, link: FrameLink, types: Mapping[str, ModelType]) -> None:
        self._link = link
        self._types = types
        self._models: dict[int, ChatModel] = {}
        """By the number of the request that loaded them: two of one name live side by side while one is replaced."""
        self._loading = asyncio.Lock()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._orders = {
            "load": self._load,
            "ask": self._ask,
            "forget": self._forget_audiences,
            "statistics": self._statistics,
            "close": self._close,
        }

    async def run(self) -> None:
        """Take requests until the engine is gone."""
        async for message in self._link.messages():
            match message:
                case {"do": "cancel", "id": int(number)}:
                    if task := self._running.get(number):
                        task.cancel()
                case {"do": str(order), "id": int(number)} if order in self._orders:
                    task = asyncio.create_task(self._answer(number, order, message))
                    self._running[number] = task
                    task.add_done_callback(partial(self._forget, number))
                case _:
                    log.warning("request_unreadable")

    def _forget(self, number: int, _: "asyncio.Task[None]") -> None:
        del self._running[number]

    async def _answer(self, number: int, order: str, message: Fields) -> None:
        try:
            await self._orders[order](number, message)
        except asyncio.CancelledError:
            # Nobody listens any more.
            return
        except HubError as error:
            self._link.put({"id": number, **error_fields(error)})
        except Exception as error:
            log.exception("request_failed", order=order)
            problem = ModelError(f"the model failed: {type(error).__name__}")
            self._link.put({"id": number, **error_fields(problem)})

    async def _load(self, number: int, message: Fields) -> None:
        try:
            settings = _SETTINGS.validate_json(message["settings"])
        except ValidationError as error:
            raise ModelError(f"the settings of the model are wrong: {error.error_count()} faults") from error
        name, model_type = str(message["name"]), self._types[settings.type]
        # One after another: the second finds the weights of the first.
        async with self._loading:
            beside = next(iter(self._models.values()), None)
            if beside and model_type.load_beside:
                model = await model_type.load_beside(name, settings, beside)
            else:
                model = await model_type.load(name, settings)
            self._models[number] = model
        self._link.put({"id": number, "done": {"context_length": model.context_length}})

    async def _ask(self, number: int, message: Fields) -> None:
        model, asked = self._model(message), parse_request(message["request"])
        events = model.stream(asked.prompt, asked.options, asked.requester)
        async with aclosing(events):
            async for event in events:
                self._link.put({"id": number, **event_fields(event)})
                await self._link.drain()

    async def _statistics(self, number: int, message: Fields) -> None:
        told = await self._model(message).statistics()
        told = replace(told, memory_bytes=max(told.memory_bytes, memory_bytes()))
        self._link.put({"id": number, **event_fields(told)})

    async def _forget_audiences(self, number: int, message: Fields) -> None:
        model = self._model(message)
        if isinstance(model, Forgetting):
            await model.forget(frozenset(message["audiences"]))
        self._link.put({"id": number, "done": {}})

    async def _close(self, number: int, message: Fields) -> None:
        model = self._model(message)
        del self._models[message["model"]]
        await model.close()
        self._link.put({"id": number, "done": {}})

    def _model(self, message: Fields) -> ChatModel:
        try:
            return self._models[message["model"]]
        except (KeyError, TypeError):
            raise ModelError("the model is not loaded") from None


def memory_bytes() -> int:
    """Tell the memory this process takes; where the system does not tell the present, the most it took."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def run_host(arguments: list[str], types: Mapping[str, ModelType]) -> NoReturn:
    """Serve models of these types until the engine is gone.

    Args:
        arguments: the number of the socket's file descriptor, and the log settings as JSON.
    """
    descriptor, log_settings = arguments
    _configure_log(log_settings)
    # The engine drains after these, and needs its models for it; they end with their socket.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO), "ascii")
    # Whatever a model's library or code would like to tell or fetch: from here it connects to nothing.
    install((), process="model")
    uvloop.run(_serve(socket.socket(fileno=int(descriptor)), types), loop_factory=new_event_loop)
    sys.exit(0)


async def _serve(end: socket.socket, types: Mapping[str, ModelType]) -> None:
    try:
        await Host(await FrameLink.open(end), types).run()
    except ModelError as error:
        log.error("engine_not_understood", error=str(error))
    # At once: nobody waits for what still runs, and a library may take its time to be torn down.
    os._exit(0)


def _configure_log(settings: str) -> None:
    from hub.logs import LogSettings, configure_logs  # noqa: PLC0415

    configure_logs(LogSettings.model_validate_json(settings))


if __name__ == "__main__":
    run_host(sys.argv[1:], MODEL_TYPES)
