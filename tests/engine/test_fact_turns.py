"""A thousand scripted turns: every fact that is stored has its proof, nothing that only came back is stored.

FAULT_SEED repeats a run; `python -m benchmarks.facts` counts the same over many scripts, and with the model.
"""

import os
import random
import secrets
import sys

from engine.memory.finding import FactFinder
from hub.memory_settings import MemorySettings
from hub.settings import EngineSettings
from tests.engine.bench import Bench
from tests.engine.fact_turns import Writers
from tests.engine.scripted_people import script
from tests.models import EchoModel, LoadedModels

TURNS = 1000
SEED = int(os.environ.get("FAULT_SEED") or secrets.randbits(32))
MOST_JUNK = 0.2
"""Of what is stored. Measured over 20 scripts: 0.115, between 0.088 and 0.150; nearly all of it from the lines that no
rule could understand, which are one in twenty here."""
MOST_EASY_JUNK = 0.03
"""The same without those lines: 0.002, at most 0.014."""
LEAST_RECALL = 0.8
"""Of what people told: 0.871, at least 0.833."""


async def test_what_is_stored_was_said_by_the_person_themselves(bench: Bench) -> None:
    """Every quote stands in its message, no echo is stored, and the share of junk is bounded."""
    sys.stderr.write(f"\nfacts: repeat with FAULT_SEED={SEED}\n")
    dice = random.Random(SEED)
    finder = FactFinder(LoadedModels(EchoModel()), MemorySettings(), engine=EngineSettings(), tiers={})
    lines = script(dice, TURNS)

    tally = await Writers(bench, finder, dice, model="echo").write(lines)

    sys.stderr.write(
        f"facts: {tally.stored} stored in {TURNS} turns, junk {tally.junk_share:.3f} "
        f"({tally.easy_junk_share:.3f} without the hard lines), recall {tally.recall:.2f}\n"
    )
    assert tally.without_quote == []
    assert tally.echoes == []
    assert tally.stored > TURNS / 10
    assert tally.junk_share <= MOST_JUNK, tally.junk
    assert tally.easy_junk_share <= MOST_EASY_JUNK, tally.junk
    assert tally.recall >= LEAST_RECALL
