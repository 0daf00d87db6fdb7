"""An event-driven backend for snndeploy: work is done for what fires, and for nothing else."""

import numpy as np

from snndeploy import linear_ops
from snndeploy.backend import BackendStatus, Step
from snndeploy.nodes import MaxPool2d, Neuron
from snndeploy.numerics import check_word, fire, window_share
from snndeploy.ranges import ranges


class FanOut:
    """For each source neuron of a projection its targets and weights."""

    def __init__(self, projection, shape):
        size = int(np.prod(shape))
        each = np.eye(size, dtype=np.int64).reshape(size, *shape)
        rows = linear_ops.apply_all(projection.ops, each).reshape(size, -1)
        self.fans, self.shape = [(np.flatnonzero(row), row[row != 0]) for row in rows], rows.shape

    def current(self, values):
        """What the events among `values` (n, *sources) cause, (n, targets)."""
        values = values.reshape(len(values), self.shape[0])
        current = np.zeros((len(values), self.shape[1]), np.int64)
        for sample, neuron in np.argwhere(values):
            targets, weights = self.fans[neuron]
            current[sample, targets] += values[sample, neuron] * weights
        return current


class SparseSession:
    """A batch of samples, one logical step at a time: a spike passes through all layers."""

    def __init__(self, program, inputs):
        self.network, self.layers = program.network, program.layers
        self.inputs, self.time, self.state = inputs, 0, {}
        for layer in self.layers[1:]:
            fans = [(p.source, FanOut(p, self.network.shapes[p.source])) for p in layer.projections]
            self.state[layer.name] = fans, *self._at_rest(layer, len(inputs))

    def step(self):
        """Advance all samples that are left by one step."""
        values = {self.layers[0].name: self.network.stimulus(self.inputs, self.time)}
        for layer in self.layers[1:]:
            values[layer.name] = self._advance(layer, values)
        self.time += 1
        spikes = {layer.name: values[layer.name].astype(np.int8) for layer in self.layers[1:-1]}
        return Step(values[self.layers[-1].name], spikes)

    def keep(self, rows):
        """Go on with some of the samples."""
        self.inputs = self.inputs[rows]
        self.state = {k: (fans, v[rows], n[rows]) for k, (fans, v, n) in self.state.items()}

    def close(self):
        """There is nothing to free."""

    def _at_rest(self, layer, samples):
        """Membranes and net counts before the first step; a max-pool has its sources' counts."""
        count = np.zeros((samples, *layer.shape), np.int64)
        if isinstance(layer.node, MaxPool2d):
            pooled = self.network.shapes[layer.projections[0].source]
            return np.zeros((samples, *pooled), np.int64), count
        if isinstance(layer.node, Neuron):
            return count + linear_ops.per_channel(layer.node.v0, count.ndim), count
        return count, count

    def _advance(self, layer, values):
        node, (fans, membrane, count) = layer.node, self.state[layer.name]
        current = sum(fan_out.current(values[source]) for source, fan_out in fans)
        membrane = membrane + current.reshape(membrane.shape)
        if isinstance(node, MaxPool2d):
            pooled = linear_ops.max_pool(membrane, node.kernel, node.stride, node.padding)
            emitted, count = pooled - count, pooled
        else:
            if self.network.injects(self.time):
                share = window_share(node.bias, self.time, self.network.window)
                membrane = membrane + linear_ops.per_channel(share, membrane.ndim)
            emitted = membrane
            if isinstance(node, Neuron):
                theta = linear_ops.per_channel(node.threshold, membrane.ndim)
                kind = self.network.mode == "exact", self.network.reset == "hard"
                membrane, count, emitted = fire(membrane, count, theta, node.levels, *kind)
        self.state[layer.name] = fans, membrane, count
        return emitted


class Sparse:
    """The backend, as `pyproject.toml` publishes it."""

    name, summary, streams = "sparse", "event-driven, in plain NumPy", True

    def status(self):
        return BackendStatus({"numpy": np.__version__})

    def open(self, program, inputs, steps):
        for layer, bound in ranges(program.network, steps).items():
            check_word(*bound.extent, bits=64, where=f"membranes of layer '{layer}'")
        return SparseSession(program, inputs)
