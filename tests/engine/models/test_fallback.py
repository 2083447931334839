"""The next model answers where one cannot."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from structlog.testing import capture_logs

from engine.models.base import (
    ANYBODY,
    ChatMessage,
    ChatModel,
    GenerateEvent,
    GenerateOptions,
    Prompt,
    Requester,
    Waiting,
)
from engine.models.fallback import use_with_fallbacks
from hub.errors import ContextWindowExceeded, ModelError, ModelUnavailable, OptionRefused, UnknownModel
from tests.models import EchoModel, said_by

PROMPT = Prompt(messages=(ChatMessage(role="user", text="one two three"),))
OPTIONS = GenerateOptions(max_tokens=10)


class FailingModel(EchoModel):
    """Fails after so many events."""

    def __init__(self, name: str, error: ModelError, *, after: int = 0, waits: bool = False) -> None:
        super().__init__(name=name)
        self._error = error
        self._after = after
        self._waits = waits

    async def stream(
        self, prompt: Prompt, options: GenerateOptions, requester: Requester = ANYBODY
    ) -> AsyncGenerator[GenerateEvent]:
        """Yield some of the answer and fail."""
        if self._waits:
            yield Waiting(wait_s=1.0)
        left = self._after
        async for event in super().stream(prompt, options, requester):
            if not left:
                raise self._error
            left -= 1
            yield event


class Models:
    """Gives models by name as a manager does; an error in place of a model is raised."""

    def __init__(self, models: Mapping[str, ChatModel | ModelError]) -> None:
        self._models = models
        self.used: list[str] = []
        self.in_use = 0

    def use(self, name: str) -> AbstractAsyncContextManager[ChatModel]:
        """Load a model for the time of a block."""
        return self._use(name)

    @asynccontextmanager
    async def _use(self, name: str) -> AsyncIterator[ChatModel]:
        self.used.append(name)
        model = self._models.get(name, UnknownModel(name, self._models))
        if isinstance(model, ModelError):
            raise model
        self.in_use += 1
        try:
            yield model
        finally:
            self.in_use -= 1


async def _ask(models: Models, *names: str) -> tuple[str, str]:
    async with use_with_fallbacks(names, models.use) as model:
        text = await said_by(model.stream(PROMPT, OPTIONS))
        return text, model.answered_by


async def test_nobody_else_is_loaded_while_the_first_answers() -> None:
    """A fallback takes memory only when it is needed."""
    models = Models({"a": EchoModel(name="a"), "b": EchoModel(name="b")})

    assert await _ask(models, "a", "b") == ("one two three", "a")
    assert models.used == ["a"]


async def test_the_next_answers_where_one_cannot_be_loaded() -> None:
    """That also counts the tokens, and the log says why."""
    models = Models({"a": ModelUnavailable("no file"), "c": EchoModel(name="c", context_length=7)})

    with capture_logs() as logs:
        async with use_with_fallbacks(["a", "b", "c"], models.use) as model:
            assert (model.name, model.context_length) == ("c", 7)
            assert model.count_tokens(PROMPT.messages) == 4

    assert [(entry["event"], entry["model"], entry["fallback"]) for entry in logs] == [
        ("model_fallen_back", "a", "b"),
        ("model_fallen_back", "b", "c"),
    ]
    assert logs[0]["error"] == "no file"


@pytest.mark.parametrize("error", [ModelError("broken"), OptionRefused("no grammar")])
async def test_the_next_answers_where_one_fails_before_its_first_word(error: ModelError) -> None:
    """An estimate of the wait is no word; and every model that was used is let go."""
    models = Models(
        {
            "a": FailingModel("a", error, waits=True),
            "b": FailingModel("b", ModelError("broken too")),
            "c": EchoModel(name="c"),
        }
    )

    assert await _ask(models, "a", "b", "c") == ("one two three", "c")
    assert models.used == ["a", "b", "c"]
    assert models.in_use == 0


async def test_nobody_else_is_asked_once_text_was_shown() -> None:
    """What was shown cannot be taken back."""
    models = Models({"a": FailingModel("a", ModelError("broken"), after=1), "b": EchoModel(name="b")})

    with pytest.raises(ModelError, match="broken"):
        await _ask(models, "a", "b")

    assert models.used == ["a"]


async def test_a_prompt_that_is_too_long_is_the_callers_to_shorten() -> None:
    """A shorter one can still be answered by the model that is wanted."""
    models = Models({"a": EchoModel(name="a", context_length=5), "b": EchoModel(name="b")})

    with pytest.raises(ContextWindowExceeded):
        await _ask(models, "a", "b")


async def test_a_fallback_for_which_the_prompt_is_too_long_is_passed_over() -> None:
    """The prompt was made for another one."""
    models = Models(
        {
            "a": FailingModel("a", ModelError("broken")),
            "b": EchoModel(name="b", context_length=5),
            "c": EchoModel(name="c"),
        }
    )

    assert await _ask(models, "a", "b", "c") == ("one two three", "c")


async def test_the_first_error_is_told_where_nobody_can_answer() -> None:
    """It is about the model that was wanted."""
    failing = Models({"a": FailingModel("a", ModelError("broken")), "b": ModelUnavailable("away")})
    missing = Models({"a": ModelUnavailable("no file")})

    with pytest.raises(ModelError, match="broken"):
        await _ask(failing, "a", "b")
    with pytest.raises(ModelError, match="no file"):
        await _ask(missing, "a", "b")


async def test_giving_up_lets_the_fallback_go() -> None:
    """A closed iterator frees the model that was loaded for it."""
    models = Models({"a": FailingModel("a", ModelError("broken")), "b": EchoModel(name="b")})

    async with use_with_fallbacks(["a", "b"], models.use) as model:
        events = model.stream(PROMPT, OPTIONS)
        await anext(events)
        assert models.in_use == 2
        await events.aclose()
        assert models.in_use == 1
