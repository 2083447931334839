"""What was computed for somebody is let go of, and for nobody else."""

from contextlib import aclosing

from engine.models.base import GenerateOptions, Requester
from engine.models.llama.model import LlamaChatModel
from tests.engine.models.llama.asking import answer, prompt, small_model

SECRET = "My account number is 4711 and the word for it is marmalade, do not tell anybody about it."
FEW = 10
"""Tokens by which a prompt that is known differs at least from what everybody shares."""


def _of(audience: str) -> Requester:
    return Requester(audience=audience, person=audience, returns=True)


async def _cached(model: LlamaChatModel, audience: str) -> int:
    """Ask, and return how many tokens of the prompt were known."""
    _, end = await answer(model, prompt(SECRET), _of(audience), tokens=1)
    return end.cached_tokens


async def test_nothing_is_reused_of_who_was_forgotten() -> None:
    """But for what everybody shares; others go on with what they had, and so do they with what they ask anew."""
    async with small_model(parallel=2) as model:
        await _cached(model, "one")
        shared = await _cached(model, "other")
        known = await _cached(model, "one")

        await model.forget(frozenset({"one", "nobody"}))

        assert known > shared + FEW
        assert [await _cached(model, one) for one in ("one", "one", "other")] == [shared, known, known]


async def test_what_was_saved_of_who_was_forgotten_goes_too() -> None:
    """It had made room for others, and lies in memory as bytes."""
    async with small_model(parallel=1) as model:
        await _cached(model, "one")
        shared = await _cached(model, "other")
        before = (await model.statistics()).memory_bytes

        await model.forget(frozenset({"one"}))

        assert await _cached(model, "other") > shared + FEW
        assert (await model.statistics()).memory_bytes < before


async def test_what_is_being_computed_of_who_was_forgotten_is_not_held_afterwards() -> None:
    """The answer goes on, as whoever stops it may come later."""
    options = GenerateOptions(max_tokens=4, ignore_end=True)
    async with (
        small_model(parallel=2) as model,
        aclosing(model.stream(prompt(SECRET), options, _of("one"))) as events,
    ):
        await anext(events)

        await model.forget(frozenset({"one"}))

        assert [event async for event in events]
        assert await _cached(model, "one") == await _cached(model, "other") > FEW
