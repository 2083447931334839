"""The metrics in Prometheus' text format; docs/metrics.md describes every name."""

from hub.metrics.counted import Metrics
from hub.metrics.reported import EventMetrics

__all__ = ["EventMetrics", "Metrics"]
