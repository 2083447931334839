"""A standard request: a short question of 64 new tokens to a warm model, by a few clients at once, and where its time goes."""

import statistics
from collections.abc import Sequence

from benchmarks.serving.asking import Clients
from benchmarks.serving.sides import Side
from hub.events import TurnEvent

TOKENS = 64
GOAL_S = 2.0
"""Within which one such request is answered on hardware that suits its model."""
STANDARD = {"model": "general", "max_tokens": TOKENS}


async def measure_standard(side: Side, clients: Sequence[int], at_least: int) -> int:
    """Measure and print; each client asks four times, and all of them together `at_least` so many times.

    Returns: how many requests went wrong.
    """
    failed = 0
    print(
        f"\nbundled model, {TOKENS} tokens   p50 s   p95 s  tokens   waiting  first  writing  engine  back  HTTP, ms"
    )
    await Clients(side.port, side.keys, STANDARD).at_once(1, 2)
    for count in clients:
        requests = max(4 * count, at_least)
        load = await Clients(side.port, side.keys, STANDARD).at_once(count, requests)
        failed += load.errors.total()
        turns = await side.turns(requests)
        parts = [*_parts_ms(turns), (await side.parts_ms(requests))["back"]]
        # Medians of the parts: what they leave of the median of the whole is HTTP with key, limit and storing.
        rest = load.ms(0.5) - sum(parts)
        tokens = statistics.mean(turn.answer_tokens for turn in turns)
        waiting, first, writing, engine, back = parts
        print(
            f"  {count:5} at once {load.ms(0.5) / 1000:14.2f} {load.ms(0.95) / 1000:7.2f} {tokens:7.0f}"
            f" {waiting:9.0f} {first:6.0f} {writing:8.0f} {engine:7.1f} {back:5.1f} {rest:5.1f}"
        )
        if count == 1:
            print(f"        goal for one: {GOAL_S:.0f} s, {load.ms(0.95) / 1000 / GOAL_S:.2f} of it at p95")
        for error, number in load.errors.items():
            print(f"  {number} requests ended with: {error}")
    return failed


def _parts_ms(turns: Sequence[TurnEvent]) -> list[float]:
    """Return what the turns took in the engine; medians.

    Returns: waiting for a slot of the engine, the first token (the model's batch and the prompt), the other tokens, and the
        engine's own work.
    """
    return [
        statistics.median(turn.queue_ms for turn in turns),
        statistics.median(turn.first_token_ms for turn in turns),
        statistics.median(turn.generate_ms - turn.first_token_ms for turn in turns),
        statistics.median(turn.turn_ms - turn.generate_ms for turn in turns),
    ]
