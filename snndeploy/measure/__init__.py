"""What a run did, counted: events, work of each core, firing rates, settling."""

from snndeploy.measure.events import EventCounts, count_events
from snndeploy.measure.load import CoreLoad, core_load
from snndeploy.measure.membranes import membrane_extremes
from snndeploy.measure.neurobench import NeuroBenchMetrics, neurobench_metrics
from snndeploy.measure.placement import PlacementSummary, summarize_placement
from snndeploy.measure.settle import LayerActivity, settle_steps, spike_rates, steps_within

__all__ = [
    "CoreLoad",
    "EventCounts",
    "LayerActivity",
    "NeuroBenchMetrics",
    "PlacementSummary",
    "core_load",
    "count_events",
    "membrane_extremes",
    "neurobench_metrics",
    "settle_steps",
    "spike_rates",
    "steps_within",
    "summarize_placement",
]
