"""Norse agrees with the judge spike for spike, and really is Norse."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks

from snndeploy.errors import BackendMissingError, InputError
from snndeploy.network import Network
from snndeploy.nodes import (
    Add,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
)
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.devices import DEVICE_VARIABLE
from snndeploy_backends.norse import Norse
from snndeploy_backends.reference.judge import Judge


def agree(network: Network, seed: int, **options) -> None:
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, **options)
    norse = simulate(Norse("cpu"), program, inputs, **options)
    judge.assert_same_spikes(norse)
    np.testing.assert_array_equal(judge.logits, norse.logits)


@settings(max_examples=40, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_norse_has_the_spikes_of_the_judge(network, seed):
    agree(network, seed, steps=12)


@settings(max_examples=15, deadline=None)
@given(integer_networks(mode="exact"), st.integers(0, 2**32 - 1))
def test_samples_that_settle_early_leave_every_state(network, seed):
    agree(network, seed)


def dense_neuron(name: str, features: int, theta: int = 40) -> Neuron:
    channels = np.arange(features)
    return Neuron(name, theta + channels, channels, channels - 2, 7, 0.25)


def chain(*nodes: Node, mode: str = "exact") -> Network:
    edges = tuple((a.name, b.name) for a, b in pairwise(nodes))
    return Network("chain", nodes, edges, mode, 7)


def doubled() -> Network:
    """An add that takes the same spikes twice, and names that nir reserves."""
    rng = np.random.default_rng(0)
    nodes = (
        Input("x", (4,), Grid(0.25, 0, 15)),
        Linear("dense", rng.integers(-9, 10, (4, 4))),
        dense_neuron("first", 4),
        Scale("scale", np.array([1, -2, 3, 0])),
        Add("add"),
        Add("more"),
        dense_neuron("second", 4, 2),
        Output("output", np.array([1, 0, -1, 9])),
    )
    edges = (("x", "dense"), ("dense", "first"), ("first", "scale"))
    edges += (("first", "add"), ("first", "add"), ("scale", "add"), ("add", "more"))
    edges += (("first", "more"), ("more", "second"), ("second", "output"))
    return Network("doubled", nodes, edges, "exact", 7)


def test_an_add_may_take_one_source_several_times():
    agree(doubled(), 1)


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_names_that_python_or_pytorch_reserve(mode):
    rng = np.random.default_rng(0)
    network = chain(
        Input("input", (1, 4, 4), Grid(1.0, 0, 7)),
        Scale("state", np.array([9])),
        dense_neuron("forward", 1),
        MaxPool2d("output", (2, 2), (2, 2)),
        Flatten("for"),
        Linear("type", rng.integers(-9, 10, (3, 4))),
        Output("keys", np.array([5, 0, -5]), 0.1),
        mode=mode,
    )
    agree(network, 2, steps=20)


def test_large_accumulators_run_in_float64():
    weight = np.array([[3_000_001, -2_999_999], [1, 2_000_003]])
    network = chain(
        Input("x", (2,), Grid(1.0, 0, 255)),
        Linear("dense", weight),
        dense_neuron("neuron", 2, 99_999_989),
        Linear("last", weight),
        Output("out", np.array([7, -7]), 0.1),
    )
    agree(network, 3)
    session = Norse("cpu").open(Program(network), grid_inputs(network, 1, 0), 20)
    assert session.inputs.dtype == torch.float64


def test_the_neurons_are_norse_cells():
    network = doubled()
    session = Norse("cpu").open(Program(network), grid_inputs(network, 1, 0), 4)
    assert isinstance(session.module, torch.fx.GraphModule)
    snn_cell = sys.modules["norse.torch.module.snn"].SNNCell
    for name in ("first", "second", "output"):
        assert isinstance(session.module.get_submodule(f"node_{name}"), snn_cell)


def test_status_names_the_packages():
    status = Norse().status()
    assert status.available
    assert set(status.versions) == {"norse", "nirtorch", "nir", "torch"}


def test_the_device_comes_from_the_environment(monkeypatch):
    network = doubled()
    program, inputs = Program(network), grid_inputs(network, 1, 0)
    monkeypatch.setenv(DEVICE_VARIABLE, "abacus")
    with pytest.raises(InputError, match="unknown device 'abacus'"):
        Norse().open(program, inputs, 4)
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendMissingError, match="no usable GPU"):
        Norse().open(program, inputs, 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@settings(max_examples=20, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_the_gpu_has_the_spikes_of_the_judge(network, seed):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, steps=12)
    judge.assert_same_spikes(simulate(Norse("cuda"), program, inputs, steps=12))
