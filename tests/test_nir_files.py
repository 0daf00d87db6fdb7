"""NIR files lose nothing, and what a stranger can do to one is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import integer_networks

from snndeploy.errors import FileFormatError, UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nirfile import from_nir, load, save, to_nir
from snndeploy.nodes import (
    Add,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)


def neuron(name: str, channels: int) -> Neuron:
    count = np.arange(channels, dtype=np.int64)
    return Neuron(name, 100 + count, 50 - count, 3 * count - 4, 7, 0.1)


def network() -> Network:
    """Every kind of node; grouped, dilated and non-square kernels; an add of two adds."""
    rng = np.random.default_rng(0)
    nodes: tuple[Node, ...] = (
        Input("x", (2, 9, 8), Grid(1 / 3, -4, 4)),
        Conv2d("wide", rng.integers(-99, 99, (4, 1, 3, 1)), None, (2, 1), (1, 0), (1, 2), 2),
        neuron("first", 4),
        MaxPool2d("pool", (3, 2), (2, 1), (1, 1)),
        Conv2d("branch", rng.integers(-9, 9, (4, 4, 1, 3)), None, (1, 1), (0, 1)),
        Scale("identity", rng.integers(1, 99, 4)),
        Add("inner"),
        Add("add"),
        neuron("second", 4),
        SumPool2d("sum", (3, 4), (1, 2)),
        Flatten("flat"),
        Linear("output", rng.integers(-99, 99, (5, 12))),
        Output("out", np.arange(5) - 2, 0.01),
    )
    edges = (
        *(("x", "wide"), ("wide", "first"), ("first", "pool"), ("pool", "branch")),
        *(("pool", "identity"), ("branch", "inner"), ("identity", "inner")),
        *(("inner", "add"), ("pool", "add"), ("pool", "add"), ("add", "second")),
        *(("second", "sum"), ("sum", "flat"), ("flat", "output"), ("output", "out")),
    )
    return Network("all of it", nodes, edges, "exact", 7, ("fold-batch-norm", "quantize{bits=8}"))


def assert_same(found: Network, expected: Network) -> None:
    assert found.hash == expected.hash
    assert (found.name, found.history, found.edges) == (
        expected.name,
        expected.history,
        expected.edges,
    )
    assert [node.name for node in found.nodes] == [node.name for node in expected.nodes]


@settings(max_examples=60, deadline=None)
@given(integer_networks())
def test_a_graph_loses_nothing(network):
    assert_same(from_nir(to_nir(network)), network)


@settings(max_examples=25, deadline=None)
@given(network=integer_networks())
def test_a_file_loses_nothing(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("nir") / "network.nir"
    save(network, path)
    assert_same(load(path), network)


def test_every_kind_of_node(tmp_path):
    path = tmp_path / "network.nir"
    save(network(), path)
    assert_same(load(path), network())
    assert [p.name for p in tmp_path.iterdir()] == ["network.nir"]


def test_a_pool_padded_on_one_side_loses_nothing(tmp_path):
    """Its kernel, written out, is neither square nor without groups: nir gets both types wrong."""
    parts = (
        *(Input("x", (2, 3, 4), Grid(1.0, 0, 1)), Conv2d("w", np.ones((2, 2, 1, 1), int))),
        *(neuron("n", 2), MaxPool2d("pool", (1, 2), (1, 1), (0, 0, 0, 1)), Flatten("flat")),
        *(Linear("dense", np.ones((3, 24), int)), Output("out", np.zeros(3, int))),
    )
    edges = tuple(pairwise(node.name for node in parts))
    pooled = Network("uneven", parts, edges, "exact", 7)
    save(pooled, tmp_path / "network.nir")
    assert_same(load(tmp_path / "network.nir"), pooled)


def test_a_plain_reader_sees_thresholds_and_the_mean_bias():
    graph = to_nir(network())
    assert isinstance(graph.nodes["first"], nir.IF)
    np.testing.assert_array_equal(graph.nodes["first"].v_threshold[:, 0, 0], [100, 101, 102, 103])
    np.testing.assert_array_equal(graph.nodes["wide"].bias, (3 * np.arange(4) - 4) / 7)
    np.testing.assert_array_equal(graph.nodes["output"].bias, (np.arange(5) - 2) / 7)
    assert ("branch", "second") in graph.edges and ("identity", "second") in graph.edges
    standard = {getattr(nir, name) for name in nir.ir.__all__ if name[0].isupper()}
    assert {type(node) for node in graph.nodes.values()} <= standard


def test_a_float_network_is_refused():
    parts = (Input("x", (2,)), Linear("dense", np.eye(2)), Output("out"))
    edges = (("x", "dense"), ("dense", "out"))
    with pytest.raises(UnsupportedModelError, match="float network"):
        to_nir(Network("ann", parts, edges))


def test_a_foreign_graph_is_listed():
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(3)), nir.Threshold(np.ones(3)))
    with pytest.raises(UnsupportedModelError, match=r"linear \(Linear\), threshold \(Threshold\)"):
        from_nir(graph)


def _set(node: str, field: str, change: Callable) -> Callable[[nir.NIRGraph], None]:
    def edit(graph: nir.NIRGraph) -> None:
        setattr(graph.nodes[node], field, change(getattr(graph.nodes[node], field)))

    return edit


def _json(node: str, **changes) -> Callable[[nir.NIRGraph], None]:
    def edit(graph: nir.NIRGraph) -> None:
        metadata = graph.nodes[node].metadata if node else graph.metadata
        metadata["snndeploy"] = json.dumps(json.loads(metadata["snndeploy"]) | changes)

    return edit


def _half(array: np.ndarray) -> np.ndarray:
    return array + 0.5


EDITS: dict[str, tuple[Callable[[nir.NIRGraph], object], str]] = {
    "threshold": (_set("first", "v_threshold", _half), "node 'first': v_threshold"),
    "reset": (_set("first", "v_reset", _half), "node 'first': v_reset"),
    "shape": (_set("first", "v_threshold", lambda a: a[:1]), "node 'first': v_threshold has shape"),
    "fraction": (_set("wide", "weight", _half), "node 'wide': holds weights that are not whole"),
    "nan": (_set("wide", "weight", lambda a: a * np.nan), "node 'wide'"),
    "huge": (_set("wide", "weight", lambda a: a * 1e30), r"node 'wide': .* beyond 2\*\*53"),
    "text": (_set("wide", "weight", lambda a: a.astype(str)), "node 'wide'"),
    "weight": (_set("wide", "weight", lambda a: a + 1), "not those that were written"),
    "bias": (_set("wide", "bias", _half), "node 'wide': bias"),
    "stride": (_set("wide", "stride", lambda _: (0, 1)), r"node 'wide': \(0, 1\)"),
    "groups": (_set("wide", "groups", lambda _: 0), "node 'wide': 0 groups"),
    "groups2": (_set("wide", "groups", lambda _: 3), "weight"),
    "kernel": (_set("sum", "kernel_size", lambda _: {}), "node 'sum'"),
    "uneven": (_set("identity", "scale", lambda a: a + np.arange(a.shape[2])), "'identity'"),
    "levels": (_json("first", levels=0), "node 'first': .* levels"),
    "cap": (_json("first", cap=6), "node 'first': metadata .* contradicts"),
    "type": (_json("first", scale="1"), "node 'first': .* scale"),
    "extra": (_json("first", leak=1), "node 'first': .* leak"),
    "zero": (_json("first", threshold=[0, 1, 1, 1]), "below 1"),
    "large": (_json("first", bias=[2**60] * 4), "node 'first': .* bias"),
    "channels": (_json("first", bias=[1]), "'first'.* bias"),
    "format": (_json("", format=2), "format"),
    "mode": (_json("", mode="rate"), "hash"),
    "cycle": (_json("", edges=[["x", "wide"], ["wide", "wide"]]), "'"),
    "missing": (lambda g: g.nodes.pop("pool"), "node 'pool': is missing"),
    "more": (lambda g: g.nodes.update(y=nir.Scale(np.ones(1))), r"\['y'\]"),
    "edge": (lambda g: g.edges.append(("x", "out")), "edges differ"),
    "untagged": (lambda g: g.nodes["flat"].metadata.clear(), "node 'flat': metadata"),
    "inner": (lambda g: g.nodes["pool"].nodes["any_spike"].metadata.clear(), "'any_spike'"),
    "swapped": (lambda g: g.nodes.update(first=nir.Delay(np.ones(1))), "is a Delay"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_graph_that_contradicts_itself_is_refused(name):
    edit, message = EDITS[name]
    graph = to_nir(network())
    edit(graph)
    with pytest.raises(FileFormatError, match=message):
        from_nir(graph)


@pytest.mark.parametrize("adds", [60, 3_000])
def test_endless_paths_are_refused(adds):
    graph = to_nir(network())
    names = [f"add{i}" for i in range(adds)]
    record = json.loads(graph.metadata["snndeploy"])
    chain = ["first", *names, "pool"]
    edges = [[a, b] for a, b in pairwise(chain)]
    edges += [[a, b] for a, b in edges[:-1]]
    record["edges"] = [e for e in record["edges"] if e != ["first", "pool"]] + edges
    record["nodes"], record["adds"] = record["nodes"] + names, record["adds"] + names
    graph.metadata["snndeploy"] = json.dumps(record)
    with pytest.raises(FileFormatError, match="paths of up to"):
        from_nir(graph)


def test_a_pool_with_an_uneven_window_survives_a_file(tmp_path):
    """nir guesses the shape behind a kernel that is not square wrongly, in nested graphs too."""
    one = np.ones(1, np.int64)
    nodes = (
        Input("x", (1, 2, 1), Grid(1.0, 0, 1)),
        Conv2d("conv", np.ones((1, 1, 1, 1), np.int64)),
        Neuron("neuron", one, one * 0, one, 1, 1.0),
        MaxPool2d("pool", (1, 2), (1, 1), (0, 1, 0, 0)),
        Flatten("flat"),
        Linear("dense", np.ones((1, 2), np.int64)),
        Output("out", one, 1.0),
    )
    edges = tuple((a.name, b.name) for a, b in pairwise(nodes))
    network = Network("uneven", nodes, edges, "exact", 1)
    save(network, tmp_path / "network.nir")
    assert_same(load(tmp_path / "network.nir"), network)
