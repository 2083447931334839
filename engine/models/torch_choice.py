"""Finds out how the answers of a Hugging Face model can be computed, by trying."""

from collections.abc import Sequence

import structlog
import torch

from engine.models.hardware import Plan
from engine.models.stepping import Computer, Place
from engine.models.torch_rows import RowComputer, TorchWeights, last_logits
from engine.models.torch_single import SingleComputer

log = structlog.get_logger(__name__)

_PROBES: tuple[tuple[int, ...], ...] = ((11, 23, 5, 47, 31, 7, 19), (43, 13, 37))
_FEWEST_STEP_TOKENS = 32
_EXACT, _ROUNDED = 0.02, 0.5
"""Differences of logits that come from the order of sums, and from numbers of few bits; in standard deviations.
Logits of a prompt that was computed wrongly differ by several."""


def choose_computer(weights: TorchWeights, plan: Plan, *, is_exact: bool) -> Computer:
    """Return the fastest way to compute answers that gives what the model itself gives.

    Args:
        weights: the model.
        plan: how it is run on this machine.
        is_exact: whether differences can only come from the order of sums.

    Raises: ModelError: the model cannot be run.
    """
    rows = RowComputer(
        weights, parallel=plan.parallel, step_tokens=max(plan.batch_tokens, _FEWEST_STEP_TOKENS)
    )
    keeping = SingleComputer(weights, parallel=plan.parallel, keeps=True)
    ways: tuple[tuple[str, Computer], ...] = (("rows", rows), ("single", keeping))
    tolerance = _EXACT if is_exact else _ROUNDED
    for name, computer in ways:
        problem = ""
        try:
            difference = _difference(weights, computer)
        except Exception as error:
            # A model's own code may fail in any way where it is called as it does not expect.
            problem, difference = f"{type(error).__name__}: {error}", float("inf")
        if difference <= tolerance:
            return computer
        log.warning("model_computed_slower", way_refused=name, difference=difference, problem=problem[:200])
    _plainly(weights, _PROBES[0])
    return SingleComputer(weights, parallel=plan.parallel, keeps=False)


def _difference(weights: TorchWeights, computer: Computer) -> float:
    """Compare what two prompts of unlike length give together with what the model gives of each alone.

    Returns: the largest difference of logits, in their standard deviations.
    """
    places = [
        Place(
            tokens=[token % weights.vocabulary_size for token in probe],
            shared=2,
            max_tokens=len(probe) + 1,
        )
        for probe in _PROBES
    ]
    try:
        for place in places:
            while computer.read(place) is None:
                pass
            place.tokens.append(3)
        computed = computer.advance(places)
        worst = 0.0
        for one in computed:
            expected = _plainly(weights, one.place.tokens)
            spread = float((torch.from_numpy(one.logits()) - expected).abs().max() / expected.std())
            worst = max(worst, spread)
        return worst
    finally:
        for place in places:
            computer.drop(place)


def _plainly(weights: TorchWeights, tokens: Sequence[int]) -> torch.Tensor:
    return last_logits(weights.call_plainly(torch.tensor([list(tokens)])))[0].cpu()
