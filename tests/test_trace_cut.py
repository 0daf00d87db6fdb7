"""A trace cut at a controller's stops is the trace of a run with that controller."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import images, small_network
from strategies import grid_inputs, integer_networks
from traces import assert_identical

from snndeploy import lower, run
from snndeploy.errors import DataError
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.trace import Trace
from snndeploy_backends.reference.engine import Reference


class Hashed:
    """Stops rows by their logits and step alone, as it comes."""

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus

    def stop(self, logits, step):
        return (logits.sum(axis=1) + 3 * step) % self.modulus == 0


def first_stops(controller, trace: Trace) -> np.ndarray:
    """The first step (N,) at which a controller stops each sample; T + 1 if at none."""
    stops = np.full(len(trace), trace.steps + 1)
    for step in range(trace.steps, 0, -1):
        stops[controller.stop(trace.logits[:, step - 1], np.full(len(trace), step))] = step
    return stops


@settings(max_examples=30, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 4))
def test_a_cut_trace_is_that_of_a_stopped_run(network, seed, modulus, batch):
    program, inputs = Program(network), grid_inputs(network, 6, seed)
    controller = Hashed(modulus)
    full = simulate(Reference(), program, inputs, batch=batch)
    stopped = simulate(Reference(), program, inputs, controller=controller, batch=batch)
    assert_identical(full.cut(first_stops(controller, full)), stopped)


def test_cutting_where_it_ended_changes_nothing():
    full = run(lower(small_network()), images(8))
    assert_identical(full.cut(full.stop_steps), full)
    assert_identical(full.cut(full.stop_steps + 5), full)


@pytest.mark.parametrize("stops", [np.zeros(3, np.int64), np.ones(2, np.int64)])
def test_stops_that_are_none_are_refused(stops):
    trace = run(lower(small_network()), images(3))
    with pytest.raises(DataError, match="at least 1 for each of 3 samples"):
        trace.cut(stops)
