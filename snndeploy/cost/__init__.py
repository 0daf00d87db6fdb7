"""Energy and latency: counts first, then joules, each with an interval and a source."""

from snndeploy.cost.baseline import estimate_ann
from snndeploy.cost.breakeven import PUBLISHED_MARKS, break_even_spikes
from snndeploy.cost.estimate import Estimate, Interval, Term
from snndeploy.cost.snn import estimate

__all__ = [
    "Estimate",
    "Interval",
    "Term",
    "PUBLISHED_MARKS",
    "break_even_spikes",
    "estimate",
    "estimate_ann",
]
