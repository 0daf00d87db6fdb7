"""What a run did, counted: events, work of each core, firing rates, settling."""

from snndeploy.measure.events import EventCounts, count_events
from snndeploy.measure.load import CoreLoad, core_load
from snndeploy.measure.membranes import membrane_extremes
from snndeploy.measure.settle import LayerActivity, settle_steps, spike_rates

__all__ = [
    "CoreLoad",
    "EventCounts",
    "LayerActivity",
    "core_load",
    "count_events",
    "membrane_extremes",
    "settle_steps",
    "spike_rates",
]
