"""What a piece of work costs against another.

Both are measured side by side and the least of several rounds counts, so that neither a busy machine nor a garbage
collection decides.
"""

import gc
import time
from collections.abc import Callable

ROUNDS = 3
SMALLER = 16
LINEAR = 64
"""Below it work is linear: it takes 16 times as long for 16 times as much, give or take; with the square it takes 256."""


def times_as_long(work: Callable[[], object], other: Callable[[], object]) -> float:
    """How many times as much of the processor's time one piece of work takes as another."""
    least_s = [float("inf"), float("inf")]
    collects = gc.isenabled()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for number, one in enumerate((work, other)):
                began = time.thread_time()
                one()
                least_s[number] = min(least_s[number], time.thread_time() - began)
    finally:
        if collects:
            gc.enable()
    return least_s[0] / least_s[1]


def growth(work: Callable[[str], object], text: str) -> float:
    """How many times as long a text takes as a sixteenth of it; see `LINEAR`."""
    part = text[: len(text) // SMALLER]
    return times_as_long(lambda: work(text), lambda: work(part))
