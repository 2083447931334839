"""A chat model from a GGUF file: any number of requests at once, computed together by llama.cpp."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
)
from engine.models.hardware import free_memory_bytes, plan_for, with_context
from engine.models.llama.context import ContextSettings, LlamaContext
from engine.models.llama.costs import StepCosts
from engine.models.llama.describe import machine_for_llama
from engine.models.llama.line import Line
from engine.models.llama.owner import Opened, Owner
from engine.models.llama.request import Request
from engine.models.llama.scheduler import Scheduler
from engine.models.llama.sequences import Sequences
from engine.models.llama.states import SavedStates
from engine.models.llama.tokenizer import LlamaTokenizer, template_for
from engine.models.llama.weights import LlamaWeights
from engine.models.templates import EncodedPrompt
from engine.profiles import profile_of
from hub.errors import ContextWindowExceeded, ModelError
from hub.model_settings import GgufSettings

_SAVED_SHARE = 16
"""Saved sequences take at most one part in so many of the memory that is free."""
_MOST_OUTPUTS = 16
"""Rows of logits in a step beside one for each sequence."""


class LlamaChatModel:
    """Answers by continuous batching on one thread; what prompts begin with alike is computed once.

    Several models can compute with the same weights, each with adapters of its own.
    """

    def __init__(self, name: str, settings: GgufSettings, weights: LlamaWeights) -> None:
        self.name = name
        self.context_length = settings.context_length
        self.weights = weights
        self._tokenizer = LlamaTokenizer(
            weights.vocabulary, template_for(weights.vocabulary, profile_of(settings))
        )
        self._owner = Owner(name, lambda: _open_scheduler(weights, settings))
        self._is_closed = False

    @classmethod
    async def load(
        cls, name: str, settings: GgufSettings, *, weights: LlamaWeights | None = None
    ) -> "LlamaChatModel":
        """Load a model file, which takes about a third of a second for the bundled one.

        Args:
            name: its name in the registry.
            settings: its file, and how it is run.
            weights: loaded already, of the same file; they are held until this model is closed.

        Raises:
            ModelError: the file is missing, is not the expected one, or cannot be read by llama.cpp.
            SettingsError: the prompt profile is unknown.
        """
        profile_of(settings)
        held = weights.hold() if weights else await asyncio.to_thread(LlamaWeights.open, settings)
        try:
            size = held.size(settings.kv_type)
            model = cls(name, with_context(settings, size, machine_for_llama()), held)
        except BaseException:
            held.release()
            raise
        await model._owner.start()
        return model

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, template included."""
        self._check_open()
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
        self._check_open()
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

    async def forget(self, audiences: Collection[str]) -> None:
        """Let go of what is held for audiences alone."""
        self._owner.forget(audiences)

    async def statistics(self) -> ModelStatistics:
        """Tell what it does."""
        done = self._owner.statistics()
        return replace(done, memory_bytes=self.weights.size_bytes + done.memory_bytes)

    async def close(self) -> None:
        """Free the model's memory once running answers have ended."""
        self._is_closed = True
        await self._owner.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ModelError(f"model {self.name} is closed")


def _open_scheduler(weights: LlamaWeights, settings: GgufSettings) -> Opened:
    """Open a context on the thread that will own it; the weights are released together with it."""
    try:
        context = LlamaContext(weights, _context_settings(weights, settings))
    except BaseException:
        weights.release()
        raise
    parallel, step_tokens = context.settings.parallel, context.settings.batch_tokens
    costs = StepCosts()
    states = SavedStates(free_memory_bytes() // _SAVED_SHARE)
    sequences = Sequences(context, costs, states)
    line = Line(costs, limit_tokens=settings.most_waiting_tokens, parallel=parallel, step_tokens=step_tokens)

    def close_all() -> None:
        context.close()
        weights.release()

    return Scheduler(context, weights.vocabulary, sequences, costs, line), close_all


def _context_settings(weights: LlamaWeights, settings: GgufSettings) -> ContextSettings:
    plan = plan_for(settings, weights.size(settings.kv_type), machine_for_llama())
    # Answers take nothing away from the room for prompts.
    batch_tokens = plan.batch_tokens + plan.parallel + _MOST_OUTPUTS
    return ContextSettings(
        context_length=plan.context_length,
        parallel=plan.parallel,
        batch_tokens=batch_tokens,
        output_rows=plan.parallel + _MOST_OUTPUTS,
        threads=plan.threads,
        kv_type=settings.kv_type,
        adapters=settings.adapters,
    )
