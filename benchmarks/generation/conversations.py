"""Many conversations that take turns, more than there are sequences: what is known of each when it comes back."""

import asyncio
import random
from statistics import median

from benchmarks.generation.loads import TURNS, Load
from benchmarks.generation.sides import Answered, Side, hubbub
from benchmarks.generation.table import percentile
from engine.models.base import ChatMessage

CONVERSATIONS = 200
AT_ONCE = 16
TURNS_EACH = 5
NEW_TOKENS = 24


async def run(*, short: bool) -> None:
    """Print hit rate, time to the first token and memory, for each fifth of the turns."""
    people = 40 if short else CONVERSATIONS
    said: dict[int, tuple[ChatMessage, ...]] = dict.fromkeys(range(people), ())
    order = [person for turn in range(TURNS_EACH) for person in _shuffled(people, turn)]
    async with hubbub(AT_ONCE, 1024) as side:
        for turn in range(TURNS_EACH):
            waiting = order[turn * people : (turn + 1) * people]
            answers: list[Answered] = []
            await asyncio.gather(*(_client(side, waiting, turn, said, answers) for _ in range(AT_ONCE)))
            known = sum(a.cached_tokens for a in answers) / sum(a.prompt_tokens for a in answers)
            waits = [a.first_token_s for a in answers]
            memory = side.process().memory_info().rss / 2**20
            print(
                f"turn {turn + 1} of {people} conversations: {known:.0%} of the prompts' tokens known, first token "
                f"{median(waits):.2f} s (p95 {percentile(waits, 95):.2f} s), memory {memory:.0f} MiB",
                flush=True,
            )


async def _client(
    side: Side,
    waiting: list[int],
    turn: int,
    said: dict[int, tuple[ChatMessage, ...]],
    answers: list[Answered],
) -> None:
    load = Load(name="conv", turns=TURNS)
    while waiting:
        person = waiting.pop()
        prompt = load.ask(0, person, turn, said[person])
        answer = await side.ask(prompt, person=str(person), tokens=NEW_TOKENS, returns=True)
        said[person] = (
            *said[person],
            prompt.messages[-1],
            ChatMessage(role="assistant", text=answer.text),
        )
        answers.append(answer)


def _shuffled(people: int, turn: int) -> list[int]:
    order = list(range(people))
    random.Random(turn).shuffle(order)
    return order
