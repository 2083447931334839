"""Who answers in the benchmark: the hub's own engine and those it is compared with, each in a process of its own."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import orjson
import psutil

from engine.models.base import ChatModel, End, GenerateOptions, Prompt, Requester, Text, Waiting
from engine.models.llama import THREAD_VARIABLES
from engine.models.llama.files import model_file
from engine.models.process import HOST, ModelProcess
from engine.models.registry import MODEL_TYPES
from engine.models.templates import PromptTokenizer
from hub.logs import LogSettings
from hub.model_settings import BUNDLED_MODEL, GgufSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer and how it came; times by `time.perf_counter`."""

    text: str
    tokens: int
    asked_at: float
    first_at: float
    ended_at: float
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Tokens of the prompt that were not computed again; told by the hub's engine only."""
    estimates_s: tuple[tuple[float, float], ...] = ()
    """When it was told how long it would take to the first text, and the seconds it was told."""

    @property
    def first_token_s(self) -> float:
        """Seconds to the first text."""
        return self.first_at - self.asked_at


class Side(Protocol):
    """Somebody who answers any number of prompts at once, greedily and with exactly `tokens` new tokens."""

    name: str

    async def ask(self, prompt: Prompt, *, person: str, tokens: int, returns: bool) -> Answered:
        """Answer one prompt."""

    def process(self) -> psutil.Process:
        """Return the process that computes."""


@contextlib.asynccontextmanager
async def hubbub(people: int, context_length: int, command: Sequence[str] = HOST) -> AsyncIterator["Hubbub"]:
    """Start the hub's engine for one model, in the process it has in the hub, too.

    Args:
        people: who are answered at once.
        context_length: of each.
        command: starts the process.
    """
    settings = GgufSettings(context_length=context_length, parallel=people)
    process = await ModelProcess.start(LogSettings(level="error"), command)
    try:
        yield Hubbub(await process.load(BUNDLED_MODEL, settings, _load_tokenizer), process.pid)
    finally:
        await process.close()


def open_tokenizer() -> PromptTokenizer:
    """Open what turns prompts into the model's tokens."""
    return _load_tokenizer(GgufSettings())


def _load_tokenizer(settings: Any) -> PromptTokenizer:
    load = MODEL_TYPES["gguf"].load_tokenizer
    assert load
    return load(settings)


class Hubbub:
    """The hub's own engine."""

    name = "hubbub"

    def __init__(self, model: ChatModel, pid: int) -> None:
        self.model = model
        self._pid = pid

    async def ask(self, prompt: Prompt, *, person: str, tokens: int, returns: bool) -> Answered:
        """Answer one prompt."""
        options = GenerateOptions(max_tokens=tokens, ignore_end=True)
        requester = Requester(audience=person, person=person, returns=returns)
        asked_at, first_at = time.perf_counter(), 0.0
        pieces: list[str] = []
        estimates: list[tuple[float, float]] = []
        async with contextlib.aclosing(self.model.stream(prompt, options, requester)) as events:
            async for event in events:
                match event:
                    case Waiting():
                        estimates.append((time.perf_counter(), event.wait_s))
                    case Text():
                        first_at = first_at or time.perf_counter()
                        pieces.append(event.text)
                    case End():
                        end = event
        return Answered(
            text="".join(pieces),
            tokens=end.answer_tokens,
            asked_at=asked_at,
            first_at=first_at,
            ended_at=time.perf_counter(),
            prompt_tokens=end.prompt_tokens,
            cached_tokens=end.cached_tokens,
            estimates_s=tuple(estimates),
        )

    def process(self) -> psutil.Process:
        """Return the model's process."""
        return psutil.Process(self._pid)


@contextlib.asynccontextmanager
async def llama_server(executable: Path, people: int, context_length: int) -> AsyncIterator[Side]:
    """Start llama.cpp's own server with as many slots as there are people, and its prompt cache on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(psutil.cpu_count(logical=False) or 1)
    process = await asyncio.create_subprocess_exec(
        executable, "--model", model_file(GgufSettings()), "--host", "127.0.0.1", "--port", str(port),
        "--parallel", str(people), "--ctx-size", str(context_length * people),
        "--threads", threads, "--threads-http", "4", "--no-webui", "--jinja",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=_untouched_environment(),
    )  # fmt: skip
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=None)
    try:
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", connector=connector, timeout=timeout
        ) as client:
            async with asyncio.timeout(120):
                await _until_healthy(client)
            yield LlamaServer(client, process.pid)
    finally:
        process.terminate()
        await process.wait()


class LlamaServer:
    """llama.cpp's own server."""

    name = "llama-server"

    def __init__(self, client: aiohttp.ClientSession, pid: int) -> None:
        self._client = client
        self._pid = pid

    async def ask(self, prompt: Prompt, *, person: str, tokens: int, returns: bool) -> Answered:
        """Answer one prompt."""
        body = {
            "messages": [{"role": message.role, "content": message.text} for message in prompt.messages],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": True,
            "stream": True,
        }
        asked_at, first_at, pieces = time.perf_counter(), 0.0, []
        async with self._client.post("/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if not line.startswith(b"data: {"):
                    continue
                choices = orjson.loads(line[6:]).get("choices")
                if choices and (text := choices[0]["delta"].get("content")):
                    first_at = first_at or time.perf_counter()
                    pieces.append(text)
        return Answered(
            text="".join(pieces),
            tokens=tokens,
            asked_at=asked_at,
            first_at=first_at,
            ended_at=time.perf_counter(),
        )

    def process(self) -> psutil.Process:
        """Return the server's process."""
        return psutil.Process(self._pid)


@contextlib.asynccontextmanager
async def llama_class(context_length: int) -> AsyncIterator[Side]:
    """Start llama-cpp-python's `Llama` as most programs use it: one request after another."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.generation.llama_class",
        model_file(GgufSettings()), str(context_length),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=_untouched_environment(), limit=2**24,
    )  # fmt: skip
    try:
        side = LlamaClass(process)
        await side.wait_until_loaded()
        yield side
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()


class LlamaClass:
    """llama-cpp-python's high-level class; people wait for each other in front of it."""

    name = "Llama"

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self._process = process
        self._in, self._out = process.stdin, process.stdout
        self._lock = asyncio.Lock()

    async def wait_until_loaded(self) -> None:
        """Wait for the line that says so."""
        orjson.loads(await self._out.readline())

    async def ask(self, prompt: Prompt, *, person: str, tokens: int, returns: bool) -> Answered:
        """Answer one prompt, once it is its turn."""
        asked_at = time.perf_counter()
        messages = [{"role": message.role, "content": message.text} for message in prompt.messages]
        async with self._lock:
            self._in.write(orjson.dumps([messages, tokens]) + b"\n")
            # The clock is the same for all processes of this machine.
            text, first_at, ended_at = orjson.loads(await self._out.readline())
        return Answered(text=text, tokens=tokens, asked_at=asked_at, first_at=first_at, ended_at=ended_at)

    def process(self) -> psutil.Process:
        """Return the process that computes."""
        return psutil.Process(self._process.pid)


def _untouched_environment() -> dict[str, str]:
    """Return the environment without what the hub's engine sets for its own threads."""
    return {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}


async def _until_healthy(client: aiohttp.ClientSession) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with client.get("/health") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.05)
