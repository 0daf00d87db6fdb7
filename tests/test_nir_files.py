"""NIR files lose nothing, and what a stranger can do to one is refused with a reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import integer_networks

from snndeploy.errors import FileFormatError, InputError, SnnDeployError, UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nirfile import from_nir, load, save, to_nir
from snndeploy.nirfile.scan import Limits, scan
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


def _external(path: Path, file: h5py.File) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(b"x" * 64)
    external = [(str(secret), 0, 64)]
    file["node"].create_dataset("stolen", (64,), "u1", external=external)


def _virtual(path: Path, file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "data", shape=(2,))
    file["node"].create_virtual_dataset("virtual", layout)


def _cycle(_: Path, file: h5py.File) -> None:
    file["node/nodes/loop"] = file["node"]


def _again(_: Path, file: h5py.File) -> None:
    file["node/again"] = file["node/edges"]


def _soft(_: Path, file: h5py.File) -> None:
    file["node/soft"] = h5py.SoftLink("/version")


def _external_link(_: Path, file: h5py.File) -> None:
    file["node/away"] = h5py.ExternalLink("other.h5", "/data")


def _huge(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("huge", (1 << 20, 1 << 20), "f8", chunks=(64, 64))


def _chunk(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("chunk", (1,), "f8", maxshape=(None,), chunks=(1 << 28,))


def _deep(_: Path, file: h5py.File) -> None:
    file.create_group("/".join("a" * 40))


def _ragged(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("ragged", (3,), h5py.vlen_dtype(np.int32))


def _compound(_: Path, file: h5py.File) -> None:
    file["node/record"] = np.zeros(3, [("a", "f4"), ("b", "i8")])


def _named_type(_: Path, file: h5py.File) -> None:
    file["node/type_of_it"] = np.dtype("f8")


def _filter(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("packed", data=np.zeros(99), compression="lzf")


def _empty(_: Path, file: h5py.File) -> None:
    file["node/nothing"] = h5py.Empty("f4")


def _no_stride(_: Path, file: h5py.File) -> None:
    file["node/nodes/pool/nodes/window_sum/stride"][()] = [0, 0]


def _no_node(_: Path, file: h5py.File) -> None:
    del file["node"]


def _unknown_node(_: Path, file: h5py.File) -> None:
    del file["node/nodes/first/type"]
    file["node/nodes/first/type"] = "HotNeuron"


HOSTILE: dict[Callable[[Path, h5py.File], None], str] = {
    _external: "keeps its data in another file",
    _virtual: "virtual dataset",
    _cycle: "not a tree",
    _again: "not a tree",
    _soft: "SoftLink to '/version'",
    _external_link: "ExternalLink to 'other.h5'",
    _huge: "would unpack to at least",
    _chunk: "would unpack to at least",
    _deep: "nested more than",
    _ragged: "not numbers or strings",
    _compound: "not numbers or strings",
    _named_type: "not a group or a dataset",
    _filter: "only gzip",
    _empty: "holds nothing",
    _no_stride: "FloatingPointError",
    _no_node: "is damaged or not a NIR file",
    _unknown_node: "is damaged or not a NIR file",
}


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack.__name__.strip("_"))
def test_a_hostile_file_is_refused(attack, tmp_path):
    path = tmp_path / "hostile.nir"
    save(network(), path)
    with h5py.File(path, "r+") as file:
        attack(path, file)
    with pytest.raises(FileFormatError, match=HOSTILE[attack]) as caught:
        load(path)
    assert caught.value.where.startswith(str(path))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(text=1_000), "more than 1000 bytes of strings"),
        (Limits(objects=50), "more than 50 objects"),
        (Limits(unpacked=1_000), "the limit is 1000"),
        (Limits(depth=4), "more than 4 deep"),
    ],
)
def test_limits_hold_for_the_whole_file(limits, message, tmp_path):
    path = tmp_path / "network.nir"
    save(network(), path)
    with h5py.File(path) as file:
        scan(file)
        with pytest.raises(FileFormatError, match=message):
            scan(file, limits)


def test_files_that_are_not_nir(tmp_path):
    path = tmp_path / "network.nir"
    with pytest.raises(FileFormatError, match="no such file"):
        load(path)
    with pytest.raises(FileFormatError, match="is a folder"):
        load(tmp_path)
    path.write_text("# My network\n")
    with pytest.raises(FileFormatError, match="is not an HDF5 file: it starts with b'# My net"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match="is not an HDF5 file"):
        load(path)
    with pytest.raises(FileFormatError, match="no such file"):
        load("nul\0byte")
    nir.write(path, nir.Linear(np.eye(2)))
    with pytest.raises(FileFormatError, match="a single b'Linear' node"):
        load(path)


@pytest.mark.parametrize("index", [0, 1])
def test_a_heap_on_which_hdf5_would_loop_for_ever(index, tmp_path):
    path = tmp_path / "loop.nir"
    save(network(), path)
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 2] = index.to_bytes(2, "little")
    content[first + 8 : first + 16] = (0 if index == 0 else 2**64 - 16).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"the heap at byte \d+ holds an object of size"):
        load(path)


def test_a_foreign_file_is_listed(tmp_path):
    path = tmp_path / "foreign.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.Linear(np.eye(3)), nir.LI(*np.ones((3, 3)))))
    with pytest.raises(UnsupportedModelError, match=r"linear \(Linear\)") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "nowhere" / "network.nir"
    with pytest.raises(InputError) as caught:
        save(network(), path)
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "network.nir"
    save(network(), path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(nir, "write", full_disk)
    with pytest.raises(FileFormatError, match="cannot be written: no space left; check the free"):
        save(network(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["network.nir"]


def test_paths_may_be_text(tmp_path):
    save(network(), str(tmp_path / "network.nir"))
    assert_same(load(str(tmp_path / "network.nir")), network())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files(share, tmp_path):
    path = tmp_path / "short.nir"
    save(network(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileFormatError, match=r"short\.nir"):
        load(path)


def test_flipped_bits_are_harmless_or_refused(tmp_path):
    original = tmp_path / "network.nir"
    save(network(), original)
    content = np.frombuffer(original.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(100):
        damaged = content.copy()
        places = rng.integers(0, len(content), 1 + trial % 8)
        damaged[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
        path = tmp_path / "damaged.nir"
        path.write_bytes(damaged.tobytes())
        try:
            assert load(path).hash == network().hash
        except SnnDeployError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 0
    shutil.copy(original, path)
    assert_same(load(path), network())
