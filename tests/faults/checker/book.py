"""A history, looked up by turn, message and lane."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hub.bus.entries import entry_order
from tests.faults.history import Record, sorted_by_time

Span = tuple[float, float]
"""Begin and end on the run's clock."""
ENTERED = ("RUN",)
COMMITTED = ("RUN", "IDLE")
SETTLE_S = 1.0
"""How long after a fault the processes may need to notice that it is over, beside their leases."""

SILENT = ("cable pulled",)
"""Faults in which no connection is refused or closed: whoever connects meanwhile waits for it as long as may be."""
CONNECT_S = 3.0


@dataclass(frozen=True, slots=True)
class Broken:
    """One promise that was not kept."""

    invariant: str
    text: str


class Book:
    """All records, and what the checks look up."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = sorted_by_time(records)
        of_op: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self.records:
            of_op[record["op"]].append(record)
        self._of_op = of_op
        if not of_op["plan"] or not of_op["final"]:
            raise ValueError("the history has no plan, or no end")
        self.plan = of_op["plan"][0]
        self.final = of_op["final"][-1]
        self.turn_of: dict[str, str] = {}
        """The entry of each message, by its tag."""
        self.tag_of: dict[str, str] = {}
        for record in self.of("publish"):
            if record["result"] in ("OK", "DUPLICATE"):
                self.turn_of.setdefault(record["tag"], record["turn"])
                self.tag_of.setdefault(record["turn"], record["tag"])
        self.said: dict[str, Record] = {record["tag"]: record for record in self.of("say")}
        self.turns: list[dict[str, Any]] = self.final["turns"]
        """Turns that ended with an event, in the order of their commits: turn, conversation, kind."""
        self.dead: dict[str, dict[str, Any]] = {
            letter["entry"]: letter for letter in self.final["dead"] if letter["queue"] == "inbound"
        }

    def of(self, op: str) -> Sequence[Record]:
        """Return the records of one kind, by time."""
        return self._of_op[op]

    def told(self) -> dict[str, float]:
        """Return when each message was first told to be accepted, by its tag."""
        first: dict[str, float] = {}
        for record in self.of("told"):
            if record["result"] == "ok":
                first.setdefault(record["tag"], record["t"])
        return first

    def erased_turns(self) -> dict[str, Record]:
        """Return the erasure of each turn that was accepted before its person was erased."""
        erasures = {record["conversation"]: record for record in self.of("erase")}
        found = {}
        for record in self.of("publish"):
            erasure = erasures.get(record["conversation"])
            if erasure and record.get("turn") and record["t"] <= erasure["t"]:
                found[record["turn"]] = erasure
        return found

    def declared(self, what: str) -> bool:
        """Tell whether one of the faults was meant to do something."""
        return any(what in record.get("declares", ()) for record in self.of("fault"))

    def calm_s(self, begin: float, end: float) -> float:
        """Return how much of a span lies outside all faults and what it takes to notice their ends."""
        left, at = 0.0, begin
        for since, until in self._busy:
            if since >= end:
                break
            if until <= at:
                continue
            left += max(0.0, since - at)
            at = max(at, until)
        return left + max(0.0, end - at)

    @cached_property
    def _busy(self) -> list[tuple[float, float]]:
        """When there were faults, or it takes to notice their ends; in the order of their beginnings."""
        after_s = self.plan["lease_s"] + SETTLE_S
        # What a crashed process held waits for its lease, like after any other fault.
        troubles = (*self.of("fault"), *self.of("ended"))
        return sorted(
            (
                record.get("began", record["t"]),
                record["t"] + after_s + CONNECT_S * (record.get("kind") in SILENT),
            )
            for record in troubles
        )

    def conversations(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each conversation with the turns that ended there, in the order of their commits."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for turn in self.turns:
            found[turn["conversation"]].append(turn["turn"])
        yield from found.items()


def in_intake_order(turns: Sequence[str]) -> list[str]:
    """Sort turns as they came in: the ids of entries grow."""
    return sorted(turns, key=entry_order)
