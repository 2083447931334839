"""Whether an answer depends on who else is being answered: greedy texts of many at once beside each alone."""

import asyncio

from benchmarks.generation.library import Library
from benchmarks.generation.loads import NEW_TOKENS, Load, LoadName
from benchmarks.generation.sides import Side, hubbub, open_tokenizer
from engine.models.base import Prompt
from engine.models.templates import PromptTokenizer

PEOPLE = 32
SPLITS = (512, 128, 64, 33, 7)
"""Sums of floating-point numbers depend on their order: the same text, computed so many tokens at a time by the library
alone, gives logits that differ. Logits that lie closer than that may change places."""


async def run(*, short: bool) -> None:
    """Print how many texts agree, and for the others how close the two tokens were where they part."""
    people = 8 if short else PEOPLE
    tokenizer = open_tokenizer()
    names: tuple[LoadName, ...] = ("short", "rag")
    for name in names:
        load = Load(name=name, turns=1)
        prompts = [load.ask(0, person, 0) for person in range(people)]
        async with hubbub(people, 1024) as side:
            together = await asyncio.gather(*(_text(side, prompt, n) for n, prompt in enumerate(prompts)))
        async with hubbub(1, 1024) as side:
            alone = [await _text(side, prompt, n) for n, prompt in enumerate(prompts)]
        _report(name, tokenizer, list(zip(prompts, together, alone, strict=True)))


async def _text(side: Side, prompt: Prompt, person: int) -> str:
    return (await side.ask(prompt, person=str(person), tokens=NEW_TOKENS, returns=False)).text


def _report(name: str, tokenizer: PromptTokenizer, answers: list[tuple[Prompt, str, str]]) -> None:
    different = [answer for answer in answers if answer[1] != answer[2]]
    library = Library(1, 2048)
    gaps = [_gaps(library, tokenizer, *answer) for answer in different]
    library.close()
    margin = max((max(by_split) - min(by_split) for by_split in gaps), default=0.0)
    nearest = sorted(min(map(abs, by_split)) for by_split in gaps)
    print(
        f"{name:6} {len(answers) - len(different)} of {len(answers)} answers are the same as alone; "
        f"{len(different)} part where two logits were {', '.join(f'{gap:.3f}' for gap in nearest) or '-'} apart; the same "
        f"two move by up to {margin:.3f} with the split of a batch; "
        f"{sum(gap > margin for gap in nearest)} lie further apart than that",
        flush=True,
    )


def _gaps(library: Library, tokenizer: PromptTokenizer, prompt: Prompt, one: str, other: str) -> list[float]:
    """Return how far apart the logits of the first different tokens are, as the library computes them, by split."""
    opening = tokenizer.encode(prompt).tokens.tolist()
    first, second = (tokenizer.encode(Prompt(text=text)).tokens.tolist() for text in (one, other))
    same = next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
        min(len(first), len(second)) - 1,
    )
    text = [*opening, *first[:same]]
    rows = [library.logits(text, split) for split in SPLITS]
    return [float(row[first[same]] - row[second[same]]) for row in rows]
