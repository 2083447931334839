"""Time to the first token with and without what was computed before: a returning conversation, a shared text."""

from collections.abc import Awaitable, Callable
from statistics import median

from benchmarks.generation.loads import TURNS, Load
from benchmarks.generation.sides import Answered, Side, hubbub
from engine.models.base import ChatMessage

ROUNDS = 5
NEW_TOKENS = 48


async def run(*, short: bool) -> None:
    """Print the medians and their ratio."""
    async with hubbub(4, 2048) as side:
        for name, measure in (("conversation of 8 turns", _conversation), ("shared 600 tokens", _shared)):
            await _compare(name, side, measure, 2 if short else ROUNDS)


async def _compare(
    name: str, side: Side, measure: Callable[[Side, int], Awaitable[tuple[Answered, Answered]]], rounds: int
) -> None:
    pairs = [await measure(side, number) for number in range(rounds)]
    fresh, known = (median(pair[kind].first_token_s for pair in pairs) for kind in (0, 1))
    share = sum(pair[1].cached_tokens for pair in pairs) / sum(pair[1].prompt_tokens for pair in pairs)
    print(
        f"{name:26} first token {fresh:.3f} s without reuse, {known:.3f} s with ({fresh / known:.1f}x sooner; "
        f"{share:.0%} of its tokens known)"
    )


async def _conversation(side: Side, number: int) -> tuple[Answered, Answered]:
    """Ask the last turn as somebody who was never there, then as the one who had the conversation."""
    load = Load(name="conv", turns=TURNS)
    said: tuple[ChatMessage, ...] = ()
    person = f"returning {number}"
    for turn in range(TURNS - 1):
        prompt = load.ask(number, 0, turn, said)
        answer = await side.ask(prompt, person=person, tokens=NEW_TOKENS, returns=True)
        said = (*said, prompt.messages[-1], ChatMessage(role="assistant", text=answer.text))
    last = load.ask(number, 0, TURNS - 1, said)
    fresh = await side.ask(last, person=f"stranger {number}", tokens=1, returns=False)
    return fresh, await side.ask(last, person=person, tokens=1, returns=True)


async def _shared(side: Side, number: int) -> tuple[Answered, Answered]:
    """Ask about a new text, then somebody else asks about the same one."""
    load = Load(name="rag", turns=1)
    first = await side.ask(load.ask(100 + number, 0, 0), person="one", tokens=1, returns=False)
    return first, await side.ask(load.ask(100 + number, 1, 0), person="other", tokens=1, returns=False)
