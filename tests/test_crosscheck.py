"""Counts against two others: a loop over every spike and every synapse, and NeuroBench's own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from strategies import grid_inputs

from snndeploy.errors import DataError
from snndeploy.measure import count_events, neurobench_metrics
from snndeploy.network import Network
from snndeploy.nodes import Add, Conv2d, Flatten, Grid, Input, Linear, Neuron, Output, SumPool2d
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference.engine import Reference

STEPS = 6


def odd(rng, *shape) -> np.ndarray:
    """Weights without a zero: NeuroBench counts none, the hardware has its synapse."""
    return 2 * rng.integers(-4, 4, shape) + 1


def neurons(name: str, count: int, theta: int, rng) -> Neuron:
    threshold = np.full(count, theta)
    bias = STEPS * rng.integers(-2, 3, count)
    return Neuron(name, threshold, threshold // 2, bias, STEPS, 1.0)


def network(name: str, *nodes) -> Network:
    return Network(name, nodes, tuple(pairwise(n.name for n in nodes)), "rate", STEPS)


def dense() -> Network:
    rng = np.random.default_rng(0)
    return network(
        "dense",
        Input("x", (7,), Grid(1.0, -9, 9)),
        Linear("w1", odd(rng, 12, 7)),
        neurons("n1", 12, 30, rng),
        Linear("w2", odd(rng, 9, 12)),
        neurons("n2", 9, 12, rng),
        Linear("w3", odd(rng, 4, 9)),
        Output("out", np.zeros(4, int), 1.0),
    )


def strided() -> Network:
    """Stride 2, padding that differs side by side, groups, dilation."""
    rng = np.random.default_rng(1)
    return network(
        "strided",
        Input("x", (2, 9, 8), Grid(1.0, 0, 5)),
        Conv2d("w1", odd(rng, 4, 2, 3, 3), stride=(2, 1), padding=(1, 0)),
        neurons("n1", 4, 25, rng),
        Conv2d("w2", odd(rng, 6, 2, 2, 3), padding=(2, 1), dilation=(2, 1), groups=2),
        neurons("n2", 6, 9, rng),
        Flatten("flat"),
        Linear("w3", odd(rng, 3, 6 * 7 * 6)),
        Output("out", np.zeros(3, int), 1.0),
    )


def pooled() -> Network:
    """A branch around a convolution, then windows that are summed, then a linear layer."""
    rng = np.random.default_rng(2)
    nodes = (
        Input("x", (1, 8, 8), Grid(1.0, 0, 7)),
        Conv2d("w1", odd(rng, 3, 1, 3, 3), padding=(1, 1)),
        neurons("n1", 3, 20, rng),
        Conv2d("w2", odd(rng, 3, 3, 3, 3), padding=(1, 1)),
        Conv2d("short", odd(rng, 3, 3, 1, 1)),
        Add("add"),
        neurons("n2", 3, 15, rng),
        SumPool2d("pool", (2, 2), (2, 2)),
        Flatten("flat"),
        Linear("w3", odd(rng, 5, 48)),
        Output("out", np.zeros(5, int), 1.0),
    )
    edges = [("x", "w1"), ("w1", "n1"), ("n1", "w2"), ("n1", "short"), ("w2", "add")]
    edges += [("short", "add"), ("add", "n2"), ("n2", "pool"), ("pool", "flat"), ("flat", "w3")]
    return Network("pooled", nodes, (*edges, ("w3", "out")), "rate", STEPS)


NETWORKS = {make.__name__: make for make in (dense, strided, pooled)}


def targets(op, shape, index):
    """The outputs that one input of a node drives, once each, by the definition of the node."""
    if isinstance(op, Linear):
        return {(o,) for o in range(len(op.weight))}
    if isinstance(op, Flatten):
        return {(int(np.ravel_multi_index(index, shape)),)}
    channel, row, column = index
    if isinstance(op, SumPool2d):
        kernel, dilation, outs = op.kernel, (1, 1), [channel]
    else:
        kernel, dilation = op.weight.shape[2:], op.dilation
        per_in, per_out = op.weight.shape[1], len(op.weight) // op.groups
        group = channel // per_in
        outs = range(group * per_out, (group + 1) * per_out)
    _, height, width = op.output_shape([shape])
    top, left = op.pads[:2]
    found = set()
    for out in outs:
        for r in range(height):
            for c in range(width):
                for i in range(kernel[0]):
                    for j in range(kernel[1]):
                        y = r * op.stride[0] - top + i * dilation[0]
                        x = c * op.stride[1] - left + j * dilation[1]
                        if (y, x) == (row, column):
                            found.add((out, r, c))
    return found


def synapses_of(projection, shape, index) -> int:
    """Walk from one neuron through a projection's nodes to the targets."""
    reached = {index}
    for op in projection.ops:
        reached = set().union(*(targets(op, shape, at) for at in reached))
        shape = op.output_shape([shape])
    return len(reached)


@pytest.fixture(scope="module", params=NETWORKS)
def run(request):
    program = Program(NETWORKS[request.param]())
    inputs = grid_inputs(program.network, 3, 0)
    return program, inputs, simulate(Reference(), program, inputs, steps=STEPS)


