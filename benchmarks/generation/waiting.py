"""How well people are told how long they will wait: the estimate beside what it became, under a steady load."""

import asyncio
import random

from benchmarks.generation.loads import Load
from benchmarks.generation.sides import Answered, Side, hubbub

PARALLEL = 8
PEOPLE = 40
REQUESTS_EACH = 5
WITHIN = 0.30
LEAST_S = 3.0
"""Shorter waits are not told."""


async def run(*, short: bool) -> None:
    """Print how many estimates were within 30 %."""
    load = Load(name="short", turns=REQUESTS_EACH)
    async with hubbub(PARALLEL, 512) as side:
        people = 16 if short else PEOPLE
        rows = await asyncio.gather(*(_person(side, load, person) for person in range(people)))
    # The first round teaches the engine its pace.
    told = [
        (told_s, answer.first_at - at)
        for person in rows
        for answer in person[1:]
        for at, told_s in answer.estimates_s[:1]
        if told_s >= LEAST_S
    ]
    if not told:
        print("nobody waited long enough to be told")
        return
    good = sum(abs(estimate - real) <= WITHIN * real for estimate, real in told)
    print(f"{good} of {len(told)} estimates within {WITHIN:.0%}: {good / len(told):.0%} (goal: 90%)")


async def _person(side: Side, load: Load, person: int) -> list[Answered]:
    dice = random.Random(person)
    return [
        await side.ask(
            load.ask(7, person, turn), person=str(person), tokens=dice.choice((16, 32, 64)), returns=False
        )
        for turn in range(load.turns)
    ]
