"""Tells of the history of a run whether the hub has kept what it promises: invariants I1 to I14 of the ordered queue.

Offline and without knowledge of the code: it reads what was said to the hub, what it told, what its processes heard from
Redis, what arrived, and what Redis held in the end. `python -m tests.faults.checker FILE` checks one file.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.faults.checker import bounds, intake, sending, turns
from tests.faults.checker.book import Book, Broken
from tests.faults.history import Record

__all__ = ["CHECKS", "Broken", "check"]

Check = Callable[[Book], Iterator[str]]

CHECKS: dict[str, tuple[str, Check]] = {
    "I1": ("what was told to be accepted has ended, in one way", intake.ends_once),
    "I2": ("one message has one entry", intake.one_entry),
    "I3": ("a conversation is answered in the order of intake", turns.in_order),
    "I4": ("only the newest fence commits, each entry at most once", turns.newest_fence),
    "I5": ("a commit is all or nothing", turns.all_or_nothing),
    "I6": ("a reply arrives at least once, and every copy is accounted for", sending.copies),
    "I7": ("a destination is served in the order of commits", sending.in_order),
    "I8": ("a conversation moves within its time, and poison leaves", bounds.moves),
    "I9": ("nobody delays others beyond a quota", bounds.quotas),
    "I10": ("nothing is dropped, everything is bounded, overload is refused in sight", bounds.room),
    "I11": ("a reply rests on its own person's words alone", sending.own_words),
    "I12": ("nothing of an erased person remains or comes back", intake.erased),
    "I13": ("what was accepted survives crashes of Redis", intake.survives),
    "I14": ("nothing automatic gets an answer, and caps hold", sending.no_loops),
}


def check(records: Iterable[Record]) -> Sequence[Broken]:
    """Return every promise that a history breaks; empty is good news.

    Raises: ValueError: the history has no plan or no end, so that nothing can be said.
    """
    book = Book(records)
    return [Broken(name, text) for name, (_, of_one) in CHECKS.items() for text in of_one(book)]
