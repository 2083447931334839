"""Hosts models without weights in a process of their own; what they are asked decides what becomes of it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    ChatModel,
    End,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
    Waiting,
)
from engine.models.host import run_host
from engine.models.registry import ModelType
from engine.models.templates import EncodedPrompt
from hub.errors import ModelBusy, ModelError, OptionRefused
from hub.model_settings import GgufSettings
from tests.models import EchoModel

COMMAND = (sys.executable, "-m", "tests.echo_host")
CONTEXT_LENGTH = 2048
"""Of a model whose settings leave it open."""


class HostedEcho(EchoModel):
    """Says the last message back; some messages mean something else."""

    hanging = 0

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Do what the last message says."""
        words = prompt.messages[-1].text.split()
        match words:
            case ["hang", file]:
                self.hanging += 1
                try:
                    yield Text(text="hanging")
                    await asyncio.Event().wait()
                finally:
                    self.hanging -= 1
                    mark(file)
            case ["freeze"]:
                yield Text(text="freezing")
                os.kill(os.getpid(), signal.SIGSTOP)
            case ["refuse"]:
                raise OptionRefused("not that")
            case ["busy"]:
                raise ModelBusy(2.5)
            case ["break"]:
                raise ZeroDivisionError("a fault of the library")
            case ["wait"]:
                yield Waiting(wait_s=7)
                yield Text(text="done")
                yield End(reason="stop", prompt_tokens=1, answer_tokens=1)
            case ["who"]:
                yield Text(text=f"{self.name}/{self.context_length}/{os.getpid()}")
                yield End(reason="stop", prompt_tokens=1, answer_tokens=1)
            case ["requester"]:
                yield Text(text=repr((prompt, options, requester)))
                yield End(reason="stop", prompt_tokens=1, answer_tokens=1)
            case _:
                async with aclosing(super().stream(prompt, options, requester)) as events:
                    async for event in events:
                        yield event

    async def statistics(self) -> ModelStatistics:
        """Tell how many hang."""
        return ModelStatistics(running=self.hanging)


def mark(file: str) -> None:
    """Leave a trace where the test looks for it."""
    Path(file).write_text("stopped", "utf-8")


class WordTokenizer:
    """Counts as `EchoModel` does."""

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Count words; one more for each message."""
        return EchoModel().count_tokens(messages)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Nobody asks for the tokens themselves."""
        raise NotImplementedError


async def load_echo(name: str, settings: GgufSettings) -> ChatModel:
    """Load what the file says: "broken" cannot be loaded, "crash" ends the process."""
    match await asyncio.to_thread(Path(settings.path).read_bytes):
        case b"broken":
            raise ModelError(f"model {name} is broken")
        case b"crash!":
            os.kill(os.getpid(), signal.SIGKILL)
    return HostedEcho(name=name, context_length=settings.context_length or CONTEXT_LENGTH)


TYPES = {"gguf": ModelType(load=load_echo, load_tokenizer=lambda _: WordTokenizer())}

if __name__ == "__main__":
    run_host(sys.argv[1:], TYPES)
