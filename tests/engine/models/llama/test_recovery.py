"""Steps that fail: nobody's answer is lost, and nothing of it is said twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.models.base import GenerateOptions, Prompt, Requester, Waiting
from engine.models.llama.batch import Batch
from engine.models.llama.context import LlamaContext
from engine.models.llama.model import LlamaChatModel
from hub.errors import ModelBusy, ModelError
from tests.engine.models.llama.asking import LIMIT_S, answer, prompt, small_model, until
from tests.models import said_by

COUNTING = Prompt(text="one two three four one two three four one two three four one two three four one two")
ALPHABET = Prompt(
    text="a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q"
)


class FailingContext(LlamaContext):
    """Gives the statuses of `failures` instead of computing, at the steps they are under."""

    failures: dict[int, int] = {}  # noqa: RUF012 - each test sets its own
    steps = 0

    def decode(self, batch: Batch) -> int:
        """Compute, or fail."""
        self.steps += 1
        failure = self.failures.get(self.steps)
        return super().decode(batch) if failure is None else failure


@pytest.fixture
async def failing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LlamaChatModel]:
    """Return a model whose steps can be made to fail."""
    monkeypatch.setattr("engine.models.llama.model.LlamaContext", FailingContext)
    async with small_model(parallel=3) as model:
        yield model


@pytest.mark.parametrize("status", [1, 2, -1, -2, -3])
async def test_a_failed_step_costs_nobody_a_word(
    failing: LlamaChatModel, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Answers go on where they were: not a token is lost, none comes twice."""
    questions = (COUNTING, ALPHABET)
    alone = [(await answer(failing, question, tokens=16))[0] for question in questions]
    monkeypatch.setattr(FailingContext, "failures", dict.fromkeys((40, 47), status))

    answers = await asyncio.gather(*(answer(failing, question, tokens=16) for question in questions * 2))

    assert [text for text, _ in answers] == alone * 2


async def test_a_step_that_fails_again_and_again_ends_its_answers(
    failing: LlamaChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who asked are told, and the model goes on with the next."""
    monkeypatch.setattr(FailingContext, "failures", dict.fromkeys(range(1, 6), -3))

    with pytest.raises(ModelError, match="could not compute"):
        await answer(failing, COUNTING)
    monkeypatch.setattr(FailingContext, "failures", {})

    assert (await answer(failing, COUNTING))[1].answer_tokens == 8


class NumberlessContext(LlamaContext):
    """Computes nothing but what is no number."""

    def logits(self, rows: int) -> NDArray[np.float32]:
        """Return rows as broken weights would give them."""
        return np.full_like(super().logits(rows), np.nan)


async def test_weights_that_compute_no_numbers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of an answer of one token over and over."""
    monkeypatch.setattr("engine.models.llama.model.LlamaContext", NumberlessContext)
    async with small_model(parallel=1) as model:
        with pytest.raises(ModelError, match="not numbers"):
            await answer(model, COUNTING)

        assert (await model.statistics()).running == 0


async def test_one_person_with_many_answers_makes_way_for_another() -> None:
    """An answer is interrupted, goes on later, and misses no word; nothing of it is computed a second time."""
    greedy, modest = (Requester(audience=name, person=name) for name in ("greedy", "modest"))
    async with small_model(parallel=2) as model:
        expected, _ = await answer(model, COUNTING, greedy, tokens=60)
        running = [asyncio.ensure_future(answer(model, COUNTING, greedy, tokens=60)) for _ in range(2)]
        await until(model, lambda told: told.running == 2)

        await answer(model, ALPHABET, modest, tokens=4)

        assert not all(task.done() for task in running)
        assert [text for text, _ in await asyncio.gather(*running)] == [expected] * 2


async def test_an_answer_of_the_same_person_is_not_interrupted() -> None:
    """Who has all sequences waits for one of them."""
    maria = Requester(person="maria")
    async with small_model(parallel=1) as model:
        endless = GenerateOptions(max_tokens=400, ignore_end=True)
        async with aclosing(model.stream(prompt("A story."), endless, maria)) as running:
            await anext(running)
            async with aclosing(model.stream(prompt("Another."), endless, maria)) as second:
                waiting = await anext(second)

    assert isinstance(waiting, Waiting)
    assert waiting.wait_s > 0


async def test_more_than_the_line_holds_is_refused() -> None:
    """The error says when to come back; what waits already is answered, and so is whoever had nothing waiting yet."""
    options = GenerateOptions(max_tokens=100, ignore_end=True)
    greedy, modest = Requester(person="greedy"), Requester(person="modest")
    async with asyncio.timeout(LIMIT_S), small_model(parallel=1, waiting_tokens=512) as model:
        first = asyncio.ensure_future(said_by(model.stream(prompt("One."), options, greedy)))
        await until(model, lambda told: told.running == 1)
        waiting = [
            asyncio.ensure_future(said_by(model.stream(prompt("Two."), options, greedy))) for _ in range(2)
        ]
        await until(model, lambda told: told.waiting == 2)

        with pytest.raises(ModelBusy) as caught:
            await anext(model.stream(prompt("Three."), options, greedy))
        other = await answer(model, prompt("Four."), modest)

        assert caught.value.retry_after_s >= 1
        assert other[1].answer_tokens == 8
        assert all(await asyncio.gather(first, *waiting))