def test_counts_equal_a_loop_over_every_spike_and_synapse(run):
    program, _, trace = run
    counts = count_events(program, trace)
    assert sum(np.count_nonzero(s) for s in trace.spikes.values()) > 100
    for layer in program.layers[1:]:
        synops = macs = 0
        for projection in layer.projections:
            shape = program.network.shapes[projection.source]
            cache: dict[tuple[int, ...], int] = {}
            for index in np.ndindex(*shape):
                cache[index] = synapses_of(projection, shape, index)
            if projection.source in trace.spikes:
                for _, _, *index in np.argwhere(trace.spikes[projection.source]):
                    synops += cache[tuple(index)]
            else:
                macs += sum(cache.values())
        found = counts.by_layer[layer.name]
        assert found["synop"] * 3 == pytest.approx(synops, abs=1e-6)
        assert found["mac"] == macs
        assert counts.each[layer.name]["synop"].sum() == synops
        updates = found["update_active"] + found["update_inactive"]
        assert updates == layer.neurons * STEPS
        fired = 0
        if layer.kind == "neurons":
            fired = np.count_nonzero(trace.spikes[layer.name])
        assert found["update_active"] * 3 == pytest.approx(fired)
        assert found["weight_read"] * 3 == pytest.approx(synops + 3 * macs)
        accesses = 2 * (synops + 3 * macs + 3 * layer.neurons * STEPS)
        assert found["state_access"] * 3 == pytest.approx(accesses)


class Fire(torch.nn.Module):
    """Integrate and fire with a soft reset, written down anew."""

    def __init__(self, node: Neuron, ndim: int) -> None:
        super().__init__()
        shape = (1, -1, *(1,) * (ndim - 1))
        self.theta, self.v0, self.bias = (
            torch.tensor(x, dtype=torch.float64).reshape(shape)
            for x in (node.threshold, node.v0, node.bias // STEPS)
        )
        self.v = None

    def forward(self, current):
        self.v = (self.v0 if self.v is None else self.v) + current + self.bias
        spikes = (self.v >= self.theta).double()
        self.v = self.v - spikes * self.theta
        return spikes


class Stepped(torch.nn.Module):
    """The network in plain PyTorch, each layer called at each step."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.spikes = network, {}
        made = {}
        for node in network.nodes:
            if isinstance(node, Linear):
                made[node.name] = torch.nn.Linear(*reversed(node.weight.shape), bias=False)
            elif isinstance(node, Conv2d):
                made[node.name] = torch.nn.Conv2d(
                    node.weight.shape[1] * node.groups, len(node.weight), node.weight.shape[2:],
                    node.stride, node.padding, node.dilation, node.groups, bias=False,
                )  # fmt: skip
            elif isinstance(node, Neuron):
                made[node.name] = Fire(node, len(network.shapes[node.name]))
            elif isinstance(node, SumPool2d):
                made[node.name] = torch.nn.AvgPool2d(node.kernel, node.stride, divisor_override=1)
            elif isinstance(node, Flatten):
                made[node.name] = torch.nn.Flatten()
            if isinstance(node, Linear | Conv2d):
                made[node.name].weight.data = torch.tensor(node.weight, dtype=torch.float64)
        self.made = torch.nn.ModuleDict(made)

    @torch.no_grad()
    def forward(self, batch):
        for _ in range(STEPS):
            values = {"x": batch}
            for node in self.network.nodes[1:]:
                found = [values[name] for name in self.network.sources[node.name]]
                if node.name in self.made:
                    values[node.name] = self.made[node.name](found[0])
                else:
                    values[node.name] = sum(found)
                if isinstance(node, Neuron):
                    self.spikes.setdefault(node.name, []).append(values[node.name])
        return values["out"]


def test_neurobench_counts_the_same_operations(run):
    models = pytest.importorskip("neurobench.models")
    workload = pytest.importorskip("neurobench.metrics.workload")
    static = pytest.importorskip("neurobench.metrics.static")
    program, inputs, trace = run
    net = Stepped(program.network)
    model = models.TorchModel(net)
    model.add_activation_module(Fire)
    model.register_hooks()
    batch = torch.tensor(inputs, dtype=torch.float64)
    with torch.no_grad():
        predictions = model(batch)
        for name, spikes in trace.spikes.items():
            ours = torch.stack(net.spikes[name], dim=1).numpy()
            np.testing.assert_array_equal(ours, spikes)  # the same network
        theirs = workload.SynapticOperations()(model, predictions, (batch, None))
        sparsity = workload.ActivationSparsity()(model, predictions, (batch, None))
    found = neurobench_metrics(program, trace, inputs)
    assert theirs == {
        "Effective_MACs": found.effective_macs,
        "Effective_ACs": found.effective_acs,
        "Dense": found.dense,
    }
    assert sparsity == pytest.approx(found.activation_sparsity)
    assert static.ConnectionSparsity()(model) == found.connection_sparsity == 0.0
    counts = count_events(program, trace)
    if program.network.name != "pooled":  # where a pool's sums make multiplications of synops
        assert found.effective_acs == pytest.approx(counts.total("synop"))
    if program.network.name == "dense":  # no input value is 0
        nonzero = np.count_nonzero(inputs) / inputs.size
        assert found.effective_macs == pytest.approx(counts.total("mac") * STEPS * nonzero)


def test_metrics_by_hand():
    program = Program(dense())
    inputs = grid_inputs(program.network, 3, 0)
    trace = simulate(Reference(), program, inputs, steps=STEPS)
    found = neurobench_metrics(program, trace, inputs)
    weights = 12 * 7 + 9 * 12 + 4 * 9
    assert found.dense == STEPS * weights
    assert found.membrane_updates == STEPS * (12 + 9 + 4)
    assert found.footprint_bytes == weights + 4 * (3 * 21 + 4)
    spikes = sum(np.count_nonzero(s) for s in trace.spikes.values())
    assert found.activation_sparsity == pytest.approx(1 - spikes / (3 * STEPS * 21))
    assert found.effective_macs * 3 == STEPS * 12 * np.count_nonzero(inputs)
    with pytest.raises(DataError, match="2 samples, the trace has 3"):
        neurobench_metrics(program, trace, inputs[:2])
