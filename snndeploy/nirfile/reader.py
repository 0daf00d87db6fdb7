"""`from_nir`: a NIR graph in the native form as a network; refuses anything inconsistent.

Reading takes the weights from the plain fields and the exact meaning from the metadata, writes
the network that results as a graph again, and demands that this is the graph that was given.
So no field of the file can contradict another.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from snndeploy.errors import FileFormatError, UnsupportedModelError
from snndeploy.network import Network, Reset
from snndeploy.nirfile.records import (
    KEY,
    LARGEST,
    GridRecord,
    MaxPoolRecord,
    NetworkRecord,
    NeuronRecord,
    PaddedRecord,
    ReadoutRecord,
    has_record,
    kind_of,
    read_record,
)
from snndeploy.nirfile.uneven import WrittenOut
from snndeploy.nirfile.writer import to_nir
from snndeploy.nodes import (
    Add,
    Array,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Pair,
    Scale,
    Shape,
    SumPool2d,
)

_MOST_PATHS, _LONGEST_PATH = 10_000, 100


def from_nir(graph: nir.NIRGraph) -> Network:
    """The network that `to_nir` wrote, with the same hash, name and history.

    Raises:
        UnsupportedModelError: the graph does not come from snndeploy.
        FileFormatError: it does, and something in it is missing, malformed or inconsistent.
    """
    if not has_record(graph):
        raise _foreign(graph)
    record = read_record(graph, NetworkRecord, "graph")
    nodes = [_node(name, graph, record) for name in record.nodes]
    try:
        network = Network(
            record.name,
            tuple(nodes),
            record.edges,
            record.mode,
            record.window,
            record.history,
            _reset(graph, record),
        )
        _check_extent(network, graph)
        expected = to_nir(network)
    except UnsupportedModelError as error:
        raise FileFormatError(error.problem, where=error.where, remedy=error.remedy) from error
    if network.hash != record.hash:
        raise FileFormatError(
            f"hash {network.hash[:12]}, but the metadata says {record.hash[:12]}: "
            "the arrays are not those that were written",
            where="graph",
            remedy="write the file again with snndeploy",
        )
    _check_same(graph, expected, "graph")
    return network


def _reset(graph: nir.NIRGraph, record: NetworkRecord) -> Reset:
    """What the neurons say; that all say the same is checked in the end."""
    neurons = [name for name in record.nodes if isinstance(graph.nodes.get(name), nir.IF)]
    kinds = {read_record(graph.nodes[n], NeuronRecord, f"node '{n}'").reset for n in neurons}
    return "hard" if "zero" in kinds else "soft"


def _foreign(graph: nir.NIRGraph) -> UnsupportedModelError:
    kinds = ", ".join(f"{name} ({type(node).__name__})" for name, node in graph.nodes.items())
    return UnsupportedModelError(
        f"another tool wrote this NIR graph, and its float dynamics are no network of integers; "
        f"its nodes are: {kinds or 'none'}",
        where="NIR graph",
        remedy="run it as it is (`snndeploy run --backend norse --dt TIME`, `run_nir`), or convert "
        "the ANN that it was made from",
    )


def _node(name: str, graph: nir.NIRGraph, record: NetworkRecord) -> Node:
    """The network's node `name`, from the plain fields and metadata of the graph's."""
    where = f"node '{name}'"
    if name in record.adds:
        return Add(name)
    plain = graph.nodes.get(name)
    if isinstance(plain, nir.Input):
        return Input(
            name, _tuple(plain.input_type["input"], where), _grid(record.grid), record.per_step
        )
    reader = _READERS.get(type(plain))
    if reader is None:
        found = "is missing" if plain is None else f"is a {type(plain).__name__}"
        raise FileFormatError(f"{found}, which snndeploy does not write", where=where)
    return reader(name, plain, where)


def _conv2d(name: str, plain: nir.Conv2d, where: str) -> Node:
    if kind_of(plain).startswith("padded_"):
        return _uneven(name, plain, where)
    weight = _integers(plain.weight, 4, where)
    stride, dilation = _pair(plain.stride, 1, where), _pair(plain.dilation, 1, where)
    padding = _pair(plain.padding, 0, where)
    return Conv2d(name, weight, None, stride, padding, dilation, _groups(plain, where))


def _uneven(name: str, plain: nir.Conv2d, where: str) -> Node:
    """A convolution or a pool whose padding differs side by side."""
    record = read_record(plain, PaddedRecord, where)
    whole, written = _integers(plain.weight, 4, where), WrittenOut.of(record)
    if whole.shape[2:] != written.size or min(*record.kernel, *record.dilation) < 1:
        raise FileFormatError(
            f"a kernel of {whole.shape[2:]}, the metadata imply {written.size}", where=where
        )
    stride = _pair(plain.stride, 1, where)
    if record.kind == "padded_conv2d":
        weight, groups = written.taps(whole), _groups(plain, where)
        return Conv2d(name, weight, None, stride, record.padding, record.dilation, groups)
    pool = SumPool2d if record.kind == "padded_sum_pool2d" else MaxPool2d
    return pool(name, record.kernel, stride, record.padding)


def _groups(plain: nir.Conv2d, where: str) -> int:
    (groups,) = _tuple(np.reshape(plain.groups, -1)[:1], where)
    if groups < 1:
        raise FileFormatError(f"{groups} groups", where=where)
    return groups


def _linear(name: str, plain: nir.Linear | nir.Affine, where: str) -> Node:
    return Linear(name, _integers(plain.weight, 2, where))


def _scale(name: str, plain: nir.Scale, where: str) -> Node:
    return Scale(name, _per_channel(plain.scale, where))


def _sum_pool2d(name: str, plain: nir.SumPool2d, where: str) -> Node:
    return SumPool2d(name, *_window(plain, where))


def _flatten(name: str, _plain: nir.Flatten, _where: str) -> Node:
    return Flatten(name)


def _neuron(name: str, plain: nir.IF, where: str) -> Node:
    record = read_record(plain, NeuronRecord, where)
    theta, v0, bias = (np.array(x, np.int64) for x in (record.threshold, record.v0, record.bias))
    return Neuron(name, theta, v0, bias, record.levels, record.scale)


def _readout(name: str, plain: nir.I, where: str) -> Node:
    record = read_record(plain, ReadoutRecord, where)
    bias = None if record.bias is None else np.array(record.bias, np.int64)
    return Output(name, bias, record.scale)


def _max_pool2d(name: str, plain: nir.NIRGraph, where: str) -> Node:
    read_record(plain, MaxPoolRecord, where)
    inner = plain.nodes.get("window_sum")
    if isinstance(inner, nir.Conv2d) and kind_of(inner) == "padded_pool_sum":
        return _uneven(name, inner, where)
    if not isinstance(inner, nir.SumPool2d):
        raise FileFormatError("is not a max-pool: it holds no SumPool2d 'window_sum'", where=where)
    return MaxPool2d(name, *_window(inner, where))


_READERS: dict[Any, Callable[[str, Any, str], Node]] = {
    nir.Conv2d: _conv2d,
    nir.Linear: _linear,
    nir.Affine: _linear,
    nir.Scale: _scale,
    nir.SumPool2d: _sum_pool2d,
    nir.Flatten: _flatten,
    nir.IF: _neuron,
    nir.I: _readout,
    nir.NIRGraph: _max_pool2d,
}


def _check_extent(network: Network, graph: nir.NIRGraph) -> None:
    """Bound the work of writing the network again by what the graph already holds.

    Arrays must have the shapes of their layers. Paths between layers, which are followed one by
    one, must not be exponentially many, nor deeper than Python's stack.
    """
    ways: dict[str, int] = {}
    length: dict[str, int] = {}
    for node in network.nodes:
        sources = network.sources[node.name]
        through = not isinstance(node, Input | Neuron | MaxPool2d)
        paths, longest = sum(ways[s] for s in sources), max((length[s] for s in sources), default=0)
        ways[node.name], length[node.name] = (paths, longest + 1) if through else (1, 0)
        if paths > _MOST_PATHS or longest > _LONGEST_PATH:
            raise FileFormatError(
                f"{paths} paths of up to {longest} nodes lead into it, the limits are "
                f"{_MOST_PATHS} and {_LONGEST_PATH}",
                where=f"node '{node.name}'",
            )
        _check_shape(node, graph.nodes.get(node.name), network.shapes[node.name])


def _check_shape(node: Node, holder: Any, shape: Shape) -> None:
    if isinstance(node, MaxPool2d):
        holder = holder.nodes.get("any_spike")
    for field in ("v_threshold", "r", "scale", "threshold"):
        value = getattr(holder, field, None)
        if value is not None and np.shape(value) != shape:
            raise FileFormatError(
                f"{field} has shape {np.shape(value)}, the layer {shape}",
                where=f"node '{node.name}'",
            )


def _check_same(found: nir.NIRNode, expected: nir.NIRNode, where: str) -> None:
    """Raise unless both nodes are of one type with equal fields, records and inner nodes."""
    if type(found) is not type(expected):
        kinds = f"{type(found).__name__}, expected {type(expected).__name__}"
        raise FileFormatError(f"is a {kinds}", where=where)
    if isinstance(expected, nir.NIRGraph):
        odd = sorted(set(found.nodes) ^ set(expected.nodes))
        if odd:
            raise FileFormatError(f"nodes missing or too many: {odd}", where=where)
        if sorted(map(tuple, found.edges)) != sorted(expected.edges):
            raise FileFormatError("edges differ from those in the metadata", where=where)
        for name, node in expected.nodes.items():
            inner = f"node '{name}'" if where == "graph" else f"{where}, inner node '{name}'"
            _check_same(found.nodes[name], node, inner)
    else:
        _check_fields(found.to_dict(), expected.to_dict(), where)
    text = found.metadata[KEY] if has_record(found) else None
    if not isinstance(text, str) or not _same_json(text, expected.metadata[KEY]):
        raise FileFormatError(f"metadata '{KEY}' contradicts the other fields", where=where)


def _check_fields(found: dict[str, Any], expected: dict[str, Any], where: str) -> None:
    for field, value in expected.items():
        if field in ("metadata", "type"):
            continue
        ours, theirs = np.asarray(value), np.asarray(found.get(field))
        if theirs.dtype.kind not in "iuf" or not np.array_equal(ours, theirs):
            raise FileFormatError(
                f"{field} is not what the metadata and the other nodes imply",
                where=where,
                remedy="write the file again with snndeploy",
            )


def _same_json(found: str, expected: str) -> bool:
    try:
        return bool(json.loads(found) == json.loads(expected))
    except (ValueError, RecursionError):
        return False


def _grid(record: GridRecord) -> Grid:
    return Grid(record.scale, record.low, record.high)


def _window(plain: nir.SumPool2d, where: str) -> tuple[Pair, Pair, Pair]:
    kernel, stride = _pair(plain.kernel_size, 1, where), _pair(plain.stride, 1, where)
    return kernel, stride, _pair(plain.padding, 0, where)


def _pair(value: Any, least: int, where: str) -> Pair:
    numbers = _tuple(value, where)
    if len(numbers) != 2 or min(numbers) < least:
        raise FileFormatError(f"{numbers} in place of two numbers >= {least}", where=where)
    return numbers[0], numbers[1]


def _per_channel(values: Any, where: str) -> Array:
    """The first value of each channel; that the others equal it is checked in the end."""
    array = np.asarray(values)
    if array.ndim < 1 or array.size == 0:
        raise FileFormatError(f"weights of shape {array.shape}", where=where)
    return _integers(array.reshape(len(array), -1)[:, 0], 1, where)


def _tuple(values: Any, where: str) -> tuple[int, ...]:
    numbers = tuple(int(x) for x in _integers(values, 1, where))
    if min(numbers) < 0 or max(numbers) > 1 << 31:
        raise FileFormatError(f"sizes {numbers}", where=where)
    return numbers


def _integers(values: Any, dimensions: int, where: str) -> Array:
    """An int64 array with that many dimensions, from numbers that are whole."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or array.ndim != dimensions or array.size == 0:
        raise FileFormatError(
            f"an array of {array.dtype} and shape {array.shape} in place of numbers "
            f"in {dimensions} dimensions",
            where=where,
        )
    if array.dtype.kind == "f" and not np.array_equal(array, np.trunc(array)):
        raise FileFormatError("holds weights that are not whole numbers", where=where)
    if array.max() > LARGEST or array.min() < -LARGEST:
        raise FileFormatError("holds numbers beyond 2**53", where=where)
    return array.astype(np.int64)
