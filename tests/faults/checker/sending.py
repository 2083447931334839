"""What arrives at the far side: at least once, in order, about its own person, and nothing that loops."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from hub.bus.entries import entry_order
from tests.faults.checker.book import Book


def copies(book: Book) -> Iterator[str]:
    """Each part arrives; copies are no more than requests left unanswered, and each of these is counted."""
    arrived: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for record in book.of("receive"):
        arrived[book.turn_of.get(record["tag"], "")][record["part"]] += 1
    kinds = {turn["turn"]: turn["kind"] for turn in book.turns}
    for delivery in book.final["deliveries"]:
        turn = delivery["turn"]
        parts = arrived[turn]
        # What was cancelled says nothing, and what the far side refused for good is recorded as failed.
        if (
            delivery["state"] == "placed"
            and kinds.get(turn) != "cancelled"
            and turn in book.tag_of
            and not parts
        ):
            yield f"the reply to {turn} is recorded as placed and has not arrived"
        extra = sum(parts.values()) - len(parts)
        if extra > delivery["unclear"]:
            yield f"the reply to {turn} arrived {extra} times too often, {delivery['unclear']} are counted"
    left = Counter((record["by"], record["reply"]) for record in book.of("begin"))
    left -= Counter((record["by"], record["reply"]) for record in (*book.of("placed"), *book.of("refused")))
    open_requests = sum(left.values())
    counted = sum(delivery["unclear"] for delivery in book.final["deliveries"])
    if counted > open_requests:
        yield f"{counted} unclear requests are counted, {open_requests} were left without an answer"


def in_order(book: Book) -> Iterator[str]:
    """What arrives for the first time comes after all that was committed before it.

    A copy, which I6 has counted, may come late: it may have been on its way in a process that slept.
    """
    last: dict[tuple[str, str], tuple[tuple[int, int], int]] = {}
    arrived: set[tuple[str, int]] = set()
    for record in book.of("receive"):
        turn = book.turn_of.get(record["tag"])
        if turn is None or (turn, record["part"]) in arrived:
            continue
        arrived.add((turn, record["part"]))
        place = (record["channel"], record["destination"])
        now = (entry_order(turn), record["part"])
        if place in last and now < last[place]:
            yield f"{record['tag']} part {record['part']} reached {record['destination']} after what follows it"
        last[place] = max(now, last.get(place, now))


def own_words(book: Book) -> Iterator[str]:
    """A reply goes to who asked, and what it remembers was said in the same conversation."""
    for record in book.of("receive"):
        said = book.said.get(record["tag"])
        if said is None:
            continue
        if record["person"] != said["person"]:
            yield f"the reply to {record['tag']} of {said['person']} was addressed to {record['person']}"
        for about in record["about"]:
            source = book.said.get(about)
            if source is None or source["conversation"] != said["conversation"]:
                yield f"the reply to {record['tag']} rests on {about}, which was said elsewhere"


def no_loops(book: Book) -> Iterator[str]:
    """Nothing automatic is answered, and a destination gets no more than its cap, whatever was written.

    Copies of a reply are one; how many there may be is told by another check.
    """
    sent: Counter[tuple[str, str]] = Counter()
    known: set[str] = set()
    for record in book.of("receive"):
        if book.said.get(record["tag"], {}).get("automatic"):
            yield f"{record['tag']} is automatic and was answered"
        if record["tag"] in known:
            continue
        if record["tag"]:
            known.add(record["tag"])
        sent[record["channel"], record["destination"]] += 1
    for (channel, destination), count in sent.items():
        cap = book.plan["caps"].get(channel)
        if cap is not None and count > cap:
            yield f"{destination} got {count} replies by {channel}, its cap is {cap}"
