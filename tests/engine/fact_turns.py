"""Scripted turns through a worker that learns facts as the real one does, and a count of what came of them."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.answers import Answer, Recollection, TextSink
from engine.memory.conversation import ConversationMemory
from engine.memory.finding import FactFinder
from engine.worker import Worker
from hub.bus.queue import Lease
from hub.messages import InboundMessage, Source
from hub.people import People
from tests.engine.bench import Bench, Scripted, said
from tests.engine.scripted_people import Line

PER_CONVERSATION = 50
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


@dataclass
class Tally:
    """What is known after the turns, against what is true."""

    stored: int = 0
    by_model: int = 0
    junk: Counter[str] = field(default_factory=Counter)
    """Facts that are not true of their writer, by the kind of the line they come from."""
    junk_by_model: int = 0
    told: int = 0
    known: int = 0
    without_quote: list[str] = field(default_factory=list)
    """Facts whose quote is missing or does not stand in their message."""
    echoes: list[str] = field(default_factory=list)
    """Facts of which the assistant's own words are the proof."""

    @property
    def junk_share(self) -> float:
        """Junk among all that is stored."""
        return self.junk.total() / self.stored

    @property
    def easy_junk_share(self) -> float:
        """The same without the lines that no rule could understand."""
        return (self.junk.total() - self.junk["hard"]) / self.stored

    @property
    def recall(self) -> float:
        """What is known of all that people told."""
        return self.known / self.told


class Writers:
    """People who write a script, each conversation its own person.

    Args:
        model: name of the one that looks for facts where the finder lets it.
    """

    def __init__(self, bench: Bench, finder: FactFinder, dice: random.Random, *, model: str) -> None:
        self._bench = bench
        self._finder = finder
        self._dice = dice
        self._model = model
        self._memory = ConversationMemory(
            bench.bus, People(bench.bus.redis), history_turns=60, recalled_turns=6
        )
        self._where = ""
        self._echoes: list[str] = []
        self._texts: dict[str, str] = {}

    async def write(self, lines: Sequence[Line]) -> Tally:
        """Send all lines, and count what is stored after each."""
        tally = Tally()
        seen: set[tuple[str, str, str]] = set()
        for number, line in enumerate(lines):
            conversation = f"c{number // PER_CONVERSATION}"
            await self._send(line, conversation, str(number))
            facts = await self._bench.bus.history.proven_facts(conversation)
            fresh = {key: fact for key, fact in facts.items() if (conversation, key, fact.turn) not in seen}
            seen |= {(conversation, key, fact.turn) for key, fact in fresh.items()}
            known: set[str] = set()
            for key, fact in fresh.items():
                if not fact.quote or fact.told_at is None or fact.quote not in self._texts[fact.turn]:
                    tally.without_quote.append(f"{key}: {fact}")
                if any(saying.lower() in fact.quote.lower() for saying in SAYINGS):
                    tally.echoes.append(fact.quote)
                by_model = fact.found_by == "model"
                # What the model finds may be of a kind more than once: "likes tea", "likes rain".
                kind = key.partition(" ")[0] if by_model else key
                words = line.truth.get(kind)
                is_junk = words is None or not all(word in fact.text for word in words)
                tally.stored += 1
                tally.by_model += by_model
                tally.junk[line.kind] += is_junk
                tally.junk_by_model += by_model and is_junk
                known.add(kind)
            tally.told += len(line.truth)
            tally.known += len(known & line.truth.keys())
        return tally

    async def _send(self, line: Line, conversation: str, key: str) -> None:
        if conversation != self._where:
            # Nothing was said there yet that could come back.
            self._where, self._echoes = conversation, []
        # What was said long ago may come back like what was said last.
        echo = self._dice.choice(self._echoes) if self._echoes else "I am an assistant."
        text = line.text.replace("{echo}", echo)
        entry = await self._bench.published(text, external_key=key, conversation=conversation)
        self._texts[entry] = text
        lease = await self._bench.queue.enter(entry, conversation, "me")
        assert isinstance(lease, Lease)
        worker = Worker(
            self._bench.bus, self._bench.live, Scripted(self._answer), memory=self._memory, turn_timeout_s=60
        )
        await self._bench.queue.commit(lease, "me", await worker.handle(lease))

    async def _answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        changes = await self._finder.changes(message, recollection, self._model)
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
