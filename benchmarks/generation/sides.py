"""Who answers in the benchmark: the hub's own engine and those it is compared with, each in a process of its own."""

import asyncio
import contextlib
import multiprocessing
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import orjson
import psutil

from engine.models.base import ChatModel, End, GenerateOptions, Prompt, Requester, Text, Waiting
from engine.models.llama.files import model_file
from engine.models.process import ModelProcess
from engine.models.registry import MODEL_TYPES
from engine.models.templates import PromptTokenizer
from hub.model_settings import BUNDLED_MODEL, GgufSettings
from hub.settings import LogSettings


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
async def hubbub(people: int, context_length: int) -> AsyncIterator[Side]:
    """Start the hub's engine for one model, in the process it has in the hub, too."""
    settings = GgufSettings(context_length=context_length, parallel=people)
    process = await ModelProcess.start(LogSettings(level="error"))
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
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
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
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve_llama_class, args=(theirs, context_length), daemon=True
    )
    process.start()
    theirs.close()
    try:
        await asyncio.to_thread(ours.recv)
        yield LlamaClass(ours, process.pid or 0)
    finally:
        ours.close()
        await asyncio.to_thread(process.join, 20)


class LlamaClass:
    """llama-cpp-python's high-level class; people wait for each other in front of it."""

    name = "Llama"

    def __init__(self, pipe: "Connection[Any, Any]", pid: int) -> None:
        self._pipe = pipe
        self._pid = pid
        self._lock = asyncio.Lock()

    async def ask(self, prompt: Prompt, *, person: str, tokens: int, returns: bool) -> Answered:
        """Answer one prompt, once it is its turn."""
        asked_at = time.perf_counter()
        messages = [{"role": message.role, "content": message.text} for message in prompt.messages]
        async with self._lock:
            self._pipe.send((messages, tokens))
            # The clock is the same for all processes of this machine.
            text, first_at, ended_at = await asyncio.to_thread(self._pipe.recv)
        return Answered(text=text, tokens=tokens, asked_at=asked_at, first_at=first_at, ended_at=ended_at)

    def process(self) -> psutil.Process:
        """Return the process that computes."""
        return psutil.Process(self._pid)


def _serve_llama_class(pipe: "Connection[Any, Any]", context_length: int) -> None:
    import llama_cpp  # noqa: PLC0415

    threads = psutil.cpu_count(logical=False) or 1
    model = llama_cpp.Llama(
        str(model_file(GgufSettings())),
        n_ctx=context_length,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
    )
    vocabulary = llama_cpp.llama_model_get_vocab(model._model.model)
    ends = {
        token: -1e9 for token in range(model.n_vocab()) if llama_cpp.llama_vocab_is_eog(vocabulary, token)
    }
    pipe.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            messages, tokens = pipe.recv()
            first_at, pieces = 0.0, []
            for chunk in model.create_chat_completion(
                messages, temperature=0.0, max_tokens=tokens, stream=True, logit_bias=ends
            ):
                if text := chunk["choices"][0]["delta"].get("content"):
                    first_at = first_at or time.perf_counter()
                    pieces.append(text)
            pipe.send(("".join(pieces), first_at, time.perf_counter()))


async def _until_healthy(client: aiohttp.ClientSession) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            async with client.get("/health") as answer:
                if answer.status == 200:
                    return
        await asyncio.sleep(0.05)
