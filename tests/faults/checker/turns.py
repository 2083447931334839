"""What workers commit: in order, by the newest fence, whole."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.faults.checker.book import COMMITTED, ENTERED, Book, in_intake_order
from tests.faults.history import Record


def in_order(book: Book) -> Iterator[str]:
    """Commits of a conversation are in the order in which its messages came in."""
    for conversation, turns in book.conversations():
        if turns != in_intake_order(turns):
            late = next(
                turn for turn, right in zip(turns, in_intake_order(turns), strict=True) if turn != right
            )
            yield f"{conversation} was answered out of order from {late} on"


def newest_fence(book: Book) -> Iterator[str]:
    """A commit is refused once a newer fence was given out, and an entry ends once."""
    fences: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for record in book.of("commit"):
        if record["result"] in COMMITTED:
            fences[record["queue"], record["done"]].add(record["done_fence"])
    for (queue, entry), found in fences.items():
        if len(found) > 1:
            yield f"{entry} of {queue} was committed with the fences {sorted(found)}"
    times = Counter(turn["turn"] for turn in book.turns)
    yield from (f"turn {turn} ended {count} times" for turn, count in times.items() if count > 1)
    for (queue, lane), grants in _grants(book).items():
        yield from _stale(queue, lane, grants)


def _grants(book: Book) -> dict[tuple[str, str], list[Record]]:
    """Return by lane whatever gave out a fence, or used one, by time."""
    found: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in book.records:
        is_commit = record["op"] == "commit" and record["result"] in COMMITTED
        if is_commit or (record["op"] == "enter" and record["result"] in ENTERED):
            found[record["queue"], record["lane"]].append(record)
    return found


def _stale(queue: str, lane: str, grants: list[Record]) -> Iterator[str]:
    newest, heard = 0, [(record["t"], record["fence"]) for record in grants if record.get("fence")]
    at = 0
    for record in sorted(grants, key=lambda each: float(each["began"])):
        # Only what had been heard before it began: what was under way at the same time may come in any order.
        while at < len(heard) and heard[at][0] < record["began"]:
            newest = max(newest, heard[at][1])
            at += 1
        if record["op"] == "commit" and record["done_fence"] < newest:
            yield f"{record['done']} of {queue} {lane} was committed with fence {record['done_fence']} after {newest}"
        if record.get("fence") and record["fence"] <= newest:
            yield f"{queue} {lane} was given fence {record['fence']} after {newest}"


def all_or_nothing(book: Book) -> Iterator[str]:
    """Event, reply, history and acknowledgement come together."""
    erased = book.erased_turns()
    ended = {turn["turn"]: turn for turn in book.turns if turn["turn"] not in erased}
    replied = {delivery["turn"] for delivery in book.final["deliveries"]}
    unfinished: dict[str, Any] = book.final["unfinished"]
    for turn in ended:
        if turn not in replied and turn not in unfinished["outbound"]:
            yield f"turn {turn} ended without a reply"
        if turn in unfinished["inbound"]:
            yield f"turn {turn} ended and is still on the stream or in its lane"
    yield from (f"there is a reply to {turn}, which has not ended" for turn in replied - {*ended, *erased})
    for record in book.of("commit"):
        is_turn = record["queue"] == "inbound" and record["result"] in COMMITTED and not record["died"]
        if is_turn and record["done"] not in ended and record["done"] not in erased:
            yield f"turn {record['done']} was committed and left no event"
    histories: dict[str, list[str]] = book.final["histories"]
    for conversation, turns in book.conversations():
        answered = [turn for turn in turns if ended.get(turn, {}).get("kind") == "answer"]
        kept = histories.get(conversation, [])
        if answered and kept != answered[-len(kept) :]:
            yield f"the history of {conversation} is not what was answered there"
        elif len(kept) < min(len(answered), book.plan["history_turns"]):
            yield f"the history of {conversation} has {len(kept)} turns, {len(answered)} were answered"
