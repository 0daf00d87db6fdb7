"""Networks of published shapes, and traces with the published number of spikes.

The weights do not matter to counts and prices, and the spikes' places hardly: they are drawn at
random from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from snndeploy.hardware import HardwareProfile
from snndeploy.layers import layers
from snndeploy.network import Network
from snndeploy.nodes import Add, Grid, Input, Linear, Neuron, Node, Output
from snndeploy.trace import Trace


def native(profile: HardwareProfile) -> HardwareProfile:
    """The chip for networks of its own neurons, which need no compartments beside them.

    Their input comes as spikes, whatever the made input's grid is.
    """
    able = dict.fromkeys(("signed_spikes", "graded_spikes", "soft_reset", "count_cap"), True)
    assert profile.capability is not None
    changed = {
        "capability": profile.capability.model_copy(update=able),
        "limits": profile.limits.model_copy(update={"payload_bits": None}),
        "limit_sources": {},
    }
    return profile.model_copy(update=changed)


def neurons(name: str, count: int, steps: int) -> Neuron:
    """IF neurons."""
    theta = np.full(count, 100)
    return Neuron(name, theta, theta // 2, np.zeros(count, np.int64), steps, 1.0)


def dense(shape: Sequence[int], steps: int, per_step: bool = True) -> Network:
    """Fully connected layers, the last one a readout, in rate mode."""
    nodes: list[Node] = [Input("x", (shape[0],), Grid(1.0, 0, steps), per_step=per_step)]
    for i, (fan_in, count) in enumerate(pairwise(shape), 1):
        nodes.append(Linear(f"w{i}", np.ones((count, fan_in), np.int64)))
        last = i == len(shape) - 1
        zeros = np.zeros(count, np.int64)
        nodes.append(Output("out", zeros, 1.0) if last else neurons(f"n{i}", count, steps))
    edges = tuple(pairwise(node.name for node in nodes))
    return Network("made", tuple(nodes), edges, "rate", steps)


def branches(count: int, inputs: int, width: int, outputs: int, steps: int) -> Network:
    """So many hidden layers side by side, between one input and one readout."""
    nodes: list[Node] = [Input("x", (inputs,), Grid(1.0, 0, steps), per_step=True)]
    edges, last = [], ""
    for i in range(count):
        nodes += [
            Linear(f"in{i}", np.ones((width, inputs), np.int64)),
            neurons(f"n{i}", width, steps),
            Linear(f"w{i}", np.ones((outputs, width), np.int64)),
        ]
        edges += [("x", f"in{i}"), (f"in{i}", f"n{i}"), (f"n{i}", f"w{i}")]
        if last:
            nodes.append(Add(f"add{i}"))
            edges += [(last, f"add{i}"), (f"w{i}", f"add{i}")]
        last = f"add{i}" if last else f"w{i}"
    nodes.append(Output("out", np.zeros(outputs, np.int64), 1.0))
    edges.append((last, "out"))
    return Network("branches", tuple(nodes), tuple(edges), "rate", steps)


def trace(network: Network, steps: int, spikes: Mapping[str, int]) -> Trace:
    """One sample with so many spikes in each layer, by name, spread over neurons and steps.

    The name of a per-step input gives its events; no neuron fires twice in a step.
    """
    rng = np.random.default_rng(0)
    found, entry = {}, network.input
    for layer in layers(network):
        if layer.name not in spikes:
            continue
        flat = np.zeros(steps * layer.neurons, np.int8)
        flat[rng.choice(flat.size, spikes[layer.name], replace=False)] = 1
        found[layer.name] = flat.reshape(1, steps, *layer.shape)
    events = found.pop(entry.name, None)
    logits = np.zeros((1, steps, *network.shapes[network.output.name]), np.int64)
    return Trace(
        "made",
        logits,
        found,
        {name: s.reshape(1, steps, -1).sum(axis=2, dtype=np.int64) for name, s in found.items()},
        np.array([steps]),
        np.array([True]),
        0.0,
        None if events is None else events.astype(bool),
    )
