"""`to_nir`: an integer network as standard NIR nodes with our exact meaning as metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import count, pairwise
from typing import Any

import nir
import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.layers import layers
from snndeploy.network import Network, require_integer
from snndeploy.nirfile.records import (
    LARGEST,
    GridRecord,
    MaxPoolRecord,
    NetworkRecord,
    NeuronRecord,
    PlainRecord,
    ReadoutRecord,
    Record,
    metadata,
)
from snndeploy.nirfile.uneven import WrittenOut, is_uneven, padded_record
from snndeploy.nodes import (
    Add,
    Array,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    Shape,
    SumPool2d,
)

_FLOAT32_EXACT = 1 << 24


def to_nir(network: Network) -> nir.NIRGraph:
    """The network as a NIR graph in the native form; `from_nir` gives it back unchanged.

    Every array is float, as plain readers expect, and holds integers exactly. A `Conv2d` or
    `Linear` that alone ends in a layer carries the mean over the window of that layer's bias;
    the exact totals are in the metadata of the `IF` or `I` node.

    Raises:
        UnsupportedModelError: a float network, or integers beyond 2**53.
    """
    require_integer(network)
    biases = _mean_biases(network)
    nodes: dict[str, nir.NIRNode] = {}
    for node in network.nodes:
        if isinstance(node, Add):
            continue
        after = network.shapes[node.name]
        before = network.shapes[(*network.sources[node.name], node.name)[0]]
        plain = _plain(node, before, after, biases.get(node.name), network)
        nodes[node.name] = _typed(plain, before, after)
    edges = _plain_edges(network, nodes)
    end = _fresh("output", nodes)
    nodes[end] = nir.Output(_ints(network.shapes[network.output.name]), metadata=_tag("end"))
    edges.append((network.output.name, end))
    record = metadata(_network_record(network))
    # nir's own type check computes wrong types for grouped and for non-square convolutions.
    return nir.NIRGraph(nodes, edges, metadata=record, type_check=False)


def _network_record(network: Network) -> NetworkRecord:
    grid = network.input.grid
    assert grid is not None
    return NetworkRecord(
        name=network.name,
        mode=network.mode,
        window=network.window,
        history=network.history,
        grid=GridRecord(scale=grid.scale, low=grid.low, high=grid.high),
        per_step=network.input.per_step,
        nodes=tuple(node.name for node in network.nodes),
        adds=tuple(node.name for node in network.nodes if isinstance(node, Add)),
        edges=network.edges,
        hash=network.hash,
    )


def _plain(
    node: Node, before: Shape, after: Shape, bias: Array | None, network: Network
) -> nir.NIRNode:
    """One node of the network as one NIR node, from and to values of these shapes."""
    if isinstance(node, Conv2d | Linear) and node.bias is not None:
        raise UnsupportedModelError(
            "has a bias of its own, which no engine would inject",
            where=f"{type(node).__name__} '{node.name}'",
            remedy="move it into the bias of the neuron",
        )
    if isinstance(node, Input):
        return nir.Input(_ints(after), metadata=_tag("input"))
    if isinstance(node, Conv2d):
        return _conv2d(node, before, bias)
    if isinstance(node, Linear):
        weight = _exact(node.weight, node)
        if bias is None:
            return nir.Linear(weight, metadata=_tag("linear"))
        return nir.Affine(weight, bias, metadata=_tag("linear"))
    if isinstance(node, Scale):
        weight = _spread(_exact(node.weight, node), after)
        return nir.Scale(weight, metadata=_tag("scale"))
    if isinstance(node, SumPool2d):
        return _window_sum(node, before, "sum_pool2d")
    if isinstance(node, Flatten):
        # NIR's types leave out the batch: everything from dimension 0 on is flattened.
        return nir.Flatten({"input": _ints(before)}, 0, -1, metadata=_tag("flatten"))
    if isinstance(node, MaxPool2d):
        return _count_pool(node, before, after)
    if isinstance(node, Neuron):
        return _neuron(node, after, network)
    assert isinstance(node, Output)
    total = None if node.bias is None else _tuple(node.bias)
    readout = ReadoutRecord(bias=total, scale=node.scale)
    return nir.I(np.ones(after, np.float32), metadata=metadata(readout))


def _conv2d(node: Conv2d, before: Shape, bias: Array | None) -> nir.Conv2d:
    weight, padding, dilation = _exact(node.weight, node), node.padding, node.dilation
    record: Record = PlainRecord(kind="conv2d")
    if is_uneven(node):
        record = padded = padded_record(node)
        written = WrittenOut.of(padded)
        weight, padding, dilation = written.extended(weight), written.padding, (1, 1)
    return nir.Conv2d(
        input_shape=_ints(before[1:]),
        weight=weight,
        stride=node.stride,
        padding=padding,
        dilation=dilation,
        groups=node.groups,
        bias=np.zeros(len(node.weight)) if bias is None else bias,
        metadata=metadata(record),
    )


def _window_sum(node: MaxPool2d | SumPool2d, before: Shape, kind: str) -> nir.NIRNode:
    """A pool's sums; with uneven padding a convolution of each channel with ones."""
    if not is_uneven(node):
        sizes = (_ints(node.kernel), _ints(node.stride), _ints(node.padding))
        return nir.SumPool2d(*sizes, metadata=_tag(kind))
    channels = before[0]
    ones = np.ones((channels, 1, *node.kernel), np.int64)
    conv = Conv2d(node.name, ones, None, node.stride, node.padding, groups=channels)
    plain = _conv2d(conv, before, None)
    plain.metadata = metadata(padded_record(node))
    return plain


