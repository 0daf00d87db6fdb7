"""What a run did, counted: events, work of each core, firing rates, settling."""

from snndeploy.measure.events import EventCounts, count_events
from snndeploy.measure.load import CoreLoad, core_load
from snndeploy.measure.settle import LayerActivity, settle_steps, spike_rates

__all__ = [
    "CoreLoad",
    "EventCounts",
    "LayerActivity",
    "core_load",
    "count_events",
    "settle_steps",
    "spike_rates",
]
