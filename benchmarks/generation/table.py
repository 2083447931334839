"""The main table: the same people ask the same things of every side, in turn, round after round."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks.generation.loads import NEW_TOKENS, Load
from benchmarks.generation.sides import Answered, Side
from engine.models.base import ChatMessage

SAMPLE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one side did in one round."""

    tokens_per_s: float
    first_p50_s: float
    first_p95_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The medians of one side's rounds."""

    side: str
    load: str
    people: int
    tokens_per_s: float
    first_p50_s: float
    first_p95_s: float
    peak_bytes: int

    @classmethod
    def of_rounds(cls, side: str, load: str, people: int, rounds: Sequence[Round]) -> "Cell":
        """Take the median of each figure; of the memory the peak."""
        return cls(
            side=side,
            load=load,
            people=people,
            tokens_per_s=median(one.tokens_per_s for one in rounds),
            first_p50_s=median(one.first_p50_s for one in rounds),
            first_p95_s=median(one.first_p95_s for one in rounds),
            peak_bytes=max(one.peak_bytes for one in rounds),
        )


async def measure(
    sides: Sequence[Side], load: Load, people: int, rounds: int, *, first_round: int = 0
) -> list[Cell]:
    """Let every side work through every round, one side at a time, another one first each time."""
    found: dict[str, list[Round]] = {side.name: [] for side in sides}
    for number in range(first_round, first_round + rounds):
        first = number % len(sides)
        for side in (*sides[first:], *sides[:first]):
            found[side.name].append(await _round(side, load, people, number))
    return [Cell.of_rounds(name, load.name, people, rows) for name, rows in found.items()]


async def _round(side: Side, load: Load, people: int, number: int) -> Round:
    async with _peak_memory(side) as memory:
        began = time.perf_counter()
        answers = await asyncio.gather(*(_person(side, load, number, person) for person in range(people)))
        wall_s = time.perf_counter() - began
    all_answers = [answer for person in answers for answer in person]
    waits = [answer.first_token_s for answer in all_answers]
    return Round(
        tokens_per_s=sum(answer.tokens for answer in all_answers) / wall_s,
        first_p50_s=median(waits),
        first_p95_s=percentile(waits, 95),
        peak_bytes=memory.peak_bytes,
    )


async def _person(side: Side, load: Load, number: int, person: int) -> list[Answered]:
    said: tuple[ChatMessage, ...] = ()
    answers = []
    for turn in range(load.turns):
        prompt = load.ask(number, person, turn, said)
        answer = await side.ask(
            prompt, person=f"{number}.{person}", tokens=NEW_TOKENS, returns=load.name == "conv"
        )
        answers.append(answer)
        said = (*said, prompt.messages[-1], ChatMessage(role="assistant", text=answer.text))
    return answers


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile; of a single value that value."""
    return quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


@dataclass(slots=True)
class _Memory:
    peak_bytes: int = 0
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self, side: Side) -> None:
        process = side.process()
        while not self.stopped.is_set():
            self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopped.wait(), SAMPLE_S)


@contextlib.asynccontextmanager
async def _peak_memory(side: Side) -> AsyncIterator[_Memory]:
    memory = _Memory()
    watching = asyncio.create_task(memory.watch(side))
    try:
        yield memory
    finally:
        memory.stopped.set()
        await watching