def _neuron(node: Neuron, shape: Shape, network: Network) -> nir.IF:
    theta = _spread(_exact(node.threshold, node), shape)
    signed = network.mode == "exact"
    record = NeuronRecord(
        reset="zero" if network.reset == "hard" else "subtract",
        signed=signed,
        cap=node.levels if signed else None,
        threshold=_tuple(node.threshold),
        v0=_tuple(node.v0),
        bias=_tuple(node.bias),
        levels=node.levels,
        scale=node.scale,
    )
    ones, zeros = np.ones_like(theta), np.zeros_like(theta)
    return nir.IF(r=ones, v_threshold=theta, v_reset=zeros, metadata=metadata(record))


def _count_pool(node: MaxPool2d, before: Shape, after: Shape) -> nir.NIRGraph:
    """To a plain reader: a spike wherever a window holds any, the nearest that NIR can say."""
    window_sum = _window_sum(node, before, "pool_sum")
    any_spike = nir.Threshold(np.full(after, 0.5, np.float32), metadata=_tag("pool_any"))
    nodes = {
        "input": nir.Input(_ints(before), metadata=_tag("input")),
        "window_sum": _typed(window_sum, before, after),
        "any_spike": any_spike,
        "output": nir.Output(_ints(after), metadata=_tag("end")),
    }
    chain = list(nodes)
    edges = list(pairwise(chain))
    return nir.NIRGraph(nodes, edges, metadata=metadata(MaxPoolRecord()), type_check=False)


def _plain_edges(network: Network, nodes: dict[str, nir.NIRNode]) -> list[tuple[str, str]]:
    """The edges with adds dissolved into several edges, and with relays put into `nodes`."""
    edges: list[tuple[str, str]] = []
    for target in list(nodes):
        for source, times in Counter(_summed(network, target)).items():
            edges.append((source, target))
            for _ in range(times - 1):
                relay = _fresh(f"{source}_again", nodes)
                ones = np.ones(network.shapes[source], np.float32)
                nodes[relay] = nir.Scale(ones, metadata=_tag("relay"))
                edges += [(source, relay), (relay, target)]
    return edges


def _summed(network: Network, target: str) -> list[str]:
    """The sources of `target`, with those of an add in its place."""
    found: list[str] = []
    for source in network.sources[target]:
        is_add = isinstance(network.by_name[source], Add)
        found += _summed(network, source) if is_add else [source]
    return found


def _mean_biases(network: Network) -> dict[str, Array]:
    """For the convolution or dense node that carries a layer's bias: the bias a step, float64.

    It must be the last node on its way into the layer, and lie on no other way.
    """
    view = layers(network)
    uses = Counter(op.name for layer in view for path in layer.projections for op in path.ops)
    biases: dict[str, Array] = {}
    for layer in view:
        bias = layer.node.bias if isinstance(layer.node, Neuron | Output) else None
        if bias is None:
            continue
        for path in layer.projections:
            last = path.ops[-1] if path.ops else None
            if isinstance(last, Conv2d | Linear) and uses[last.name] == 1:
                biases[last.name] = bias / np.float64(network.window)
                break
    return biases


def _exact(values: Array, node: Node) -> Array:
    """Integers as float32 where that is exact, as float64 beyond it."""
    largest = max(abs(int(values.min())), abs(int(values.max())))
    if largest > LARGEST:
        raise UnsupportedModelError(
            f"holds the integer {largest}, beyond the 2**53 that NIR's floats hold exactly",
            where=f"{type(node).__name__} '{node.name}'",
            remedy="quantize to fewer bits",
        )
    return values.astype(np.float32 if largest <= _FLOAT32_EXACT else np.float64)


def _spread(values: Array, shape: Shape) -> Array:
    """One value a channel, at every place of the channel."""
    column = values.reshape(-1, *(1,) * (len(shape) - 1))
    return np.broadcast_to(column, shape).copy()


def _typed(node: nir.NIRNode, before: Shape, after: Shape) -> nir.NIRNode:
    """The node with its true types in place of those that nir guessed or left open."""
    if not isinstance(node, nir.NIRGraph):
        node.input_type, node.output_type = {"input": _ints(before)}, {"output": _ints(after)}
    return node


def _fresh(base: str, taken: Mapping[str, Any]) -> str:
    names = (base if i == 0 else f"{base}_{i}" for i in count())
    return next(name for name in names if name not in taken)


def _tag(kind: Any) -> dict[str, Any]:
    return metadata(PlainRecord(kind=kind))


def _ints(values: Shape) -> Array:
    return np.array(values, np.int64)


def _tuple(values: Array) -> tuple[int, ...]:
    return tuple(int(x) for x in values)
