"""How long arbitrary input is tried: a moment in every test run, and as long as one likes by FUZZ_EXAMPLES.

FUZZ_EXAMPLES=100000 python -m pytest --hypothesis-seed=1 --timeout=0 tests/connectors/*/test_fuzz.py
"""

import os

from hypothesis import HealthCheck, settings

LONGEST_S = 1.0
"""Nothing that anybody sends may keep a process busy for longer."""


def tried(examples: int) -> settings:
    """Try so many examples; a failure prints what repeats it."""
    return settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", examples)),
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
