"""How long arbitrary input is tried: a moment in every test run, and as long as one likes by FUZZ_EXAMPLES.

FUZZ_EXAMPLES=100000 python -m pytest --hypothesis-seed=1 --timeout=0 tests/*/*/test_fuzz*.py
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings

Result = TypeVar("Result")

LONGEST_S = 1.0
"""Nothing that anybody sends may keep a process busy for longer."""


def soon(work: Callable[[], Result]) -> Result:
    """Do it, and fail where it takes longer than `LONGEST_S` of the thread's time.

    What takes long takes long each time; a pause of the machine or the collector of garbage does not come three times.
    """
    took_s: list[float] = []
    while not took_s or (took_s[-1] >= LONGEST_S and len(took_s) < 3):
        began = time.thread_time()
        result = work()
        took_s.append(time.thread_time() - began)
    assert took_s[-1] < LONGEST_S, took_s
    return result


def tried(examples: int) -> settings:
    """Try so many examples; a failure prints what repeats it."""
    return settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", examples)),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


def tried_on_one(examples: int) -> settings:
    """Try so many on what fixtures have made once for all of them, such as a server; one that an example breaks is broken
    for those behind it, too.
    """
    health_check = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(tried(examples), suppress_health_check=health_check)
