"""Hard reset: what it means, where it is kept, and where it has no place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_jobs import skip_network
from models import float_network, images, small_network
from strategies import fed_by_steps, frames, integer_networks

from snndeploy import certify, convert, hardware, lower
from snndeploy.deploy import grid_inputs as on_grid
from snndeploy.errors import (
    CertificateRefusedError,
    FileFormatError,
    InputError,
    UnsupportedModelError,
)
from snndeploy.measure import membrane_extremes
from snndeploy.network import Network
from snndeploy.nirfile import from_nir, to_nir
from snndeploy.nirfile.records import KEY
from snndeploy.nodes import Grid, Input, Linear, Neuron, Output
from snndeploy.program import Program
from snndeploy.ranges import ranges
from snndeploy.simulate import simulate
from snndeploy.verify import comparison
from snndeploy_backends.norse import Norse
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge


def one_neuron(reset: str) -> Network:
    """Threshold 10, and a current of 7 at each step."""
    ten = np.array([10])
    nodes = (
        *(Input("x", (1,), Grid(1.0, 0, 7)), Linear("w", np.array([[1]]))),
        Neuron("n", ten, 0 * ten, 0 * ten, 3, 1.0),
        *(Linear("r", np.array([[1]])), Output("out", 0 * ten)),
    )
    edges = (("x", "w"), ("w", "n"), ("n", "r"), ("r", "out"))
    return Network("one", nodes, edges, "rate", 10, reset=reset)


@pytest.mark.parametrize(
    ("reset", "spikes", "membranes"),
    [
        ("soft", [0, 1, 1, 0, 1, 1, 0, 1, 1, 1], [0, 7, 4, 1, 8, 5, 2, 9, 6, 3, 0]),
        ("hard", [0, 1, 0, 1, 0, 1, 0, 1, 0, 1], [0, 7, 0, 7, 0, 7, 0, 7, 0, 7, 0]),
    ],
)
def test_what_is_left_after_a_spike(reset, spikes, membranes):
    program, x = Program(one_neuron(reset)), np.array([[7]])
    for backend in (Judge(), Reference(), Norse("cpu")):
        probe = backend.probe(program, x, 10, "n")
        assert probe.spikes.ravel().tolist() == spikes
        assert probe.membranes.ravel().tolist() == membranes
        assert probe.currents.ravel().tolist() == [7] * 10


def test_exact_mode_has_no_hard_reset():
    with pytest.raises(UnsupportedModelError, match="hard' reset in exact mode"):
        replace(one_neuron("hard"), mode="exact")
    with pytest.raises(UnsupportedModelError, match="'gentle' reset"):
        one_neuron("gentle")
    with pytest.raises(InputError, match=r"hard reset: loses charge .* use mode rate"):
        convert(float_network(), reset="hard")


def test_nothing_is_certified():
    program = lower(convert(float_network(), mode="rate", reset="hard"))
    with pytest.raises(CertificateRefusedError, match="rate mode"):
        certify(program, images(2))


def test_the_hash_tells_the_resets_apart():
    assert one_neuron("soft").hash != one_neuron("hard").hash


def test_neurons_of_one_file_agree():
    graph = to_nir(replace(skip_network("rate"), reset="hard"))
    assert from_nir(graph).reset == "hard"
    text = graph.nodes["n2"].metadata[KEY]
    assert '"reset":"zero"' in text
    graph.nodes["n2"].metadata[KEY] = text.replace("zero", "subtract")
    with pytest.raises(FileFormatError, match=r"contradicts|hash"):
        from_nir(graph)
    exact = to_nir(skip_network())
    for name in ("n1", "n2", "n3", "n4"):
        record = exact.nodes[name].metadata
        record[KEY] = record[KEY].replace("subtract", "zero")
    with pytest.raises(FileFormatError, match="hard' reset in exact mode"):
        from_nir(exact)


def test_a_chip_without_soft_reset_needs_no_companion():
    loihi = hardware("loihi1")
    assert loihi.compartments("rate", "soft") == 2
    assert loihi.compartments("rate", "hard") == 1
    assert loihi.workarounds("rate", "hard") == ()


def test_converted_neurons_are_those_of_lava():
    network = convert(float_network(), mode="rate", reset="hard", window=5, weight_exponent=0)
    for node in network.nodes:
        if isinstance(node, Neuron):
            assert not node.v0.any()
            assert len(set(node.threshold.tolist())) == 1
            assert not (node.bias % 5).any()


@settings(max_examples=60, deadline=None)
@given(integer_networks(mode="rate", reset="hard"), st.integers(0, 2**32 - 1))
def test_ranges_bound_membranes_whose_input_comes_by_steps(network, seed):
    network = fed_by_steps(network, 5)
    inputs, bounds = frames(network, 3, 5, seed), ranges(network, 9)
    program = Program(network)
    trace = simulate(Judge(), program, inputs, steps=9)
    for name, (low, high) in membrane_extremes(program, inputs, trace).items():
        assert bounds[name].low <= low
        assert high <= bounds[name].high


def test_extremes_are_those_that_the_judge_sees():
    network = replace(skip_network("rate"), reset="hard")
    program, x = Program(network), on_grid(network, np.ones((2, 1, 6, 6)))
    trace = simulate(Judge(), program, x, steps=9)
    probe = Judge().probe(program, x, 9, "n2")
    before = probe.membranes[:, :-1] + probe.currents
    low, high = membrane_extremes(program, x, trace)["n2"]
    assert (low, high) == (min(before.min(), probe.membranes[:, 0].min()), before.max())


class Soft(Judge):
    """A judge that subtracts the threshold whatever the network says."""

    name = "soft"

    def open(self, program, inputs, steps):
        return super().open(_soft(program), inputs, steps)


def _soft(program: Program) -> Program:
    return program.with_network(replace(program.network, reset="soft"))


def test_a_backend_with_soft_reset_is_named(monkeypatch):
    program = Program(convert(float_network(), mode="rate", reset="hard"))
    monkeypatch.setattr(comparison, "require_backend", {"judge": Judge(), "soft": Soft()}.get)
    results = comparison.compare(program, on_grid(program.network, images(6)), ["judge", "soft"])
    diagnosis = results[1].diagnosis
    assert diagnosis is not None
    assert diagnosis.cause == "reset"
    assert "where the membrane is to be set to 0" in diagnosis.explanation


def test_small_networks_differ():
    x = images(20)
    soft = small_network(mode="rate")
    hard = convert(float_network(), mode="rate", reset="hard", weight_exponent=0)
    spikes = [
        simulate(Reference(), Program(n), on_grid(n, x), steps=12).total_events
        for n in (soft, hard)
    ]
    assert spikes[1] < spikes[0]
