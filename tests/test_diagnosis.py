"""Each planted fault is found at its neuron and named, whether membranes are shown or not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from faulty import Blind, Fault, Faulty, Leaky, Rewired
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lava_jobs import skip_network
from models import float_network, images, small_network
from strategies import grid_inputs, integer_networks

from snndeploy import Planted, compare, convert
from snndeploy.backend import Probing, find_backend
from snndeploy.deploy import grid_inputs as on_grid
from snndeploy.errors import WorkerError
from snndeploy.nodes import Conv2d, Linear, Neuron, Output, Scale
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.verify import comparison
from snndeploy.verify.diagnosis import CAUSES, Diagnosis, Run, diagnose, place
from snndeploy_backends.norse import Norse
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge


def found(program, inputs, backend, first=None) -> Diagnosis | None:
    """The diagnosis of a backend held to the judge (or another first); None if they agree."""
    first = first or Judge()
    ours = Run(first, program, simulate(first, program, inputs))
    trace = simulate(backend, program, inputs, steps=ours.trace.steps)
    theirs = Run(backend, program, trace)
    where = ours.trace.first_divergence(trace)
    return None if where is None else diagnose(program, inputs, ours, theirs, where)


def shown_or_not(backend):
    assert isinstance(backend, Probing)
    assert not isinstance(Blind(backend), Probing)
    return backend, Blind(backend)


@cache
def small(seed: int):
    program = Program(small_network(seed))
    return program, on_grid(program.network, images(24))


# What a backend may do wrong everywhere: a change of the judge that has no free number.


def signed_wrap(bits):
    half = 1 << (bits - 1)
    return lambda v: (v + half) % (2 * half) - half


def clipped(low, high):
    return lambda v: np.clip(v, low, high)


def half_precision(v):
    return np.clip(v, -65504, 65504).astype(np.float16).astype(np.int64)


FAULTS = {
    "tie, above": Fault(fires=lambda n: (n.v > n.theta) & (n.count < n.levels)),
    "tie, at zero": Fault(falls=lambda n: (n.v <= 0) & (n.count > 0)),
    "reset, to zero": Fault(reset=lambda n: np.where(n.spikes > 0, 0, n.v - n.theta * n.spikes)),
    "reset, always to zero": Fault(reset=lambda n: np.where(n.spikes != 0, 0, n.v)),
    "reset, to v0": Fault(reset=lambda n: np.where(n.spikes > 0, n.v0, n.v - n.theta * n.spikes)),
    "reset, nothing given back": Fault(reset=lambda n: n.v - n.theta * np.maximum(n.spikes, 0)),
    "reset, none": Fault(reset=lambda n: n.v),
    "overflow, wraps": Fault(membrane=signed_wrap(13)),
    "overflow, wraps a byte": Fault(membrane=signed_wrap(8)),
    "overflow, saturates": Fault(membrane=clipped(0, 4095)),
    "overflow, no negative": Fault(membrane=clipped(0, 1 << 40)),
    "overflow, current saturates": Fault(current=clipped(-1024, 1023)),
    "overflow, current wraps": Fault(current=signed_wrap(11)),
    "overflow, half precision": Fault(membrane=half_precision),
    "cap, none": Fault(fires=lambda n: n.v >= n.theta),
    "cap, one more": Fault(fires=lambda n: (n.v >= n.theta) & (n.count <= n.levels)),
    "sign, never -1": Fault(falls=lambda n: np.zeros_like(n.v)),
    "sign, -1 at any count": Fault(falls=lambda n: n.v < 0),
    "delay, one step": Fault(late=1),
    "delay, two steps": Fault(late=2),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("layer", ["", "act2"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_whole_backend_or_layer_is_named(name, layer, seed):
    program, x = small(seed)
    cause = name.split(",")[0]
    fault = replace(FAULTS[name], layers=(layer,) if layer else ())
    for backend in shown_or_not(Faulty(fault)):
        result = found(program, x, backend)
        if result is None:
            continue  # this network never comes to the case
        assert result.ours.conforms
        assert not result.theirs.conforms
        assert result.theirs.probed == isinstance(backend, Probing)
        if result.theirs.probed and name != "overflow, half precision":
            assert result.cause == cause, result.explanation
        else:
            assert cause in (result.cause, *result.also), result.explanation


def test_every_fault_shows_somewhere():
    for name, fault in FAULTS.items():
        cases = ((seed, layers) for seed in (0, 1) for layers in ((), ("act2",)))
        assert any(
            found(*small(seed), Faulty(replace(fault, layers=layers))) for seed, layers in cases
        ), name


@settings(max_examples=30)
@given(
    integer_networks(mode="exact"),
    st.sampled_from(sorted(FAULTS)),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_faults_of_a_layer_in_random_networks(network, name, seed, data):
    program, x = Program(network), grid_inputs(network, 6, seed)
    layers = [layer.name for layer in program.layers if layer.kind == "neurons"]
    layer, cause = data.draw(st.sampled_from(layers)), name.split(",")[0]
    for backend in shown_or_not(Faulty(replace(FAULTS[name], layers=(layer,)))):
        result = found(program, x, backend)
        assume(result is not None)
        assert result.divergence.layer == layer
        if cause == "delay":  # spikes may be late for a run that has settled
            assume(simulate(backend, program, x).events[layer].any())
        assert cause in (result.cause, *result.also), result.explanation


# What may be wrong in one place: a number.


def changed(network, name, field, at, delta):
    """The network with one number changed."""
    node = network.by_name[name]
    values = np.array(getattr(node, field))
    values[at] += delta
    nodes = [replace(n, **{field: values}) if n is node else n for n in network.nodes]
    return network.rewrite(nodes)


NUMBERS = {
    "weight": ("weight", (Conv2d, Linear, Scale)),
    "bias": ("weight", (Neuron, Output)),
    "threshold": ("threshold", (Neuron,)),
    "v0": ("reset", (Neuron,)),
}


@settings(max_examples=50)
@given(
    integer_networks(),
    st.sampled_from(sorted(NUMBERS)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([-90, -20, -3, -1, 1, 3, 20, 90]),
)
def test_a_wrong_number_in_random_networks(network, field, seed, delta):
    program, x, rng = Program(network), grid_inputs(network, 6, seed), np.random.default_rng(seed)
    cause, kinds = NUMBERS[field]
    nodes = [node for node in network.nodes if isinstance(node, kinds)]
    node = nodes[rng.integers(len(nodes))]
    at = tuple(rng.integers(size) for size in getattr(node, field).shape)
    assume(field != "threshold" or node.threshold[at] + delta >= 1)
    wrong = changed(network, node.name, field, at, delta)
    for backend in shown_or_not(Rewired(wrong)):
        result = found(program, x, backend)
        assume(result is not None)
        assert result.divergence.neuron[0] == at[0]
        assert cause in (result.cause, *result.also), result.explanation
        if result.theirs.probed:
            assert result.cause in (cause, "tie", "threshold"), result.explanation


@pytest.mark.parametrize("at", [(3, 0, 1, 1), (1, 1, 2, 0)])
@pytest.mark.parametrize("delta", [-40, -1, 2, 25])
def test_a_wrong_weight_is_named_with_its_index(delta, at):
    program, x = small(0)
    wrong = changed(program.network, "conv2", "weight", at, delta)
    weight = program.network.by_name["conv2"].weight[at]
    words = f"as if weight {at} of 'conv2' were {weight + delta}, not {weight}"
    result = found(program, x, Rewired(wrong))
    assert result.cause == "weight"
    assert words in result.explanation
    source = (result.theirs.current - result.ours.current) / delta
    assert source in (-1, 0, 1)  # spikes of the source, at the step where the runs differ


def test_several_wrong_weights_show_in_the_currents():
    program, x = small(0)
    for name in ("conv2", "head"):
        weight = program.network.by_name[name].weight
        wrong = changed(program.network, name, "weight", slice(None), weight[::-1] - weight)
        result = found(program, x, Rewired(wrong))
        assert result.cause == "weight"
        assert result.ours.current != result.theirs.current
        hidden = found(program, x, Blind(Rewired(wrong)))
        if name == "conv2":
            assert hidden.ours.current == hidden.theirs.current  # derived from the same spikes
        else:
            assert "more than one of them must be wrong" in hidden.explanation


def test_what_no_single_fault_gives_is_unknown():
    program, x = small(0)
    noise = Fault(fires=lambda n: ((n.v >= n.theta) ^ (n.v % 7 == 3)) & (n.count < n.levels))
    shown, hidden = (found(program, x, backend) for backend in shown_or_not(Faulty(noise)))
    assert shown.cause == hidden.cause == "unknown"
    raised = shown.theirs.membrane + shown.theirs.current
    assert f"emits 1 at a membrane of {raised}" in shown.explanation
    assert "no single fault that is known here" in hidden.explanation


def test_input_that_comes_step_by_step():
    network = convert(float_network(), per_step=True, window=4)
    x = np.random.default_rng(0).integers(0, 5, (12, 3, 2, 8, 8))
    program, inputs = Program(network), on_grid(network, x)
    for backend in shown_or_not(Faulty(FAULTS["reset, to zero"])):
        assert found(program, inputs, backend).cause == "reset"
    wrong = changed(network, "conv1", "weight", (1, 0, 1, 1), 30)
    assert found(program, inputs, Rewired(wrong)).cause == "weight"


def test_a_threshold_leaves_its_bounds():
    program, x = small(0)
    theta = program.network.by_name["act2"].threshold[3]
    wrong = changed(program.network, "act2", "threshold", 3, 5)
    result = found(program, x, Rewired(wrong))
    assert (result.cause, result.threshold) == ("threshold", theta)
    assert f"as if the threshold were {theta + 5}, not {theta}" in result.explanation
    hidden = found(program, x, Blind(Rewired(wrong)))
    assert hidden.cause == "threshold"


def test_a_readout_is_diagnosed_from_its_membranes():
    program, x = small(0)
    name = program.network.output.name
    bias = int(program.network.output.bias[1])
    result = found(program, x, Rewired(changed(program.network, name, "bias", 1, 7)))
    assert result.divergence.layer == "readout"
    assert result.cause == "weight"
    assert f"bias were {bias + 7}, not {bias}" in result.explanation
    assert result.theirs.membrane + result.theirs.current == result.theirs.emitted
    narrow = Fault(layers=(name,), membrane=signed_wrap(9))
    result = found(program, x, Faulty(narrow))
    assert result.cause == "overflow"
    assert "signed 9-bit word, which wraps around" in result.explanation


# Max-pools, delays of a branch, and what is beyond a neuron.

POOLS = {
    "largest spike of the step": lambda step: step.max(axis=(-2, -1)),
    "an OR": lambda step: (step != 0).any(axis=(-2, -1)).astype(np.int64),
    "the sum of the step's spikes": lambda step: step.sum(axis=(-2, -1)),
    "does not emit by how much": lambda step: -step.sum(axis=(-2, -1)),
}


@pytest.mark.parametrize("words", POOLS)
@pytest.mark.parametrize("seed", [0, 1])
def test_another_pooling_is_named(words, seed):
    program, x = small(seed)
    result = found(program, x, Faulty(Fault(pool=POOLS[words])))
    assert result.divergence.layer == "pool"
    assert result.kind == "max_pool"
    assert result.cause == "pooling"
    if words != "an OR":  # without spikes of -1, that is the largest spike of the step
        assert words in result.explanation


@settings(max_examples=60)
@given(integer_networks(mode="exact"), st.sampled_from(sorted(POOLS)), st.integers(0, 2**32 - 1))
def test_another_pooling_in_random_networks(network, words, seed):
    result = found(
        Program(network), grid_inputs(network, 6, seed), Faulty(Fault(pool=POOLS[words]))
    )
    if result is not None:
        assert result.kind == "max_pool"
        assert "pooling" in (result.cause, *result.also)


def test_a_late_pool_is_a_delay():
    program, x = small(0)
    result = found(program, x, Faulty(Fault(layers=("pool",), late=1)))
    assert (result.divergence.layer, result.cause) == ("pool", "delay")


@pytest.mark.parametrize(
    ("source", "late", "how"),
    [
        ("n1", 1, "1 step late"),
        ("n2", 2, "2 steps late"),
        ("x", 1, "1 step late"),
        ("n1", -1, "1 step early"),  # a pipeline that does not hold the short branch back
        ("x", -2, "2 steps early"),
    ],
)
def test_a_branch_out_of_time_is_named(source, late, how):
    network = skip_network()
    fault = Fault(layers=("n3",), sources_late={source: late})
    for backend in shown_or_not(Faulty(fault)):
        result = found(Program(network), grid_inputs(network, 12, 0), backend)
        assert (result.divergence.layer, result.cause) == ("n3", "delay"), result.explanation
        assert f"receives what '{source}' emits {how}" in result.explanation


def test_a_state_that_other_samples_leave_behind_is_unknown_and_said_to_be():
    program, x = small(0)
    for backend in shown_or_not(Leaky()):
        result = found(program, x, backend)
        assert result.cause == "unknown"
        assert "depends on other samples" in result.explanation


def test_the_first_backend_may_be_the_one_at_fault():
    program, x = small(0)
    result = found(program, x, Judge(), first=Faulty(FAULTS["reset, to zero"]))
    assert not result.ours.conforms
    assert result.theirs.conforms
    assert result.cause == "reset"
    assert result.explanation.startswith("faulty sets the membrane to 0")


def test_two_faults_are_both_reported():
    program, x = small(0)
    first = Faulty(replace(FAULTS["reset, none"], layers=("act1",)))
    result = found(program, x, Faulty(Fault(layers=("act1",), current=lambda v: -v)), first=first)
    assert result.divergence.layer == "act1"
    assert not result.theirs.conforms


def test_a_backend_that_cannot_be_watched_is_diagnosed_from_its_spikes():
    class Broken(Faulty):
        def probe(self, program, inputs, steps, layer):
            raise WorkerError("died", where="worker")

    program, x = small(0)
    result = found(program, x, Broken(FAULTS["reset, to zero"]))
    assert result.cause == "reset"
    assert not result.theirs.probed
    assert "faulty could not run the sample again: worker: died" in result.explanation


def test_large_layers_are_judged_by_their_channel(monkeypatch):
    program, x = small(0)
    monkeypatch.setattr(place, "MAX_VALUES", 1000)
    for name in ("reset, to zero", "delay, one step"):
        result = found(program, x, Faulty(FAULTS[name]))
        assert result.cause == name.split(",")[0]
        assert "of the layer" not in result.explanation
    wrong = changed(program.network, "conv2", "weight", (3, 0, 1, 1), 25)
    assert found(program, x, Rewired(wrong)).cause == "weight"


@pytest.mark.parametrize("fault", sorted({"tie, above", "reset, to zero", "overflow, wraps"}))
def test_the_figures_are_those_of_the_neuron(fault):
    program, x = small(1)
    result = found(program, x, Faulty(FAULTS[fault]))
    where = result.divergence
    row = x[where.sample : where.sample + 1]
    for side, backend in ((result.ours, Judge()), (result.theirs, Faulty(FAULTS[fault]))):
        probe = backend.probe(program, row, where.step, where.layer)
        at = (0, where.step - 1, *where.neuron)
        assert side.membrane == probe.membranes[at]
        assert side.current == probe.currents[at]
        assert side.emitted == probe.spikes[at]
    assert (result.ours.emitted, result.theirs.emitted) == (where.ours, where.theirs)


# Backends that show their membranes show the same.


def assert_same_probes(backend, network, seed, steps=6):
    program, x = Program(network), grid_inputs(network, 3, seed)
    for layer in program.layers:
        if layer.kind == "neurons":
            judge = Judge().probe(program, x, steps, layer.name)
            other = backend.probe(program, x, steps, layer.name)
            np.testing.assert_array_equal(judge.currents, other.currents)
            np.testing.assert_array_equal(judge.membranes, other.membranes)
            np.testing.assert_array_equal(judge.spikes, other.spikes)
            before = judge.membranes[:, :-1] + judge.currents
            theta = layer.node.threshold.reshape(1, 1, -1, *(1,) * (len(layer.shape) - 1))
            spent = before if network.reset == "hard" else theta
            after = before - spent * judge.spikes
            np.testing.assert_array_equal(judge.membranes[:, 1:], after)


@settings(max_examples=20, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1), st.sampled_from([0.0, np.inf]))
def test_the_engine_shows_the_judges_membranes(network, seed, below):
    assert_same_probes(Reference(workers=2, below=below), network, seed)


@settings(max_examples=20)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_norse_shows_the_membranes_of_the_judge(network, seed):
    assert_same_probes(Norse("cpu"), network, seed)


@pytest.mark.lava
@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_lava_shows_the_membranes_of_the_judge(mode):
    lava = find_backend("lava")
    if lava.status().missing:
        pytest.skip(lava.status().missing)
    assert_same_probes(lava, skip_network(mode), 0)


def assert_called_a_threshold(program, x, name, layer, channel, delta):
    first = "norse" if name == "reference" else "reference"
    planted = Planted(name, layer, channel, delta)
    found = compare(program, x, [first, name], planted=planted)[1]
    assert found.divergence.layer == layer
    assert found.divergence.neuron[0] == channel
    assert found.diagnosis.cause in ("threshold", "tie")
    if found.diagnosis.cause == "tie":
        ours = found.diagnosis.ours
        assert ours.membrane + ours.current == found.diagnosis.threshold
    return found.diagnosis


@pytest.mark.parametrize(
    ("layer", "channel", "delta"),
    [("act1", 1, -30), ("act1", 2, -1), ("act1", 3, 30), ("act2", 0, 1), ("act2", 3, -1)],
)
@pytest.mark.parametrize("name", ["reference", "norse", "judge"])
def test_a_planted_threshold_is_called_one(name, layer, channel, delta):
    program, x = small(0)
    result = assert_called_a_threshold(program, x, name, layer, channel, delta)
    assert result.theirs.probed == isinstance(find_backend(name), Probing)


@pytest.mark.lava
@pytest.mark.parametrize(("layer", "channel", "delta"), [("act1", 2, -1), ("act2", 3, 30)])
def test_a_planted_threshold_is_called_one_in_lava(layer, channel, delta):
    if find_backend("lava").status().missing:
        pytest.skip(find_backend("lava").status().missing)
    program, x = small(0)
    result = assert_called_a_threshold(program, x, "lava", layer, channel, delta)
    assert result.theirs.probed


def test_nothing_is_run_again_where_nothing_differs(monkeypatch):
    def never(*arguments):
        raise AssertionError(arguments)

    monkeypatch.setattr(comparison, "diagnose", never)
    program, x = small(0)
    result = compare(program, x, ["judge", "norse"])[1]
    assert result.spikes_equal
    assert result.diagnosis is None


def test_the_documentation_lists_every_cause():
    from pathlib import Path  # noqa: PLC0415

    text = (Path(__file__).parent.parent / "docs" / "exactness.md").read_text(encoding="utf-8")
    for cause, meaning in CAUSES.items():
        assert f"| `{cause}` | {meaning} |" in text
