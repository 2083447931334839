"""A chat model whose tokens a `Computer` computes, on a thread of its own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
)
from engine.models.hf_tokenizer import HuggingFaceTokenizer
from engine.models.llama.costs import StepCosts
from engine.models.llama.line import Line
from engine.models.llama.owner import Opened, Owner
from engine.models.llama.request import Request
from engine.models.stepping import Computer, Stepper
from engine.models.templates import EncodedPrompt
from hub.errors import ContextWindowExceeded, ModelError


class SteppedChatModel:
    """Answers any number of requests at once; the base of models that are not GGUF files."""

    def __init__(self, name: str, context_length: int, tokenizer: HuggingFaceTokenizer) -> None:
        self.name = name
        self.context_length = context_length
        self._tokenizer = tokenizer
        self._owner: Owner | None = None

    async def open(self, open_computer: Callable[[], Computer], *, waiting_tokens: int) -> None:
        """Make what computes, on the thread that it then belongs to.

        Args:
            open_computer: makes it.
            waiting_tokens: of prompts and answers that may wait.

        Raises: ModelError: it could not be made.
        """

        def open_stepper() -> Opened:
            computer = open_computer()
            costs = StepCosts()
            line = Line(
                costs,
                limit_tokens=waiting_tokens,
                parallel=computer.parallel,
                step_tokens=computer.step_tokens,
            )
            return Stepper(computer, self._tokenizer, costs, line), computer.close

        owner = Owner(self.name, open_stepper)
        await owner.start()
        self._owner = owner

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included."""
        return self._tokenizer.count(messages)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Turn a prompt into the tokens that the model reads."""
        return self._tokenizer.encode(prompt)

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Generate the assistant's next message, together with those of everybody else.

        Raises: ModelBusy: too much waits already.
        """
        if self._owner is None:
            raise ModelError(f"model {self.name} is closed")
        encoded = self._tokenizer.encode(prompt)
        needed = len(encoded.tokens) + options.max_tokens
        if needed > self.context_length:
            raise ContextWindowExceeded(self.context_length, needed)
        request = Request(
            prompt=encoded, options=options, requester=requester, loop=asyncio.get_running_loop()
        )
        async with aclosing(self._owner.answer(request)) as events:
            async for event in events:
                yield event

    async def statistics(self) -> ModelStatistics:
        """Tell what it does."""
        return self._owner.statistics() if self._owner else ModelStatistics()

    async def close(self) -> None:
        """Free the model's memory once running answers have ended."""
        owner, self._owner = self._owner, None
        if owner is not None:
            await owner.close()
