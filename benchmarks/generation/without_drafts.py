"""The process of a model as the hub starts it, but for guessed tokens: there are none.

`python -m benchmarks.generation.without_drafts` takes the arguments of `engine.models.host`.
"""

import sys

from engine.models.host import run_host
from engine.models.llama import step
from engine.models.llama.costs import StepCosts
from engine.models.registry import MODEL_TYPES


def _never(share: float, answers: int, costs: StepCosts) -> int:
    return 0


if __name__ == "__main__":
    vars(step)["draft_length"] = _never
    run_host(sys.argv[1:], MODEL_TYPES)
