"""Input that comes step by step: events and frames, whose sum is the model's input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import float_network, images
from strategies import fed_by_steps, frames, integer_networks

from snndeploy import certify, compare, convert, estimate, integer_ann, load, lower, run, save
from snndeploy.backend import find_backend
from snndeploy.connectivity import fan_out
from snndeploy.errors import DataError
from snndeploy.measure import count_events
from snndeploy.program import Program
from snndeploy.ranges import ranges
from snndeploy.simulate import simulate
from snndeploy.verify.certificate import certify as certify_inputs
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge

STEPS = 5


@settings(max_examples=40, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1), st.integers(1, STEPS))
def test_the_engines_are_the_judges(network, seed, steps):
    network = fed_by_steps(network, STEPS)
    program, inputs = Program(network), frames(network, 3, steps, seed)
    judged = simulate(Judge(), program, inputs)
    engines = [Reference(), Reference(below=np.inf), Reference(scan="torch"), find_backend("norse")]
    for engine in engines:
        simulate(engine, program, inputs).assert_same_spikes(judged)
    low_memory = Reference(memory=1 + (4 << 20) * 2)
    simulate(low_memory, program, inputs).assert_same_spikes(judged)


class Never:
    def stop(self, logits, step):
        return np.zeros(len(logits), bool)


@settings(max_examples=30, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1), st.sampled_from([1, 4, 64]))
def test_a_driven_session_is_the_judges(network, seed, ahead):
    network = fed_by_steps(network, STEPS)
    program, inputs = Program(network), frames(network, 3, STEPS, seed)
    judged = simulate(Judge(), program, inputs)
    driven = simulate(Reference(ahead=ahead), program, inputs, controller=Never())
    driven.assert_same_spikes(judged)
    np.testing.assert_array_equal(driven.stop_steps, judged.stop_steps)


@settings(max_examples=30, deadline=None)
@given(integer_networks(mode="exact"), st.integers(0, 2**32 - 1))
def test_every_exact_network_is_certified(network, seed):
    network = fed_by_steps(network, STEPS)
    found = certify_inputs(Program(network), frames(network, 2, STEPS, seed), Reference())
    assert found.settle_max <= found.settle_bound


@settings(max_examples=30, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_no_membrane_leaves_its_proved_range(network, seed):
    network = fed_by_steps(network, STEPS)
    session = Judge().open(Program(network), frames(network, 2, STEPS, seed), 12)
    bounds = ranges(network, 12)
    for _ in range(12):
        session.step()
        for name, bound in bounds.items():
            assert session.membrane[name].min() >= bound.low
            assert session.membrane[name].max() <= bound.high


@pytest.fixture(scope="module")
def network():
    return convert(float_network(), window=STEPS, per_step=True)


@pytest.fixture(scope="module")
def events():
    """The test images, in unit steps."""
    whole = (images(6) * 16).astype(np.int64)
    return np.stack([(whole + t) // STEPS for t in range(STEPS)], axis=1)


def test_the_models_input_is_the_sum(network, events):
    whole = integer_ann(convert(float_network()), images(6))
    found = integer_ann(network, events)
    np.testing.assert_array_equal(found.counts["act1"], whole.counts["act1"])
    settled = run(lower(network), events)
    np.testing.assert_array_equal(settled.logits[:, -1], found.logits)


def test_the_file_keeps_it(network, events, tmp_path):
    save(network, tmp_path / "net.nir")
    again = load(tmp_path / "net.nir")
    assert again.input.per_step
    assert again.hash == network.hash != convert(float_network(), window=STEPS).hash
    certify(lower(again), events)


@pytest.mark.lava
def test_lava_emits_the_same_spikes(network, events):
    missing = find_backend("lava").status().missing
    if missing:
        pytest.skip(missing)
    results = compare(lower(network), events, ["reference", "norse", "lava"])
    assert [r.spikes_equal for r in results] == [True, True, True]


def test_events_are_synaptic_operations(network, events):
    program = lower(network, "loihi1")
    trace = run(program, events)
    layer = program.layers[1]
    fans = fan_out(layer.projections[0], network.input.shape)
    counted = count_events(program, trace).by_layer[layer.name]
    assert counted["synop"] * len(events) == ((events != 0) * fans).sum()
    assert counted["mac"] == 0
    assert estimate(program, trace).dynamic_pj.nominal > 0


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((1, STEPS + 1, 2, 8, 8), int), "6 steps, the window of the network is 5"),
        (np.zeros((1, 2, 8, 8), int), r"takes \(N, steps, 2, 8, 8\)"),
        (np.full((1, 2, 2, 8, 8), 9), "summed step by step: values from 9 to 18"),
        (np.full((1, 1, 2, 8, 8), -1), "summed step by step: values from -1 to -1"),
    ],
)
def test_bad_frames_are_refused(network, x, words):
    with pytest.raises(DataError, match=words):
        run(lower(network), x)
