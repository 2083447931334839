"""A chat model whose work is done by a process of its own, so that its crash is a failed request and nothing more."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence

import structlog

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    End,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
)
from engine.models.frames import (
    BrokenFrames,
    Fields,
    FrameLink,
    Request,
    parse_error,
    parse_event,
    request_fields,
)
from engine.models.templates import EncodedPrompt, PromptTokenizer
from hub.errors import ModelError
from hub.logs import LogSettings
from hub.model_settings import LocalModelSettings
from hub.secret_sources.names import without_own

log = structlog.get_logger(__name__)

HOST = (sys.executable, "-m", "engine.models.host")
PATIENCE_S = 5.0
"""For a process to end once its socket is closed; by then nobody can ask it any more."""
MOST_UNREAD = 1_000_000
"""Messages of one request; a process that says more than anybody asked for is ended."""


class ModelProcess:
    """One process with any number of models in it."""

    def __init__(self, process: asyncio.subprocess.Process, link: FrameLink) -> None:
        self._process = process
        self._link = link
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[Fields]] = {}
        self._is_closing = False
        self._failure = ""
        self._reading = asyncio.create_task(self._read(), name=f"model process {process.pid}")

    @classmethod
    async def start(cls, log_settings: LogSettings, command: Sequence[str] = HOST) -> "ModelProcess":
        """Start a process without a model.

        Raises: ModelError: the system does not let it start.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(*command, str(theirs.fileno()), log_settings.model_dump_json()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=without_own(os.environ),
                    # Ctrl-C is the engine's business: it drains, and needs the model for that.
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise ModelError(f"a process for the model could not be started: {error.strerror}") from error
        return cls(process, await FrameLink.open(ours))

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    @property
    def failure(self) -> str:
        """Why it takes no more requests; empty while it does."""
        return self._failure

    async def wait(self) -> str:
        """Wait until it has ended, and tell why."""
        await asyncio.shield(self._reading)
        return self._failure

    async def load(
        self,
        name: str,
        settings: LocalModelSettings,
        load_tokenizer: Callable[[LocalModelSettings], PromptTokenizer],
    ) -> "ProcessChatModel":
        """Load a model in the process, and what counts its tokens in this one.

        Raises: ModelError: it could not be loaded, or the process has ended.
        """
        with self._request("load", name=name, settings=settings.model_dump_json()) as (handle, answers):
            loaded, tokenizer = await asyncio.gather(
                _single(answers), asyncio.to_thread(load_tokenizer, settings), return_exceptions=True
            )
        if isinstance(loaded, BaseException):
            raise loaded
        if isinstance(tokenizer, BaseException):
            await self.call("close", handle)
            raise tokenizer
        match loaded:
            case {"done": {"context_length": int(context_length)}}:
                return ProcessChatModel(name, self, handle, context_length, tokenizer)
        raise BrokenFrames(f"the process of model {name} does not say whether it is loaded")

    async def ask(self, model: int, request: Request) -> AsyncGenerator[GenerateEvent]:
        """Ask one of its models; closing the iterator stops it."""
        is_over = False
        with self._request("ask", model=model, request=request_fields(request)) as (number, answers):
            try:
                while not is_over:
                    answer = await answers.get()
                    is_over = "event" not in answer
                    event = parse_event(_known(answer))
                    is_over = isinstance(event, End)
                    yield event
            finally:
                if not is_over and not self._failure:
                    self._link.put({"do": "cancel", "id": number})

    async def call(self, do: str, model: int, **fields: object) -> Fields:
        """Let one of its models do something that has a single answer."""
        with self._request(do, model=model, **fields) as (_, answers):
            return await _single(answers)

    async def close(self) -> None:
        """End it, without waiting for what still runs in it."""
        self._is_closing = True
        self._failure = self._failure or "the model is closed"
        self._link.close()
        await asyncio.shield(self._reading)

    def kill(self) -> None:
        """End it the hard way: it does not answer any more."""
        if self._process.returncode is None:
            # Not by Process.kill(): that looks first whether it has ended, and so takes the exit code from the event
            # loop, which waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def _request(self, do: str, **fields: object) -> Iterator[tuple[int, asyncio.Queue[Fields]]]:
        if self._failure:
            raise ModelError(self._failure)
        number = next(self._numbers)
        self._waiting[number] = asyncio.Queue()
        try:
            self._link.put({"do": do, "id": number, **fields})
            yield number, self._waiting[number]
        finally:
            del self._waiting[number]

    async def _read(self) -> None:
        problem = ""
        try:
            async for message in self._link.messages():
                self._deliver(message)
        except BrokenFrames as error:
            problem = f"; {error}"
            self.kill()
        code = await self._ended()
        self._failure = self._failure or f"the process of the model ended ({_reason(code)}){problem}"
        self._link.close()
        if not self._is_closing:
            log.error("model_process_ended", pid=self.pid, reason=_reason(code), requests=len(self._waiting))
        for answers in self._waiting.values():
            answers.put_nowait({"error": "ModelError", "text": self._failure})

    def _deliver(self, message: Fields) -> None:
        number = message.get("id")
        # A request that was given up is not waited for any more.
        if isinstance(number, int) and (answers := self._waiting.get(number)):
            if answers.qsize() >= MOST_UNREAD:
                raise BrokenFrames("more is said than was asked for")
            answers.put_nowait(message)

    async def _ended(self) -> int:
        try:
            return await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        except TimeoutError:
            self.kill()
            return await self._process.wait()


class ProcessChatModel:
    """A model that was loaded in a `ModelProcess`; one of possibly several there."""

    def __init__(
        self, name: str, process: ModelProcess, handle: int, context_length: int, tokenizer: PromptTokenizer
    ) -> None:
        self.name = name
        self.context_length = context_length
        self.process = process
        self._handle = handle
        self._tokenizer = tokenizer

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included."""
        return self._tokenizer.count(messages)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Turn a prompt into the tokens that the model reads."""
        return self._tokenizer.encode(prompt)

    def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Generate the assistant's next message, piece by piece."""
        request = Request(prompt=prompt, options=options, requester=requester)
        return self.process.ask(self._handle, request)

    async def forget(self, audiences: Collection[str]) -> None:
        """Let go of what is held for audiences alone."""
        await self.process.call("forget", self._handle, audiences=list(audiences))

    async def statistics(self) -> ModelStatistics:
        """Tell what it does; the memory is that of its process."""
        answer = parse_event(await self.process.call("statistics", self._handle))
        return answer if isinstance(answer, ModelStatistics) else ModelStatistics()

    async def close(self) -> None:
        """Free the model's memory once running answers have ended; its process stays."""
        if not self.process.failure:
            with contextlib.suppress(ModelError):
                await self.process.call("close", self._handle)


async def _single(answers: asyncio.Queue[Fields]) -> Fields:
    return _known(await answers.get())


def _known(answer: Fields) -> Fields:
    if "error" in answer:
        raise parse_error(answer)
    return answer


def _reason(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"
