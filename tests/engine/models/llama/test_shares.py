"""Who is served when, by the bundled model: told by what ends first and by steps, never by the clock."""

import asyncio
from collections import Counter
from contextlib import aclosing

from engine.models.base import GenerateOptions, Prompt, Requester, Text
from engine.models.llama.model import LlamaChatModel
from tests.engine.models.llama.asking import LIMIT_S, answer, prompt, small_model, until

STORY = "The library in the old town was built when the harbour was new. "


async def test_one_request_of_a_person_is_not_behind_ten_of_another() -> None:
    """It came last, and is among the first that are answered."""
    ended: list[str] = []

    async def ask(model: LlamaChatModel, person: str, number: int) -> None:
        await answer(model, prompt(f"{person} {number}"), Requester(person=person), tokens=12)
        ended.append(person)

    async with small_model(parallel=2) as model:
        asking = [asyncio.ensure_future(ask(model, "greedy", number)) for number in range(10)]
        await until(model, lambda told: told.running + told.waiting >= 9)
        asking.append(asyncio.ensure_future(ask(model, "modest", 0)))
        await asyncio.gather(*asking)

    assert ended.count("greedy") == 10
    assert ended.index("modest") <= 2


async def test_the_weight_of_a_tier_is_its_share_of_the_tokens() -> None:
    """Three to one, while both want more than there is; however many people are in each."""
    tokens = Counter[str]()
    shares: list[tuple[int, int]] = []

    async def ask(model: LlamaChatModel, requester: Requester, number: int) -> None:
        _, end = await answer(model, prompt(f"Question {number}"), requester, tokens=8)
        tokens[requester.tier] += end.answer_tokens
        shares.append((tokens["gold"], tokens["free"]))

    async with small_model(parallel=2) as model:
        gold = [Requester(person="one", tier="gold", weight=3.0)] * 24
        free = [Requester(person=f"free {number % 5}", tier="free") for number in range(24)]
        both = [requester for pair in zip(free, gold, strict=True) for requester in pair]
        await asyncio.gather(*(ask(model, requester, number) for number, requester in enumerate(both)))

    # Of 48 answers the first 28 ended while both tiers still had some waiting.
    of_gold, of_free = shares[27]
    assert 2.2 <= of_gold / of_free <= 4


async def test_a_long_prompt_holds_back_neither_short_ones_nor_a_running_answer() -> None:
    """It came first; the others have their first word before it, and who is being answered gets a token at each step."""
    begun: list[str] = []
    options = GenerateOptions(max_tokens=4, ignore_end=True)

    async def ask(model: LlamaChatModel, person: str, asked: Prompt) -> None:
        async with aclosing(model.stream(asked, options, Requester(person=person))) as events:
            async for event in events:
                if isinstance(event, Text):
                    begun.append(person)
                    return

    async with (
        asyncio.timeout(LIMIT_S),
        small_model(parallel=5, context_length=1536, batch_tokens=64) as model,
    ):
        endless = GenerateOptions(max_tokens=1200, ignore_end=True)
        async with aclosing(model.stream(prompt("A story."), endless, Requester(person="reader"))) as reading:
            await anext(reading)
            before = await model.statistics()
            long = asyncio.ensure_future(ask(model, "long", Prompt(text=STORY * 90)))
            await until(model, lambda told: told.running == 2)
            short = [asyncio.ensure_future(ask(model, f"short {n}", prompt(f"Short {n}"))) for n in range(3)]
            await asyncio.gather(long, *short)
            after = await model.statistics()

    steps = after.steps - before.steps
    assert begun[-1] == "long"
    assert steps > 10
    assert after.answer_tokens - before.answer_tokens >= steps - 2
