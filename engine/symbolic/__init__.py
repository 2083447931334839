"""What can be computed is not left to a model: arithmetic, percentages, units, dates, durations and time zones."""

from engine.symbolic.computed import Computed
from engine.symbolic.solver import compute

__all__ = ["Computed", "compute"]
