"""What is computed once for many, and what nobody else may profit from."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from engine.models.base import GenerateOptions, Prompt, Requester
from engine.models.llama.model import LlamaChatModel
from tests.engine.models.llama.asking import SYSTEM, answer, prompt, small_model

SECRET = "My account number is 4711 and the word for it is marmalade, do not tell anybody about it. " * 3


def _of(audience: str, *, returns: bool = False) -> Requester:
    return Requester(audience=audience, person=audience, returns=returns)


@pytest.fixture
async def two() -> AsyncIterator[LlamaChatModel]:
    """Return a model with room for two."""
    async with small_model(parallel=2) as model:
        yield model


@pytest.fixture
async def one() -> AsyncIterator[LlamaChatModel]:
    """Return a model with room for one."""
    async with small_model(parallel=1) as model:
        yield model


async def test_what_prompts_share_is_computed_once(two: LlamaChatModel) -> None:
    """Another person's question costs its own tokens only."""
    _, first = await answer(two, prompt("When do they open?"), _of("one"))
    _, second = await answer(two, prompt("Where are they?"), _of("other"))

    assert first.cached_tokens == 0
    assert second.prompt_tokens - second.cached_tokens < 24
    assert second.cached_tokens >= len(SYSTEM.text.split())


async def test_requests_that_come_together_wait_for_the_one_that_computes_what_they_share() -> None:
    """Of four at once one computes the shared part."""
    async with small_model(parallel=4) as model:
        questions = [prompt(f"What is sold in shop {number}?") for number in range(4)]

        ends = [end for _, end in await asyncio.gather(*(answer(model, question) for question in questions))]

    assert sorted(end.cached_tokens > 0 for end in ends) == [False, True, True, True]


async def test_a_beginning_is_copied_from_an_answer_that_is_running(two: LlamaChatModel) -> None:
    """Nobody waits for it to end."""
    endless = GenerateOptions(max_tokens=200, ignore_end=True)
    async with aclosing(two.stream(prompt("Tell a story."), endless, _of("other"))) as running:
        await anext(running)

        _, end = await answer(two, prompt("Name a shop."), _of("one"))

        assert (await two.statistics()).running == 1
    assert end.cached_tokens > 24


async def test_a_conversation_goes_on_where_it_was(two: LlamaChatModel) -> None:
    """Its earlier turns are not computed again."""
    requester = _of("conversation", returns=True)
    said, first = await answer(two, prompt("When do they open?"), requester, tokens=24)
    _, second = await answer(two, prompt("When do they open?", said, "And on Sunday?"), requester)

    assert second.cached_tokens >= first.prompt_tokens


@pytest.mark.parametrize("audience", ["other", ""])
async def test_the_text_of_one_audience_is_no_help_to_another(two: LlamaChatModel, audience: str) -> None:
    """Who guesses what somebody said learns nothing from how much of it was known."""
    await answer(two, prompt(SECRET), _of("owner", returns=True))

    _, guess = await answer(two, prompt(SECRET), _of(audience))
    _, unlike = await answer(two, prompt("Something else altogether."), _of(audience))
    _, own = await answer(two, prompt(SECRET), _of("owner"))

    assert guess.cached_tokens == unlike.cached_tokens
    assert own.cached_tokens == own.prompt_tokens - 1


async def test_without_shared_messages_nothing_is_taken_from_others(two: LlamaChatModel) -> None:
    """Not even a system text that is the same word for word."""
    await answer(two, prompt(SECRET), _of("owner", returns=True))

    _, end = await answer(two, prompt(SECRET, shared=0), _of("other"))

    assert end.cached_tokens == 0


async def test_plain_text_is_taken_from_nobody(two: LlamaChatModel) -> None:
    """A text without messages has no shared part."""
    text = Prompt(text=SECRET)
    await answer(two, text, _of("owner"))

    _, other = await answer(two, text, _of("other"))
    _, nobody = await answer(two, text)
    _, again = await answer(two, text)

    assert (other.cached_tokens, nobody.cached_tokens, again.cached_tokens) == (0, 0, 0)


async def test_a_conversation_that_had_to_make_room_comes_back_from_memory(one: LlamaChatModel) -> None:
    """And what was saved of it helps nobody else."""
    await answer(one, prompt(SECRET), _of("owner", returns=True))
    await answer(one, prompt("Something else altogether."), _of("other", returns=True))
    _, guess = await answer(one, prompt(SECRET), _of("third", returns=True))
    _, nobody = await answer(one, prompt(SECRET))

    _, own = await answer(one, prompt(SECRET), _of("owner", returns=True))

    assert own.cached_tokens == own.prompt_tokens - 1
    shared = guess.cached_tokens
    assert shared < own.prompt_tokens - len(SECRET.split())
    assert nobody.cached_tokens == shared


async def test_an_answer_from_a_saved_state_is_the_one_from_the_start(one: LlamaChatModel) -> None:
    """What comes back from memory is what was computed."""
    question = prompt("Name a shop of the kind that my grandmother liked, please, and say why she liked it.")
    first, _ = await answer(one, question, _of("owner", returns=True))
    await answer(one, prompt(SECRET), _of("other", returns=True))

    again, end = await answer(one, question, _of("owner", returns=True))

    assert end.cached_tokens == end.prompt_tokens - 1
    assert again == first
