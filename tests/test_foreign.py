"""NIR graphs that other tools wrote: NIR's equations, the same on Norse as in plain NumPy."""

from __future__ import annotations

import sys
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
import torch
from foreign_graphs import DT, foreign_graphs
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snndeploy import run_nir
from snndeploy.errors import (
    DataError,
    FileFormatError,
    InputError,
    SnnDeployError,
    UnsupportedModelError,
)
from snndeploy.nirfile import is_foreign, load_foreign
from snndeploy_backends.norse.foreign import ForeignNetwork
from snndeploy_backends.reference.foreign_judge import State

MARGIN = 1e-9
"""Nearer to a threshold than this, rounding may decide."""

SOUND: list[bytes] = []
"""A file without damage, once it is written."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("foreign") / "graph.nir"


def written(path, *nodes, edges=None, dt=DT):
    """A chain, or nodes by name with edges, through a file."""
    if edges is None:
        shape = nodes[0]
        named = {f"n{i}": node for i, node in enumerate(nodes[1:])}
        chain = ["input", *named, "output"]
        edges = list(pairwise(chain))
        out = shape
        if isinstance(nodes[-1], nir.Linear | nir.Affine):
            out = nodes[-1].weight.shape[:1]
        ends = {
            "input": nir.Input({"input": np.array(shape)}),
            "output": nir.Output({"output": np.array(out)}),
        }
        nodes = ({**ends, **named},)
    nir.write(path, nir.NIRGraph(nodes[0], edges, type_check=False))
    return load_foreign(path, dt)


def near_a_tie(graph, x) -> bool:
    """Whether any membrane of the judge comes close to its threshold."""
    state, close = State(graph), False
    fire, advance = state.fire, state.advance

    def watched_fire(node, v):
        nonlocal close
        if "v_threshold" in node.values:
            close |= bool((np.abs(v - node.values["v_threshold"]) < MARGIN).any())
        return fire(node, v)

    def watched_advance(node, v):
        nonlocal close
        if node.kind == "Threshold":
            close |= bool((np.abs(v - node.values["threshold"]) < MARGIN).any())
        return advance(node, v)

    state.fire, state.advance = watched_fire, watched_advance
    for t in range(x.shape[1]):
        state.step(x[:, t])
    return close


@settings(max_examples=100)
@given(drawn=foreign_graphs(), seed=st.integers(0, 2**32 - 1), constant=st.booleans())
def test_norse_has_the_spikes_of_the_definition(file, drawn, seed, constant):
    nir.write(file, drawn)
    graph = load_foreign(file, DT)
    rng = np.random.default_rng(seed)
    x = rng.normal(0.3, 1, (2, 1 if constant else 12, *graph.input_shape))
    x = np.repeat(x, 12, axis=1) if constant else x
    assume(not near_a_tie(graph, x))
    judge, norse = (run_nir(graph, x, backend=name) for name in ("judge", "norse"))
    for name, spikes in judge.spikes.items():
        np.testing.assert_array_equal(norse.spikes[name], spikes, err_msg=name)
    np.testing.assert_allclose(norse.outputs, judge.outputs, rtol=1e-7, atol=1e-9)
    for name, events in judge.events.items():
        np.testing.assert_array_equal(norse.events[name], events)


def lif(**changes):
    given = {"tau": 2.0, "r": 3.0, "v_leak": 0.5, "v_threshold": 1.0, "v_reset": -0.25} | changes
    return nir.LIF(**{key: np.array([value]) for key, value in given.items()})


@pytest.mark.parametrize("backend", ["judge", "norse"])
class TestByHand:
    """Runs of a few steps, worked out on paper."""

    def run(self, graph, x, backend):
        return run_nir(graph, np.array(x)[None, :, None], backend=backend).outputs[0, :, 0]

    def test_a_lif_leaks_fires_strictly_above_and_resets_to_v_reset(self, file, backend):
        # v: 0.5 -> 0.5 + (0 + 3 * 2/3) / 2 = 1.5 fires -> -0.25 -> -0.25 + 0.75 / 2 = 0.125
        graph = written(file, (1,), lif(), dt=1.0)
        state = self.run(graph, [2 / 3, 0, 0], backend)
        np.testing.assert_array_equal(state, [1, 0, 0])
        # 0.5 + 3 * 1/3 / 2 = 1.0 is no spike
        np.testing.assert_array_equal(self.run(graph, [1 / 3], backend), [0])

    def test_an_if_knows_r_and_dt(self, file, backend):
        one = {"r": 2.0, "v_threshold": 1.0, "v_reset": 0.25}
        node = nir.IF(**{key: np.array([value]) for key, value in one.items()})
        # each step adds 0.5 * 2 * 0.6 = 0.6: 0.6, 1.2 fires -> 0.25, 0.85, 1.45 fires
        graph = written(file, (1,), node)
        np.testing.assert_array_equal(self.run(graph, [0.6] * 4, backend), [0, 1, 0, 1])

    def test_a_li_starts_at_its_leak(self, file, backend):
        node = nir.LI(*(np.array([x]) for x in (2.0, 1.0, 4.0)))
        graph = written(file, (1,), node, dt=1.0)
        np.testing.assert_allclose(self.run(graph, [0, 4, 0], backend), [4, 6, 5])

    def test_a_synaptic_current_reaches_the_membrane_at_once(self, file, backend):
        one = {"tau_syn": 2.0, "tau_mem": 4.0, "r": 2.0, "v_leak": 0.0, "w_in": 8.0}
        node = nir.CubaLI(**{key: np.array([value]) for key, value in one.items()})
        graph = written(file, (1,), node, dt=1.0)
        # i: 4, 2; v: 0 + 2 * 4 / 4 = 2, then 2 + (-2 + 4) / 4 = 2.5
        np.testing.assert_allclose(self.run(graph, [1, 0], backend), [2, 2.5])

    def test_a_cycle_takes_a_step_and_a_delay_as_long_as_it_says(self, file, backend):
        names = {
            "input": nir.Input({"input": np.array([1])}),
            "sum": nir.I(np.array([2.0])),
            "twice": nir.Scale(np.array([2.0])),
            "output": nir.Output({"output": np.array([1])}),
        }
        loop = [("input", "sum"), ("sum", "twice"), ("twice", "sum"), ("sum", "output")]
        graph = written(file, names, edges=loop)
        # dt * r = 1: v += x + 2 * v before
        np.testing.assert_allclose(self.run(graph, [1, 0, 0], backend), [1, 3, 9])
        names["twice"] = nir.Affine(np.array([[0.0]]), np.array([2.0]))
        graph = written(file, names, edges=loop)
        np.testing.assert_allclose(self.run(graph, [0, 0, 0], backend), [2, 4, 6])
        names["wait"] = nir.Delay(np.array([1.0]))
        waiting = [("input", "sum"), ("sum", "wait"), ("wait", "sum"), ("sum", "output")]
        del names["twice"]
        graph = written(file, names, edges=waiting)
        np.testing.assert_allclose(self.run(graph, [1, 0, 0, 0, 0], backend), [1, 1, 2, 3, 5])


def test_norses_own_cells_do_the_work(file):
    cuba = {"tau_syn": 1.0, "tau_mem": 1.0, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    nodes = [lif(), nir.LI(*np.ones((3, 1))), nir.IF(np.ones(1), np.ones(1)), nir.I(np.ones(1))]
    nodes.append(nir.CubaLIF(**{key: np.array([value]) for key, value in cuba.items()}))
    network = ForeignNetwork(written(file, (3,), *nodes), "cpu", torch.float64)
    norse = sys.modules["norse.torch"]
    expected = {
        "n0": {norse.LIFBoxCell},
        "n1": {norse.LIBoxCell},
        "n2": {norse.IAFCell},
        "n4": {norse.LIBoxCell, norse.LIFBoxCell},
    }
    for name, cells in expected.items():
        assert isinstance(network.modules[name], norse.SequentialState)
        assert cells <= {type(part) for part in network.modules[name]}


def test_nested_graphs_are_opened(file):
    inner = nir.NIRGraph.from_list(nir.Linear(np.array([[2.0]])), nir.LI(*np.ones((3, 1))))
    outer = {
        "input": nir.Input({"input": np.array([1])}),
        "part": inner,
        "output": nir.Output({"output": np.array([1])}),
    }
    graph = written(file, outer, edges=[("input", "part"), ("part", "output")], dt=1.0)
    assert {"part.linear", "part.li"} <= {node.name for node in graph.nodes}
    np.testing.assert_allclose(run_nir(graph, [[[3.0]]]).outputs, [[[7.0]]])


def test_all_that_is_not_understood_is_named_at_once(file):
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "bad": nir.Linear(np.ones((3, 2))),
        "out": nir.Linear(np.ones((1, 3))),
        "output": nir.Output({"output": np.array([1])}),
    }
    edges = [("input", "bad"), ("bad", "out"), ("out", "output")]
    nir.write(file, nir.NIRGraph(nodes, edges, type_check=False))
    with h5py.File(file, "r+") as content:
        del content["node/nodes/bad/type"], content["node/nodes/out/weight"]
        content["node/nodes/bad/type"] = "Resonator"
        content["node/nodes/out/wait"] = 3.0
    with pytest.raises(UnsupportedModelError) as caught:
        load_foreign(file, DT)
    for words in ("'bad' is a Resonator", "'out': lacks weight", "'out': has wait", str(file)):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([nir.LI(*(np.full(1, x) for x in (0.1, 1, 0)))], "shorter than the step"),
        ([nir.LI(*(np.full(1, x) for x in (-1, 1, 0)))], "shorter than the step"),
        ([nir.LI(np.full(1, np.nan), np.ones(1), np.ones(1))], "not made of finite numbers"),
        ([nir.LI(*np.ones((3, 4)))], r"r has shape \(4,\), its input \(2,\)"),
        ([nir.Delay(np.array([0.3]))], "no whole number"),
        ([nir.Delay(np.array([-1.0]))], "delays from"),
        ([nir.Delay(np.array([1e9]))], "delays from"),
        ([nir.Linear(np.ones((2, 3)))], r"weight \(2, 3\) on an input of shape \(2,\)"),
        ([nir.Affine(np.ones((2, 2)), np.ones(3))], "a bias of shape"),
        (
            [nir.Conv2d((1, 1), np.ones((1, 1, 1, 1)), 1, 0, 1, 1, np.ones(1))],
            "on an input of shape",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(file, nodes, words):
    with pytest.raises(UnsupportedModelError, match=words):
        written(file, (2,), *nodes)


def test_cycles_that_nir_leaves_open_are_refused(file):
    ends = {
        "input": nir.Input({"input": np.array([1])}),
        "output": nir.Output({"output": np.array([1])}),
    }
    scales = {name: nir.Scale(np.ones(1)) for name in "ab"}
    loop = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    with pytest.raises(UnsupportedModelError, match="without a neuron"):
        written(file, {**ends, **scales}, edges=loop)
    neurons = {name: nir.I(np.ones(1)) for name in "ab"}
    with pytest.raises(UnsupportedModelError, match="entered in several places"):
        written(file, {**ends, **neurons}, edges=[*loop, ("input", "b")])
    with pytest.raises(UnsupportedModelError, match="nothing leads from the input to b"):
        written(file, {**ends, **neurons}, edges=[("input", "a"), ("a", "output")])


def test_ambiguous_flattening_is_decided_by_what_follows(file):
    for first, batch in ((0, False), (1, True)):
        flat = nir.Flatten({"input": np.array([2, 3, 4])}, first, -1)
        graph = written(file, (2, 3, 4), flat, nir.Linear(np.ones((1, 24))))
        assert graph.nodes[1].shape == (24,), batch
    with pytest.raises(UnsupportedModelError, match="whether the batch is counted"):
        written(file, (2, 3, 4), flat, nir.Threshold(np.ones(1)))


def test_hostile_files_are_refused_as_ever(file, tmp_path):
    written(file, (1,), lif())
    with h5py.File(file, "r+") as content:
        content["node/other"] = h5py.ExternalLink(str(tmp_path / "secret"), "/")
    with pytest.raises(FileFormatError, match="ExternalLink"):
        load_foreign(file, DT)
    with pytest.raises(FileFormatError, match="no such file"):
        load_foreign(tmp_path / "nowhere.nir", DT)


@settings(max_examples=150)
@given(flips=st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=3))
def test_damaged_files_give_one_clear_error_or_a_graph(file, flips):
    nodes = {
        "input": nir.Input({"input": np.array([2, 4, 4])}),
        "conv": nir.Conv2d((4, 4), np.ones((2, 2, 3, 3)), 1, 1, 1, 1, np.zeros(2)),
        "lif": lif(),
        "flat": nir.Flatten({"input": np.array([2, 4, 4])}, 1, -1),
        "wait": nir.Delay(np.array([2 * DT])),
        "dense": nir.Affine(np.ones((3, 32)), np.zeros(3)),
        "output": nir.Output({"output": np.array([3])}),
    }
    if not SOUND:
        written(file, nodes, edges=list(pairwise(nodes)))
        SOUND.append(file.read_bytes())
    content = bytearray(SOUND[0])
    for place, change in flips:
        content[place % len(content)] ^= change
    file.write_bytes(content)
    try:
        graph = load_foreign(file, DT)
    except SnnDeployError as error:
        assert str(file) in str(error)
    else:
        assert graph.output in {node.name for node in graph.nodes}


def test_a_small_file_cannot_ask_for_much_memory(file):
    with pytest.raises(UnsupportedModelError, match="values a step, the limit"):
        written(file, (1 << 20, 1 << 10), lif())


def test_samples_are_checked(file):
    graph = written(file, (2,), lif())
    with pytest.raises(DataError, match=r"the graph takes \(N, steps, 2\)"):
        run_nir(graph, np.zeros((3, 5)))
    with pytest.raises(DataError, match="NaN"):
        run_nir(graph, np.full((1, 2, 2), np.nan))
    with pytest.raises(InputError, match="steps for a constant input"):
        run_nir(graph, np.zeros((3, 2)))
    with pytest.raises(InputError, match="do not say how long a step is"):
        run_nir(file, np.zeros((3, 4, 2)))
    with pytest.raises(InputError, match="no foreign NIR graphs"):
        run_nir(graph, np.zeros((3, 4, 2)), backend="reference")
    with pytest.raises(InputError, match="is no step of time"):
        load_foreign(file, 0.0)
    constant = run_nir(graph, np.ones((3, 2)), steps=4)
    stepped = run_nir(graph, np.ones((3, 4, 2)), batch=2)
    np.testing.assert_array_equal(constant.outputs, stepped.outputs)


def test_the_command_line_runs_it(snndeploy, file, tmp_path):
    written(file, (2,), nir.Linear(np.array([[1.0, 0.0], [0.0, 3.0]])), lif())
    assert is_foreign(file)
    np.savez(tmp_path / "x.npz", x=np.ones((4, 6, 2)), y=np.array([1, 1, 1, 0]))
    data = ("--data", tmp_path / "x.npz")
    code, out, err = snndeploy("run", file, *data, "--backend", "norse", "--dt", DT)
    assert (code, err) == (0, "")
    assert "accuracy 75.00%" in out
    assert "LIF" in out
    run = tmp_path / "run.npz"
    options = ("--backend", "judge", "--dt", DT, "--json", "-o", run)
    code, out, _ = snndeploy("run", file, *data, *options)
    assert code == 0
    assert '"spikes_per_sample"' in out
    with np.load(run) as found:
        assert found["outputs"].shape == (4, 6, 2)
    code, _, err = snndeploy("run", file, *data, "--backend", "norse")
    assert code == 2
    assert "how long a step is" in err
    code, _, err = snndeploy("inspect", file)
    assert code == 2
    assert "--dt" in err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@settings(max_examples=30)
@given(drawn=foreign_graphs(), seed=st.integers(0, 2**32 - 1))
def test_the_gpu_has_the_spikes_of_the_definition(file, drawn, seed):
    nir.write(file, drawn)
    graph = load_foreign(file, DT)
    x = np.random.default_rng(seed).normal(0.3, 1, (2, 12, *graph.input_shape))
    assume(not near_a_tie(graph, x))
    judge, norse = (run_nir(graph, x, backend=b) for b in ("judge", "norse:device=cuda"))
    for name, spikes in judge.spikes.items():
        np.testing.assert_array_equal(norse.spikes[name], spikes, err_msg=name)
