"""Synaptic operations against the `syops` package's, where both mean the same.

`syops` counts the accumulations of a layer as its dense operations times the mean firing rate of
what goes into it, which is our count where every input reaches equally many outputs: linear layers,
and convolutions of 1 x 1. It imports SpikingJelly up to 0.0.0.0.14; `make test` installs both
(counters.txt).
"""

from __future__ import annotations

import importlib
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from strategies import grid_inputs
from test_crosscheck import STEPS, dense, neurons, odd, pooled

from snndeploy.connectivity import dense_operations
from snndeploy.measure import count_events
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Grid, Input, Linear, Output
from snndeploy.nodes import Flatten as Flat
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference


@pytest.fixture(scope="module")
def engine():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of old packages, on import
        try:
            return importlib.import_module("syops.engine")
        except ImportError as error:
            pytest.skip(f"syops cannot be imported: {error}")


def pointwise() -> Network:
    """A convolution with borders on the analog input, then one of 1 x 1, then a linear layer."""
    rng = np.random.default_rng(5)
    nodes = (
        Input("x", (2, 6, 5), Grid(1.0, 0, 7)),
        Conv2d("w1", odd(rng, 4, 2, 3, 3), padding=(1, 1)),
        neurons("n1", 4, 25, rng),
        Conv2d("w2", odd(rng, 6, 2, 1, 1), groups=2),
        neurons("n2", 6, 9, rng),
        Flat("flat"),
        Linear("w3", odd(rng, 3, 6 * 6 * 5)),
        Output("out", np.zeros(3, int), 1.0),
    )
    return Network("pointwise", nodes, tuple(pairwise(n.name for n in nodes)), "rate", STEPS)


def theirs(engine, layer, spikes) -> float:
    """Accumulations a sample of a PyTorch layer, fed with spikes (N, T, *shape) step by step."""
    model = engine.add_syops_counting_methods(torch.nn.Sequential(layer))
    model.start_syops_count(ost=None, verbose=False, ignore_list=[])
    for t in range(spikes.shape[1]):
        with torch.no_grad():
            model(torch.tensor(spikes[:, t], dtype=torch.float32))
    (_, accumulations, multiplications, _), _ = model.compute_average_syops_cost()
    assert multiplications == 0
    return accumulations * spikes.shape[1]  # each step counted as so many samples


def torch_layer(node, features) -> torch.nn.Module:
    if isinstance(node, Linear):
        return torch.nn.Linear(features, len(node.weight), bias=False)
    channels = node.weight.shape[1] * node.groups
    return torch.nn.Conv2d(
        channels, len(node.weight), node.weight.shape[2:],
        node.stride, node.padding, node.dilation, node.groups, bias=False,
    )  # fmt: skip


def ran(network):
    program = Program(network)
    return program, simulate(Reference(), program, grid_inputs(network, 4, 1), steps=STEPS)


@pytest.mark.parametrize("network", [dense(), pointwise()], ids=lambda n: n.name)
def test_syops_counts_the_same_accumulations(engine, network):
    program, trace = ran(network)
    counts, compared = count_events(program, trace), 0
    for layer in program.layers[1:]:
        (projection,) = layer.projections
        if projection.source not in trace.spikes:
            continue
        spikes = trace.spikes[projection.source]
        if isinstance(projection.weighted, Linear):
            spikes = spikes.reshape(*spikes.shape[:2], -1)
        made = torch_layer(projection.weighted, spikes.shape[-1])
        found = theirs(engine, made, spikes)
        assert found > 0
        assert found == pytest.approx(counts.by_layer[layer.name]["synop"], rel=1e-5)
        compared += 1
    assert compared == 2


def test_at_borders_syops_takes_the_mean_rate_where_we_take_each_spikes_fan_out(engine):
    program, trace = ran(pooled())
    (layer,) = (x for x in program.layers if x.name == "n2")
    ours = count_events(program, trace).by_layer["n2"]["synop"]
    spikes, found, at_mean_rate = trace.spikes["n1"], 0.0, 0.0
    for projection in layer.projections:
        found += theirs(engine, torch_layer(projection.weighted, 0), spikes)
        synapses = dense_operations(projection, spikes.shape[2:])
        at_mean_rate += synapses * float(spikes.mean()) * STEPS
    # The kernel's taps on the zeros around the image are in theirs: 17 % more on this network.
    assert 1.1 < found / ours < 1.25
    assert at_mean_rate == pytest.approx(ours, rel=0.01)
