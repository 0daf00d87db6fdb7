"""Norse agrees with the judge spike for spike, and really is Norse."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import fed_by_steps, frames, grid_inputs, integer_networks

from snndeploy.backend import Folding, find_backend
from snndeploy.errors import BackendMissingError, DoesNotFitError, InputError
from snndeploy.network import Network
from snndeploy.nirfile import save
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
from snndeploy_backends.norse.folded import fold, run_options
from snndeploy_backends.reference.judge import Judge


class StepByStep:
    """Norse without its layer-by-layer path."""

    name, summary, streams = "norse", "hidden fold", True

    def __init__(self, **options):
        self.backend = Norse(**options)
        self.status, self.open = self.backend.status, self.backend.open


def agree(network: Network, seed: int, **options) -> None:
    """The same trace, field by field, step by step and layer by layer."""
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, **options)
    for backend in (StepByStep(device="cpu"), Norse("cpu")):
        norse = simulate(backend, program, inputs, **options)
        judge.assert_same_spikes(norse)
        for field in ("logits", "stop_steps", "settled"):
            np.testing.assert_array_equal(getattr(judge, field), getattr(norse, field))
        for name, events in judge.events.items():
            np.testing.assert_array_equal(norse.events[name], events)


def test_norse_folds_time_where_nothing_stops_it():
    assert isinstance(Norse(), Folding)
    assert not isinstance(StepByStep(), Folding)


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
    network = wide()
    agree(network, 3)
    session = Norse("cpu").open(Program(network), grid_inputs(network, 1, 0), 20)
    assert session.inputs.dtype == torch.float64


@settings(max_examples=30, deadline=None)
@given(
    integer_networks(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 20_000, 100_000]),
    st.sampled_from([1, 2]),
    st.sampled_from([None, "float64"]),
)
def test_memory_threads_and_type_leave_the_spikes(network, seed, memory, workers, dtype):
    program, inputs = Program(network), grid_inputs(network, 5, seed)
    backend = Norse("cpu", dtype, workers, memory=4 * (memory + (4 << 20) * workers))
    judge, norse = (simulate(b, program, inputs, batch=3) for b in (Judge(), backend))
    judge.assert_same_spikes(norse)
    np.testing.assert_array_equal(judge.stop_steps, norse.stop_steps)


@pytest.mark.parametrize("linear", ["float", "matmul"])
@settings(max_examples=15, deadline=None)
@given(network=integer_networks(), seed=st.integers(0, 2**32 - 1))
def test_the_kernels_of_other_machines(linear, network, seed):
    """Those without integer kernels, and GPUs."""
    options = replace(run_options("cpu", 1), linear=linear)
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, steps=12)
    (found,) = fold(program, inputs, 12, True, options, None)
    for name, spikes in judge.spikes.items():
        np.testing.assert_array_equal(found.spikes[name][:, : judge.steps], spikes)
    steps = min(judge.steps, found.logits.shape[1])
    np.testing.assert_array_equal(found.logits[:, :steps], judge.logits[:, :steps])


@settings(max_examples=15, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_input_step_by_step(network, seed):
    network = fed_by_steps(network, 5)
    program, inputs = Program(network), frames(network, 3, 5, seed)
    judge = simulate(Judge(), program, inputs)
    for backend in (StepByStep(device="cpu"), Norse("cpu")):
        judge.assert_same_spikes(simulate(backend, program, inputs))


def test_layer_by_layer_the_norse_cells_fire(monkeypatch):
    network = doubled()
    program, inputs = Program(network), grid_inputs(network, 2, 0)
    calls = []
    snn_cell = sys.modules["norse.torch.module.snn"].SNNCell
    forward = snn_cell.forward

    def counted(self, *arguments):
        calls.append(type(self).__name__)
        return forward(self, *arguments)

    monkeypatch.setattr(snn_cell, "forward", counted)
    trace = simulate(Norse("cpu", workers=1), program, inputs)
    assert calls.count("SoftResetCell") >= 2 * trace.steps - 2
    assert calls.count("IntegratorCell") >= trace.steps


def wide(theta: int = 99_999_989) -> Network:
    weight = np.array([[3_000_001, -2_999_999], [1, 2_000_003]])
    return chain(
        Input("x", (2,), Grid(1.0, 0, 255)),
        Linear("dense", weight),
        dense_neuron("neuron", 2, theta),
        Linear("last", weight),
        Output("out", np.array([7, -7]), 0.1),
    )


@pytest.mark.parametrize("run", [StepByStep, Norse])
def test_a_type_that_is_not_exact_is_refused(run):
    network = wide()
    program, inputs = Program(network), grid_inputs(network, 1, 0)
    with pytest.raises(DoesNotFitError, match=r"layer 'neuron'.*integer of 33 bits; float32 .* 24"):
        simulate(run(dtype="float32"), program, inputs)
    with pytest.raises(InputError, match="unknown type 'float16'"):
        simulate(run(dtype="float16"), program, inputs)
    huge = wide()
    weight = huge.by_name["dense"].weight << 27
    nodes = [replace(n, weight=weight) if n.name == "dense" else n for n in huge.nodes]
    with pytest.raises(DoesNotFitError, match=r"float64 holds those of 53; quantize to fewer"):
        simulate(run(dtype="float64"), Program(huge.rewrite(nodes)), inputs)


@pytest.mark.parametrize("run", [StepByStep, Norse])
def test_float32_is_refused_where_pytorch_may_shorten_it(run, monkeypatch):
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    network = doubled()
    program, inputs = Program(network), grid_inputs(network, 1, 0)
    with pytest.raises(DoesNotFitError, match="TF32"):
        simulate(run(dtype="float32"), program, inputs)
    judge = simulate(Judge(), program, inputs)
    judge.assert_same_spikes(simulate(run(), program, inputs))


def test_options_are_told_behind_the_name():
    backend = find_backend("norse:device=cpu, dtype=float64,workers=2")
    assert (backend.device, backend.dtype, backend.workers) == ("cpu", "float64", 2)
    assert find_backend("norse").device is None
    with pytest.raises(InputError, match=r"option 'speed' is unknown; its options: device, dtype"):
        find_backend("norse:speed=9")
    with pytest.raises(InputError, match=r"option workers=two: .*integer"):
        find_backend("norse:workers=two")
    with pytest.raises(InputError, match="given twice"):
        find_backend("norse:device=cpu,device=cuda")
    with pytest.raises(InputError, match=r"its options: none"):
        find_backend("judge:device=cpu")


def test_the_command_line_passes_options_on(snndeploy, tmp_path):
    network = doubled()
    save(network, tmp_path / "net.nir")
    np.savez(tmp_path / "x.npz", x=grid_inputs(network, 3, 0))
    files = (tmp_path / "net.nir", "--data", tmp_path / "x.npz")
    listed = "reference,norse:workers=1,dtype=float64,judge"
    code, out, _ = snndeploy("compare", *files, "--backends", listed, "--json")
    assert code == 0
    found = {row["backend"]: row["spikes_equal"] for row in json.loads(out)["backends"]}
    assert found["norse:workers=1,dtype=float64"]
    assert len(found) == 3
    code, _, err = snndeploy("run", *files, "--backend", "norse:dtype=int8")
    assert code == 2
    assert "unknown type 'int8'" in err
    code, _, err = snndeploy("run", *files, "--dt", "0.1")
    assert code == 2
    assert "other tools wrote" in err


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
    assert "no usable GPU" in Norse().status().missing
    with pytest.raises(BackendMissingError, match="no usable GPU"):
        Norse().open(program, inputs, 4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@settings(max_examples=20, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_the_gpu_has_the_spikes_of_the_judge(network, seed):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, steps=12)
    for backend in (StepByStep(device="cuda"), Norse("cuda")):
        judge.assert_same_spikes(simulate(backend, program, inputs, steps=12))
