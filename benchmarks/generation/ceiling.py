"""What the scheduler costs: the engine beside the library with the same batches known beforehand.

The library has a process of its own, with the environment of the engine's: threads wait for each other in the same way.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from statistics import median

import orjson

from benchmarks.generation.loads import NEW_TOKENS, TURNS, Load, LoadName
from benchmarks.generation.sides import Side, hubbub, open_tokenizer
from engine.models.base import ChatMessage, Prompt
from engine.models.templates import PromptTokenizer

ROUNDS = 5
LOADS: tuple[tuple[LoadName, int, int], ...] = (("short", 1, 256), ("rag", 1, 1024), ("conv", TURNS, 1024))
"""Name, turns of each person, context of each."""

Turns = list[list[Prompt]]
"""The prompts of all people, turn by turn."""


async def run(*, short: bool) -> None:
    """Print the engine's tokens per second as a share of the library's."""
    for name, turns, context_length in LOADS:
        for people in (4,) if short else (16, 64):
            rounds = 1 if short else ROUNDS
            await _compare(Load(name=name, turns=turns), people, context_length, rounds)


async def _compare(load: Load, people: int, context_length: int, rounds: int) -> None:
    tokenizer = open_tokenizer()
    ours, theirs = [], []
    async with _library(people, context_length) as library, hubbub(people, context_length) as side:
        for number in range(rounds):
            seconds, turns = await _by_engine(side, load, people, number)
            ours.append(people * load.turns * NEW_TOKENS / seconds)
            seconds = await _by_library(library, tokenizer, load.name, turns)
            theirs.append(people * load.turns * NEW_TOKENS / seconds)
    print(
        f"{load.name:6}{people:4} people: {median(ours):.1f} tokens/s, the library alone {median(theirs):.1f} "
        f"({median(one / other for one, other in zip(ours, theirs, strict=True)):.2f}x)",
        flush=True,
    )


async def _by_engine(side: Side, load: Load, people: int, number: int) -> tuple[float, Turns]:
    """Let all people ask; returns the seconds that took, and what they asked."""
    turns: Turns = [[Prompt()] * people for _ in range(load.turns)]

    async def person(at: int) -> None:
        said: tuple[ChatMessage, ...] = ()
        for turn in range(load.turns):
            prompt = turns[turn][at] = load.ask(number, at, turn, said)
            who, returns = f"{number}.{at}", load.name == "conv"
            answer = await side.ask(prompt, person=who, tokens=NEW_TOKENS, returns=returns)
            said = (*said, prompt.messages[-1], ChatMessage(role="assistant", text=answer.text))

    began = time.perf_counter()
    await asyncio.gather(*(person(at) for at in range(people)))
    return time.perf_counter() - began, turns


async def _by_library(
    library: asyncio.subprocess.Process, tokenizer: PromptTokenizer, name: LoadName, turns: Turns
) -> float:
    """Let the library compute the same; returns its seconds."""
    assert library.stdin
    assert library.stdout
    seconds = 0.0
    for turn, prompts in enumerate(turns):
        encoded = [tokenizer.encode(prompt) for prompt in prompts]
        shared = encoded[0].shared if name == "rag" else 0
        asked = [[one.tokens.tolist() for one in encoded], shared, NEW_TOKENS, turn > 0]
        library.stdin.write(orjson.dumps(asked) + b"\n")
        seconds += float(await library.stdout.readline())
    return seconds


@contextlib.asynccontextmanager
async def _library(people: int, context_length: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.generation.library", str(people), str(context_length),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=2**24,
    )  # fmt: skip
    assert process.stdin
    assert process.stdout
    try:
        await process.stdout.readline()
        yield process
    finally:
        process.stdin.close()
        await process.wait()
