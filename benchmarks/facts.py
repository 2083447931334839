"""What of the facts that are remembered is true? Scripted people write, by rules alone and with the model's help.

Nothing but a fact's own line says whether it is true of its writer. A fifth of the lines tell something; the others quote, deny,
suppose, joke, tell of others, forward, or repeat what the assistant said.

python -m benchmarks.facts                 20 scripts by rules, one with the model; some minutes
python -m benchmarks.facts --scripts 0     the model alone
python -m benchmarks.facts --short         a tenth of it
"""

import argparse
import asyncio
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.memory.finding import FactFinder
from engine.models.llama.model import LlamaChatModel
from hub.logs import LogSettings, configure_logs
from hub.memory_settings import MemorySettings
from hub.model_settings import GgufSettings
from hub.settings import EngineSettings
from tests.engine.bench import opened_bench
from tests.engine.fact_turns import Tally, Writers
from tests.engine.red_team.recording import RecordingModel
from tests.engine.scripted_people import Line, script
from tests.models import EchoModel, LoadedModels
from tests.servers.redis import RedisServer

TURNS = 1000
SCRIPTS = 20
TASTES: tuple[tuple[str, dict[str, tuple[str, ...]]], ...] = (
    ("I like jazz", {"likes": ("jazz",)}),
    ("I love hiking in the hills", {"likes": ("hiking",)}),
    ("I hate loud bars", {"dislikes": ("loud bars",)}),
    ("I don't like coriander", {"dislikes": ("coriander",)}),
    ("I play the cello", {"hobby": ("cello",)}),
    ("I paint watercolours at weekends", {"hobby": ("watercolours",)}),
    ("I speak Konkani and Portuguese", {"speaks": ("Konkani",)}),
    ("I study marine biology", {"studies": ("marine biology",)}),
    ("I am a vegetarian", {"diet": ("vegetarian",)}),
    ("I am allergic to peanuts", {"allergy": ("peanuts",)}),
    ("I have two cats", {"owns": ("cats",)}),
    ("I want to run a marathon", {"goal": ("marathon",)}),
)
"""What only the model looks for."""
NOT_TRUE = (
    'She said "{said}"',
    "If {said}, what follows?",
    "{said}? No.",
    "{said}, just kidding",
    "My friend writes: {said}",
    "For example, {said}",
    "Translate into German: {said}",
    "I used to say that {said}",
)
PLAIN = (
    "I need help with my invoice",
    "I would like to know when you open",
    "I want a refund",
    "I have a question about my order",
    "I have not received my parcel",
    "We like your page",
    "I hope you are well",
    "I got an error when I logged in",
    "How do I connect a mailbox?",
    "I plan to call you tomorrow",
)
"""Says nothing lasting about its writer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a tenth of it")
    parser.add_argument("--scripts", type=int, default=SCRIPTS, help="how many are written by rules")
    asked = parser.parse_args()
    configure_logs(LogSettings(level="error"))
    part = 10 if asked.short else 1
    asyncio.run(_measure(TURNS // part, asked.scripts // part))


async def _measure(turns: int, scripts: int) -> None:
    if scripts:
        _print_spread(
            [await _write(script(random.Random(seed), turns), seed) for seed in range(scripts)], turns
        )
    # One thread: the model is asked for one short text after the other.
    llama = await LlamaChatModel.load("smollm2-135m", GgufSettings(threads=1))
    model = RecordingModel(llama)
    for name, lines in (
        ("the first script", script(random.Random(0), turns)),
        ("a script of what only the model looks for", tastes(random.Random(0), turns // 4)),
    ):
        for helper in (None, model):
            _print(f"{name}, {'with the model' if helper else 'by rules'}", await _write(lines, 0, helper))
    print(f"the model was asked {len(model.prompts)} times")
    await llama.close()


def tastes(dice: random.Random, turns: int) -> list[Line]:
    """Write messages of which a third tell a taste, a third only sound like it, and a third tell nothing."""
    lines = []
    for _ in range(turns):
        said, truth = dice.choice(TASTES)
        match dice.randrange(3):
            case 0:
                lines.append(Line(f"{said}.", truth, "tells"))
            case 1:
                lines.append(Line(dice.choice(NOT_TRUE).format(said=said), {}, "only sounds like it"))
            case _:
                lines.append(Line(dice.choice(PLAIN), {}, "tells nothing"))
    return lines


async def _write(lines: list[Line], seed: int, model: RecordingModel | None = None) -> Tally:
    helper = model or EchoModel()
    finder = FactFinder(
        LoadedModels(helper), MemorySettings(model_facts=model is not None), engine=EngineSettings(), tiers={}
    )
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), appendfsync="no") as server:
        async with opened_bench(server.url) as bench:
            return await Writers(bench, finder, random.Random(seed), model=helper.name).write(lines)


def _print_spread(tallies: Sequence[Tally], turns: int) -> None:
    print(f"{len(tallies)} scripts of {turns} turns, by rules")
    for name, values in (
        ("junk", [tally.junk_share for tally in tallies]),
        ("junk without the hard lines", [tally.easy_junk_share for tally in tallies]),
        ("recall", [tally.recall for tally in tallies]),
    ):
        print(f"  {name:30} mean {np.mean(values):.4f}, {min(values):.4f} to {max(values):.4f}")
    print(f"  facts stored                   {sum(tally.stored for tally in tallies)}")
    print(f"  quotes that do not match       {sum(len(tally.without_quote) for tally in tallies)}")
    print(f"  echoes                         {sum(len(tally.echoes) for tally in tallies)}", flush=True)


def _print(name: str, tally: Tally) -> None:
    print(f"{name}")
    rules = tally.stored - tally.by_model
    print(f"  facts stored                   {tally.stored}: {rules} by rules, {tally.by_model} by the model")
    print(
        f"  junk                           {tally.junk.total()}, {tally.junk_by_model} of it by the model: {dict(tally.junk)}"
    )
    print(f"  recall                         {tally.known} of {tally.told}")
    print(f"  quotes that do not match       {len(tally.without_quote)}")
    print(f"  echoes                         {len(tally.echoes)}", flush=True)


if __name__ == "__main__":
    main()
