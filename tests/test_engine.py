"""The judge defines; the engine conforms; exact mode settles to the integer quantized ANN."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks

from snndeploy.integer_ann import integer_ann
from snndeploy.program import Program
from snndeploy.ranges import ranges
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge


@settings(max_examples=60, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_engine_has_the_spikes_of_the_judge(network, seed):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, steps=12)
    engine = simulate(Reference(), program, inputs, steps=12)
    judge.assert_same_spikes(engine)


@settings(max_examples=60, deadline=None)
@given(integer_networks(mode="exact"), st.integers(0, 2**32 - 1))
def test_exact_mode_settles_to_the_integer_ann(network, seed):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    trace = simulate(Reference(), program, inputs)
    assert trace.settled.all()
    expected = integer_ann(network, inputs)
    for name, counts in trace.counts.items():
        np.testing.assert_array_equal(counts, expected.counts[name])
    np.testing.assert_array_equal(trace.logits[:, -1], expected.logits)


@settings(max_examples=40, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_ranges_bound_every_membrane(network, seed):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    steps = 12
    session = Judge().open(program, inputs, steps)
    bounds = ranges(network, steps)
    for _ in range(steps):
        session.step()
        for name, bound in bounds.items():
            assert bound.low <= session.membrane[name].min()
            assert session.membrane[name].max() <= bound.high
