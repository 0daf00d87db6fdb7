"""Energy and latency: counts first, then joules, each with an interval and a source."""

from snndeploy.cost.baseline import estimate_ann
from snndeploy.cost.breakeven import PUBLISHED_MARKS, break_even_rate, break_even_spikes
from snndeploy.cost.comparison import Comparison, compare
from snndeploy.cost.estimate import Estimate, Term
from snndeploy.cost.quantity import Quantity
from snndeploy.cost.snn import estimate, estimate_counts
from snndeploy.cost.tornado import Swing, tornado

__all__ = [
    "Comparison",
    "Estimate",
    "PUBLISHED_MARKS",
    "Quantity",
    "Swing",
    "Term",
    "break_even_rate",
    "break_even_spikes",
    "compare",
    "estimate",
    "estimate_ann",
    "estimate_counts",
    "tornado",
]
