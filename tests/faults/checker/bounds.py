"""How long things take and how much there may be of them."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.book import COMMITTED, ENTERED, Book

STOPS_MORE = 10
"""What fits into a full lane when it stops what stands there."""


def moves(book: Book) -> Iterator[str]:
    """Outside faults no head waits longer than the plan says, and what fails always leaves."""
    bound_s = book.plan["bound_s"]
    for lane, spans in _waits(book).items():
        for turn, begin, end in spans:
            calm_s = book.calm_s(begin, end)
            if calm_s > bound_s:
                yield f"{turn} of {lane} did not move for {calm_s:.1f} s without any fault"
    most = book.plan["max_attempts"] + 2
    for record in book.of("enter"):
        if record["result"] in ENTERED and record["attempts"] > most:
            yield f"{record['head']} of {record['lane']} was begun {record['attempts']} times"
    for letter in book.final["dead"]:
        if letter["attempts"] > most + 1:
            yield f"{letter['entry']} was given up after {letter['attempts']} attempts"


def _waits(book: Book) -> dict[str, list[tuple[str, float, float]]]:
    """Return by conversation how long each turn waited for something to happen: turn, begin, end."""
    # When it moved, or when the delay is over for which its head was given back.
    last_move: dict[str, float] = {}
    accepted: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    found: defaultdict[str, list[tuple[str, float, float]]] = defaultdict(list)
    ends = {turn["turn"] for turn in book.turns} | set(book.dead)
    for record in book.records:
        if record["op"] == "publish" and record["result"] == "OK":
            accepted[record["conversation"]].append((record["t"], record["turn"]))
        if record["op"] == "nack" and record["queue"] == "inbound":
            last_move[record["lane"]] = record["t"] + record["delay_s"]
        is_move = record["op"] == "enter" and record["result"] in ENTERED
        is_move |= record["op"] == "commit" and record["result"] in COMMITTED
        if not is_move or record["queue"] != "inbound":
            continue
        lane, waiting = record["lane"], accepted[record["lane"]]
        if waiting:
            since = max(waiting[0][0], last_move.get(lane, 0.0))
            found[lane].append((waiting[0][1], since, record["t"]))
        last_move[lane] = record["t"]
        if record["op"] == "commit":
            accepted[lane] = [pair for pair in waiting if pair[1] != record["done"]]
    for lane, waiting in accepted.items():
        # A commit that nobody heard of has no line: what ended all the same does not wait.
        for at, turn in waiting:
            if turn not in ends and turn not in book.erased_turns():
                found[lane].append((turn, max(at, last_move.get(lane, 0.0)), book.final["t"]))
    return found


def quotas(book: Book) -> Iterator[str]:
    """While somebody waits for a slot, no other conversation gets more turns than its quota."""
    begun: dict[str, float] = {}
    for record in book.of("enter"):
        if record["queue"] == "inbound" and record["result"] in ENTERED:
            begun.setdefault(record["head"], record["t"])
    commits = sorted(
        (record["t"], record["lane"])
        for record in book.of("commit")
        if record["queue"] == "inbound" and record["result"] in COMMITTED
    )
    times = [at for at, _ in commits]
    for record in book.of("publish"):
        is_first = record["result"] == "OK" and record["lane"] == 0
        end = begun.get(record["turn"]) if is_first else None
        # A wait that a fault has touched tells nothing of quotas.
        if end is None or book.calm_s(record["t"], end) < end - record["t"]:
            continue
        others: defaultdict[str, int] = defaultdict(int)
        for _, lane in commits[bisect_right(times, record["t"]) : bisect_left(times, end)]:
            if lane != record["conversation"]:
                others[lane] += 1
        for lane, count in others.items():
            if count > book.plan["quota"]:
                yield f"{record['turn']} waited while {lane} had {count} turns"


def room(book: Book) -> Iterator[str]:
    """Limits hold, and whoever is turned away hears when to come again."""
    plan = book.plan
    for record in book.of("publish"):
        if record["result"] == "OK" and record["backlog"] >= plan["max_backlog"]:
            yield f"{record['turn']} was accepted behind {record['backlog']} others"
        if record["result"] == "OK" and record["lane"] >= plan["max_lane"] + STOPS_MORE:
            yield f"{record['turn']} was accepted behind {record['lane']} others of its conversation"
    for record in book.of("told"):
        if record["result"] == "refused" and not record["retry_after_s"] > 0:
            yield f"{record['tag']} was refused with {record['status']} and not told when to come again"
    for record in book.of("sample"):
        for name in record["held"].keys() & plan["room"].keys():
            if record["held"][name] > plan["room"][name]:
                yield f"{name} held {record['held'][name]}, its cap is {plan['room'][name]}"
    yield from _dropped(book)


def _dropped(book: Book) -> Iterator[str]:
    if book.declared("trims"):
        return
    for letter in book.final["dead"]:
        if "no longer on the stream" in letter["reason"]:
            yield f"{letter['entry']} was taken off the stream by somebody"
