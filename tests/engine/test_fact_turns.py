"""A thousand scripted turns: every fact that is stored has its proof, nothing that only came back is stored.

FAULT_SEED repeats a run.
"""

import os
import random
import secrets
import sys
from collections import Counter

from engine.answers import Answer, Recollection, TextSink
from engine.memory.conversation import ConversationMemory
from engine.memory.finding import FactFinder
from engine.worker import Worker
from hub.bus.queue import Lease
from hub.memory_settings import MemorySettings
from hub.messages import InboundMessage, Source
from hub.people import People
from hub.settings import EngineSettings
from tests.engine.bench import Bench, Scripted, said
from tests.engine.scripted_people import Line, script
from tests.models import EchoModel, LoadedModels

TURNS = 1000
PER_CONVERSATION = 50
SEED = int(os.environ.get("FAULT_SEED") or secrets.randbits(32))
MOST_JUNK = 0.2
"""Of what is stored. Measured over 20 scripts: 0.114, between 0.087 and 0.149; nearly all of it from the lines that no
rule could understand, which are one in twenty here."""
MOST_EASY_JUNK = 0.015
"""The same without those lines: 0.0004, at most 0.004."""
LEAST_RECALL = 0.85
"""Of what people told: 0.917, at least 0.887."""
SAYINGS = (
    "My name is Hubert Atlas",
    "I live in Atlantis",
    "I work as a lighthouse keeper",
    "I'm from Middle Earth",
    "My favourite colour is ultraviolet",
    "I am 117 years old",
    "My birthday is 31 February",
)
"""What the assistant says or quotes; nobody in the script does by themselves."""


class _Person:
    """Writes a script to a worker whose assistant learns facts as the real one does."""

    def __init__(self, bench: Bench, dice: random.Random) -> None:
        self._bench = bench
        self._dice = dice
        self._finder = FactFinder(
            LoadedModels(EchoModel()), MemorySettings(), engine=EngineSettings(), tiers={}
        )
        self._memory = ConversationMemory(
            bench.bus, People(bench.bus.redis), history_turns=60, recalled_turns=6
        )
        self._where = ""
        self._echoes: list[str] = []
        self.texts: dict[str, str] = {}

    async def write(self, line: Line, conversation: str, key: str) -> None:
        """Send one message and have it answered."""
        if conversation != self._where:
            # Nothing was said there yet that could come back.
            self._where, self._echoes = conversation, []
        # What was said long ago may come back like what was said last.
        echo = self._dice.choice(self._echoes) if self._echoes else "I am an assistant."
        text = line.text.replace("{echo}", echo)
        entry = await self._bench.published(text, external_key=key, conversation=conversation)
        self.texts[entry] = text
        lease = await self._bench.queue.enter(entry, conversation, "me")
        assert isinstance(lease, Lease)
        worker = Worker(
            self._bench.bus, self._bench.live, Scripted(self._answer), memory=self._memory, turn_timeout_s=20
        )
        await self._bench.queue.commit(lease, "me", await worker.handle(lease))

    async def _answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        changes = await self._finder.changes(message, recollection, "echo")
        echo = self._dice.choice(SAYINGS)
        self._echoes.append(echo)
        # It says the words itself, or they stand in the source that it names.
        is_quoted = self._dice.random() < 0.5
        source = Source(number=1, title="t", location="l", quote=f"He wrote: {echo}.", score=0.5)
        return said(
            "See the source [1]." if is_quoted else f"The document says: {echo}.",
            sources=(source,) if is_quoted else (),
            facts={key: change.text for key, change in changes.items()},
            proofs=changes,
        )


async def test_what_is_stored_was_said_by_the_person_themselves(bench: Bench) -> None:
    """Every quote stands in its message, no echo is stored, and the share of junk is bounded."""
    sys.stderr.write(f"\nfacts: repeat with FAULT_SEED={SEED}\n")
    dice = random.Random(SEED)
    lines = script(dice, TURNS)
    person = _Person(bench, dice)
    stored, junk, told, known = 0, Counter[str](), 0, 0
    seen: set[tuple[str, str, str]] = set()

    for number, line in enumerate(lines):
        conversation = f"c{number // PER_CONVERSATION}"
        await person.write(line, conversation, str(number))
        facts = await bench.bus.history.proven_facts(conversation)
        fresh = {key: fact for key, fact in facts.items() if (conversation, key, fact.turn) not in seen}
        seen |= {(conversation, key, fact.turn) for key, fact in fresh.items()}
        for key, fact in fresh.items():
            assert fact.quote, (key, fact)
            assert fact.quote in person.texts[fact.turn], (fact.quote, person.texts[fact.turn])
            assert not any(saying.lower() in fact.quote.lower() for saying in SAYINGS), fact.quote
            assert fact.told_at is not None
            stored += 1
            junk[line.kind] += not all(word in fact.text for word in line.truth.get(key, ("\x00",)))
        told += len(line.truth)
        known += len(fresh.keys() & line.truth.keys())

    share, easy = junk.total() / stored, (junk.total() - junk["hard"]) / stored
    recall = known / told
    sys.stderr.write(
        f"facts: {stored} stored in {TURNS} turns, echoes 0, junk {share:.3f} ({easy:.3f} without the hard lines), "
        f"recall {recall:.2f}\n"
    )
    assert stored > TURNS / 10
    assert share <= MOST_JUNK, junk
    assert easy <= MOST_EASY_JUNK, junk
    assert recall >= LEAST_RECALL
