"""What guessing tokens by what was said before gains, where answers quote their passages and where they do not."""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from statistics import median

from benchmarks.generation.loads import NEW_TOKENS, Load, handbook
from benchmarks.generation.sides import Hubbub, hubbub
from engine.models.base import ChatMessage, Prompt
from engine.models.process import HOST

ROUNDS = 5
REQUESTS = 4
"""Of each person in a round, one after the other."""
WITHOUT = (sys.executable, "-m", "benchmarks.generation.without_drafts")
_SYSTEM = "Repeat what the user writes, word for word."
_EXAMPLE = "The tram to the castle leaves at nine. A ticket costs two euros."


async def run(*, short: bool) -> None:
    """Print tokens per second with guesses and without, and how many tokens a step gave."""
    for people in (1,) if short else (1, 4):
        for name in ("quote", "short"):
            await _compare(name, people, 1 if short else ROUNDS)


async def _compare(name: str, people: int, rounds: int) -> None:
    rates: list[list[float]] = [[], []]
    async with AsyncExitStack() as opened:
        sides = [
            await opened.enter_async_context(hubbub(people, 1024, command)) for command in (HOST, WITHOUT)
        ]
        for number in range(rounds + 1):
            for position in (number % 2, 1 - number % 2):
                rates[position].append(await _round(sides[position], name, people, number))
        told = [await side.model.statistics() for side in sides]
    # The first round teaches the engine what steps cost.
    of_each = [median(found[1:]) for found in rates]
    per_step = [one.answer_tokens / one.step_requests for one in told]
    gain = median(one / other for one, other in zip(rates[0][1:], rates[1][1:], strict=True))
    print(
        f"{name:6}{people:4} people: {of_each[0]:.1f} tokens/s with guesses, {of_each[1]:.1f} without ({gain:.2f}x); "
        f"tokens for each request of a step {per_step[0]:.2f} and {per_step[1]:.2f}",
        flush=True,
    )


async def _round(side: Hubbub, name: str, people: int, number: int) -> float:
    async def person(at: int) -> None:
        for turn in range(REQUESTS):
            who = f"{number}.{at}.{turn}"
            asked = _asked(name, number, at, turn)
            await side.ask(asked, person=who, tokens=NEW_TOKENS, returns=False)

    began = time.perf_counter()
    await asyncio.gather(*(person(at) for at in range(people)))
    return people * REQUESTS * NEW_TOKENS / (time.perf_counter() - began)


def _asked(name: str, number: int, person: int, turn: int) -> Prompt:
    if name == "short":
        return Load(name="short", turns=REQUESTS).ask(number, person, turn)
    lines = handbook(1000 * number + 10 * person + turn).split(". ")[2:8]
    messages = (
        ChatMessage(role="system", text=_SYSTEM),
        ChatMessage(role="user", text=_EXAMPLE),
        ChatMessage(role="assistant", text=_EXAMPLE),
        ChatMessage(role="user", text=". ".join(lines) + "."),
    )
    return Prompt(messages=messages, shared=3)
