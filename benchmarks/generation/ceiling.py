"""What the scheduler costs: the engine beside the library with the same batches known beforehand."""

import asyncio
import time
from statistics import median

from benchmarks.generation.library import Library
from benchmarks.generation.loads import NEW_TOKENS, Load, LoadName
from benchmarks.generation.sides import hubbub, open_tokenizer
from benchmarks.generation.table import measure

ROUNDS = 5


async def run(*, short: bool) -> None:
    """Print the engine's tokens per second as a share of the library's."""
    loads: tuple[tuple[LoadName, int], ...] = (("short", 256), ("rag", 1024))
    for name, context_length in loads:
        for people in (4,) if short else (16, 64):
            await _compare(name, people, context_length, 1 if short else ROUNDS)


async def _compare(name: LoadName, people: int, context_length: int, rounds: int) -> None:
    load = Load(name=name, turns=1)
    tokenizer = open_tokenizer()
    library = Library(people, context_length)
    ours, theirs = [], []
    try:
        async with hubbub(people, context_length) as side:
            for number in range(rounds):
                [cell] = await measure([side], load, people, 1, first_round=number)
                ours.append(cell.tokens_per_s)
                encoded = [tokenizer.encode(load.ask(number, person, 0)) for person in range(people)]
                shared = encoded[0].shared if name == "rag" else 0
                prompts = [one.tokens.tolist() for one in encoded]
                began = time.perf_counter()
                await asyncio.to_thread(library.answer, prompts, shared, NEW_TOKENS)
                theirs.append(people * NEW_TOKENS / (time.perf_counter() - began))
    finally:
        library.close()
    print(
        f"{name:6}{people:4} people: {median(ours):.1f} tokens/s, the library alone {median(theirs):.1f} "
        f"({median(ours) / median(theirs):.2f}x)",
        flush=True,
    )
