"""From outside to the lane: accepted once, ended once, there after a crash, gone after an erasure."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.faults.checker.book import Book


def ends_once(book: Book) -> Iterator[str]:
    """Exactly one of a committed reply, an explicit end without one, and a dead letter with its apology."""
    ended = {turn["turn"]: turn["kind"] for turn in book.turns}
    erased = book.erased_turns()
    for tag in book.told():
        turn = book.turn_of.get(tag)
        if turn is None and book.said.get(tag, {}).get("automatic"):
            # Taken and left alone, as it should be.
            continue
        if turn is None:
            yield f"{tag} was told to be accepted, and no entry is known"
        elif turn not in ended and turn not in book.dead and turn not in erased:
            yield f"{tag} ({turn}) was accepted, and neither answered nor explained"
        elif ended.get(turn) == "answer" and turn in book.dead:
            yield f"{tag} ({turn}) was answered and given up"


def one_entry(book: Book) -> Iterator[str]:
    """However often and wherever a message is handed in."""
    entries: defaultdict[str, set[str]] = defaultdict(set)
    for record in book.of("publish"):
        if record["result"] in ("OK", "DUPLICATE"):
            entries[record["tag"]].add(record["turn"])
    for tag, found in entries.items():
        if len(found) > 1:
            yield f"{tag} has the entries {sorted(found)}"
    accepted = Counter(record["tag"] for record in book.of("publish") if record["result"] == "OK")
    yield from (f"{tag} was accepted as new {count} times" for tag, count in accepted.items() if count > 1)
    for turn in book.turns:
        if turn["turn"] not in book.tag_of:
            yield f"turn {turn['turn']} belongs to no message that was handed in"


def survives(book: Book) -> Iterator[str]:
    """After each start of Redis everything that was accepted before the crash waits or has ended."""
    told, erased = book.told(), book.erased_turns()
    for survey in book.of("survey"):
        there = {*survey["waiting"], *survey["ended"]}
        for tag, at in told.items():
            turn = book.turn_of.get(tag, "")
            if turn and at < survey["crashed"] and turn not in there and turn not in erased:
                yield f"{tag} ({turn}) was accepted {survey['crashed'] - at:.3f} s before a crash, and is gone"


def erased(book: Book) -> Iterator[str]:
    """No word of them is left, and no turn of theirs commits or arrives afterwards."""
    of_turn = book.erased_turns()
    for record in book.of("erase"):
        yield from (f"{place} still holds words of {record['person']}" for place in record["left"])
    for record in book.of("commit"):
        erasure = of_turn.get(record["done"]) if record["queue"] == "inbound" else None
        if erasure and record["result"] in ("RUN", "IDLE") and record["began"] > erasure["t"]:
            yield f"turn {record['done']} of {erasure['person']} was committed after they were erased"
    for record in book.of("receive"):
        erasure = of_turn.get(book.turn_of.get(record["tag"], ""))
        if erasure and record["t"] > erasure["t"]:
            yield f"{record['tag']} of {erasure['person']} was answered after they were erased"
