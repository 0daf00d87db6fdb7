"""The folded engine gives the judge's trace, field by field, whatever kernels it is made to use."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks

from snndeploy.backend import Folding
from snndeploy.errors import InputError
from snndeploy.layers import Projection
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, Neuron, Output, SumPool2d
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.reference import kernels, plan, projections, scan
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge

KERNELS = [(a, b) for a in ("int8", "float") for b in ("numba", "torch")]


SIZES = [(1, 4), (1, 4), (1, 4), (0, 5), (1, 4), (1, 3)]  # channels in and out, kernel, ...


def usable(linear: str, scan_kind: str) -> bool:
    return linear in ("float", kernels.available()) and scan_kind in ("torch", scan.available())


class StepByStep:
    """The reference engine without its fast path."""

    name, summary, streams = "reference", "hidden fold", True

    def status(self):
        return Reference().status()

    def open(self, program, inputs, steps):
        return Reference().open(program, inputs, steps)


def assert_identical(ours, theirs):
    assert ours.steps == theirs.steps
    for field in ("logits", "stop_steps", "settled"):
        a, b = getattr(ours, field), getattr(theirs, field)
        np.testing.assert_array_equal(a, b, err_msg=field)
        assert a.dtype == b.dtype
    for field in ("spikes", "events"):
        a, b = getattr(ours, field), getattr(theirs, field)
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=f"{field} of {name}")
            assert a[name].dtype == b[name].dtype


def check(network, seed, backend, samples=5, **options):
    program, inputs = Program(network), grid_inputs(network, samples, seed)
    ours = simulate(backend, program, inputs, **options)
    assert_identical(ours, simulate(Judge(), program, inputs, **options))


def test_the_engine_folds_and_the_wrapper_does_not():
    assert isinstance(Reference(), Folding)
    assert not isinstance(StepByStep(), Folding)
    assert not isinstance(Judge(), Folding)


@pytest.mark.parametrize("chosen", KERNELS, ids="-".join)
@settings(max_examples=40, deadline=None)
@given(
    integer_networks(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, 1, 2, 5, 12]),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_the_trace_is_the_judges(chosen, network, seed, steps, record, workers):
    if not usable(*chosen):
        pytest.skip("not on this machine")
    backend = Reference(*chosen, workers=workers)
    check(network, seed, backend, steps=steps, record=record, batch=3)


@settings(max_examples=40, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1), st.booleans())
def test_step_by_step_gives_the_same(network, seed, record):
    check(network, seed, StepByStep(), record=record)


@settings(max_examples=40, deadline=None)
@given(
    integer_networks(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 5000, 20_000, 100_000]),
    st.booleans(),
)
@example(network=None, seed=3, memory=1, record=True)
def test_any_memory_gives_the_same(network, seed, memory, record):
    backend = Reference(memory=memory + (4 << 20) * 2)
    check(network or chain(255, 127), seed, backend, record=record)


def chain(high: int, weight: int, mode: str = "exact", levels: int = 7, pool: int = 2) -> Network:
    """Grid values to `high` and weights of one sign and size, sum pools, strides, dense end."""
    rng = np.random.default_rng(7)
    some = rng.choice([-weight - 1, weight], (4, 4, 3, 3))
    some[0] = weight
    some[1] = -weight - 1
    theta = np.array([300, 4000, 77, 1])
    zero = np.zeros(4, np.int64)
    nodes = [
        Input("x", (2, 9, 8), Grid(1 / high, -high - 1, high)),
        Conv2d("a", rng.choice([-weight - 1, weight], (4, 2, 3, 3)), padding=(1, 1)),
        Neuron("n", theta * high, theta * high // 2, zero + 3 * high, levels, 1.0),
        SumPool2d("p", (pool, pool), (2, 1), (1, 0)),
        Conv2d("b", some, padding=(1, 1)),
        Neuron("m", theta, theta // 2, zero, levels, 1.0),
        Flatten("f"),
        Linear("d", rng.choice([-weight - 1, weight], (3, 0)), None),
        Output("out", np.array([5, 0, -5]), 1.0),
    ]
    features = nodes[3].output_shape([(4, 9, 8)])
    weights = rng.choice([-weight - 1, weight], (3, int(np.prod(features))))
    nodes[7] = replace(nodes[7], weight=weights)
    names = [node.name for node in nodes]
    return Network("chain", tuple(nodes), tuple(pairwise(names)), mode, levels)


@pytest.mark.parametrize("chosen", KERNELS, ids="-".join)
@pytest.mark.parametrize("mode", ["exact", "rate"])
@pytest.mark.parametrize(
    ("high", "weight", "pool"),
    [(1, 127, 2), (255, 127, 2), (1 << 20, 127, 2), (255, 1 << 15, 2), (255, 127, 8), (3, 127, 7)],
    ids=["bit", "byte", "beyond float32", "wide weights", "wide pool", "pool to the limit"],
)
def test_the_edges_of_bytes_and_floats(chosen, mode, high, weight, pool):
    if not usable(*chosen):
        pytest.skip("not on this machine")
    check(chain(high, weight, mode, pool=pool), 5, Reference(*chosen), steps=20)


def test_weights_in_any_memory_order():
    network = chain(255, 127)
    nodes = [
        replace(n, weight=np.asfortranarray(n.weight)) if isinstance(n, Conv2d | Linear) else n
        for n in network.nodes
    ]
    check(network.rewrite(nodes), 5, Reference())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]), st.sampled_from([0, 1, 2]))
def test_dense_and_sparse_maps_give_the_same_sums(seed, zero, pools):
    if scan.available() != "numba":
        pytest.skip("needs numba")
    rng = np.random.default_rng(seed)
    c, o, k, pad, stride, dil = (int(rng.integers(a, b)) for a, b in SIZES)
    h, w = (int(n) for n in rng.integers(5, 9, 2))
    ops = [SumPool2d(f"p{i}", (2, 2), (1, 1), (1, 1)) for i in range(pools)]
    weight = rng.integers(-128, 128, (o, c, k, k))
    ops.append(Conv2d("c", weight, None, (stride,) * 2, (pad,) * 2, (dil,) * 2))
    spikes = torch.from_numpy(rng.integers(-zero, 2, (5, h, w, c)))
    sums = projections.value_map(Projection("x", tuple(ops)), torch.float64)(spikes.double())
    for linear in {"float", kernels.available()}:
        found = projections.spike_map(
            Projection("x", tuple(ops)), (c, h, w), zero, torch.float32, (linear, "numba")
        )
        for apply in (found.dense, found.sparse):
            got = apply((spikes + zero).to(torch.uint8)).view(sums.shape)
            np.testing.assert_array_equal(got.double(), sums)


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_counts_beyond_a_byte(mode):
    check(chain(255, 127, mode, levels=300), 5, Reference(), samples=2, record=False)


def test_the_memory_variable(monkeypatch):
    monkeypatch.setenv(plan.MEMORY_VARIABLE, "12345")
    assert plan.default_memory() == 12345
    monkeypatch.setenv(plan.MEMORY_VARIABLE, "much")
    with pytest.raises(InputError, match="much"):
        plan.default_memory()
    monkeypatch.delenv(plan.MEMORY_VARIABLE)
    assert plan.default_memory() > 1 << 20


def absent(*_):
    raise ImportError("taken away")


def test_what_is_used_where_a_kernel_is_missing_or_wrong(monkeypatch):
    kernels._int8_works.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "int8_conv", lambda *_: torch.zeros_like)
        assert kernels.available() == "float"
    kernels._int8_works.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "int8_linear", absent)
        assert kernels.available() == "float"
        patch.setattr(scan, "compiled", absent)
        assert scan.available() == "torch"
        check(chain(255, 127), 1, Reference())
    kernels._int8_works.cache_clear()


def test_the_number_of_threads_is_left_alone():
    before = torch.get_num_threads()
    check(chain(255, 127), 1, Reference(workers=3), samples=40, record=False)
    assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["SSE41", "AVX2"])
def test_processors_without_these_instructions(isa):
    """oneDNN reads the variable once, so another process runs the tests of the kernels."""
    tests = "edges_of_bytes or dense_and_sparse or memory_order"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        tests,
    ]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
