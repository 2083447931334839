"""Several models one behind the other: the next is asked where one cannot be loaded, or fails before its first word.

    async with use_with_fallbacks(["big", "far", "smollm2-135m"], manager.use) as model:
        async for event in model.stream(prompt, options): ...

A prompt is made for the first model that can be loaded, so that one counts its tokens and says how long it may be.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager

import structlog

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    ChatModel,
    GenerateEvent,
    GenerateOptions,
    ModelStatistics,
    Prompt,
    Requester,
    Text,
)
from hub.errors import ContextWindowExceeded, HubError, ModelError

log = structlog.get_logger(__name__)

Use = Callable[[str], AbstractAsyncContextManager[ChatModel]]
"""Gives a model by its name, loaded for as long as the block lasts; raises HubError where it cannot be loaded."""


@asynccontextmanager
async def use_with_fallbacks(names: Sequence[str], use: Use) -> AsyncIterator["FallbackChatModel"]:
    """Give the first model that can be loaded, with those after it behind it.

    Args:
        names: at least one; first the model that is wanted.
        use: loads them.

    Raises: HubError: none can be loaded; it is the first one's error.
    """
    first_error: HubError | None = None
    async with AsyncExitStack() as loaded:
        for position, name in enumerate(names, start=1):
            try:
                model = await loaded.enter_async_context(use(name))
            except HubError as error:
                first_error = first_error or error
                _tell(name, names[position:], error)
                continue
            yield FallbackChatModel(model, names[position:], use)
            return
    raise first_error or ModelError("no model is named")


class FallbackChatModel:
    """A loaded model, with others behind it for what it fails to begin.

    Once text was shown nobody else is asked, since it could not be taken back. Nor is anybody where the prompt is too
    long for this model: whoever asks can shorten it. Closing it is up to who loaded the models.
    """

    def __init__(self, model: ChatModel, fallbacks: Sequence[str], use: Use) -> None:
        self.name = model.name
        self.context_length = model.context_length
        self.answered_by = model.name
        """The model that gave the last answer."""
        self._model = model
        self._fallbacks = tuple(fallbacks)
        self._use = use

    @property
    def first(self) -> ChatModel:
        """The model that prompts are made for."""
        return self._model

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt, as the first model does."""
        return self._model.count_tokens(messages)

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Generate the assistant's next message by the first model that begins one."""
        first_error: HubError | None = None
        for position, name in enumerate((self.name, *self._fallbacks)):
            has_text = False
            try:
                async with AsyncExitStack() as loaded:
                    model = await loaded.enter_async_context(self._use(name)) if position else self._model
                    self.answered_by = model.name
                    events = model.stream(prompt, options, requester)
                    await loaded.enter_async_context(aclosing(events))
                    async for event in events:
                        has_text = has_text or isinstance(event, Text)
                        yield event
                    return
            except HubError as error:
                first_error = first_error or error
                if has_text or (isinstance(error, ContextWindowExceeded) and not position):
                    raise
                _tell(name, self._fallbacks[position:], error)
        assert first_error
        raise first_error

    async def statistics(self) -> ModelStatistics:
        """Tell what the first model does."""
        return await self._model.statistics()

    async def close(self) -> None:
        """Leave the models to who loaded them."""


def _tell(name: str, others: Sequence[str], error: HubError) -> None:
    if others:
        log.warning("model_fallen_back", model=name, fallback=others[0], error=str(error))
