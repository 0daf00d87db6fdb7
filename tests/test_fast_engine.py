"""The folded engine gives the judge's trace, field by field, whatever kernels it is made to use."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import fed_by_steps, frames, grid_inputs, integer_networks
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten
from traces import assert_identical

from snndeploy.backend import Driving, Folding
from snndeploy.errors import BackendMissingError, DoesNotFitError, InputError
from snndeploy.layers import Projection
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, Neuron, Output, SumPool2d
from snndeploy.program import Program
from snndeploy.simulate import default_steps, simulate
from snndeploy_backends.devices import DEVICE_VARIABLE
from snndeploy_backends.exact_floats import device_dtype
from snndeploy_backends.reference import gather, kernels, plan, products, projections, scan, team
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge

KERNELS = [(a, b) for a in ("int8", "float", "matmul") for b in ("numba", "torch")]


SIZES = [(1, 4), (1, 4), (1, 4), (0, 5), (1, 4), (1, 3)]  # channels in and out, kernel, ...


def usable(linear: str, scan_kind: str) -> bool:
    linears, scans = {"float", "matmul", kernels.available()}, {"torch", scan.available()}
    return linear in linears and scan_kind in scans


class StepByStep:
    """The reference engine without its fast path."""

    name, summary, streams = "reference", "hidden fold", True

    def __init__(self, **options):
        self.options = options

    def status(self):
        return Reference().status()

    def open(self, program, inputs, steps):
        return Reference(**self.options).open(program, inputs, steps)


def check(network, seed, backend, samples=5, **options):
    program, inputs = Program(network), grid_inputs(network, samples, seed)
    ours = simulate(backend, program, inputs, **options)
    assert_identical(ours, simulate(Judge(), program, inputs, **options))


def test_the_engine_folds_and_the_wrapper_does_not():
    assert isinstance(Reference(), Folding)
    assert not isinstance(StepByStep(), Folding)
    assert not isinstance(Judge(), Folding)


def test_the_engine_is_driven_several_steps_at_a_time_and_the_wrapper_is_not():
    assert isinstance(Reference(), Driving)
    assert not isinstance(StepByStep(), Driving)
    assert not isinstance(Judge(), Driving)


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
    for below in (0.0, np.inf) if chosen[1] == "numba" else (0.0,):
        backend = Reference(*chosen, workers=workers, below=below)
        check(network, seed, backend, steps=steps, record=record, batch=3)


@settings(max_examples=40, deadline=None)
@given(
    integer_networks(),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([1, 4, 100]),
    st.sampled_from([1, 2]),
)
def test_step_by_step_gives_the_same(network, seed, record, ahead, workers):
    check(network, seed, StepByStep(ahead=ahead, workers=workers), record=record)


class AtRandom:
    """Stops a sample at about one step in `every`, by its logits and step alone."""

    def __init__(self, seed, every):
        self.seed, self.every = seed, every

    def stop(self, logits, step):
        assert logits.shape[:1] == step.shape
        mixed = (logits * (np.arange(logits.shape[1]) + 3)).sum(axis=1) * 31 + step * 7919
        return (mixed + self.seed) % 10007 % self.every == 0


@pytest.mark.parametrize("kind", ["plain", "gathered", "torch", "step by step"])
@settings(max_examples=40, deadline=None)
@given(
    integer_networks(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 4, 9]),
    st.sampled_from([1, 4, 20]),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    st.booleans(),
)
def test_samples_leave_where_they_are_stopped_and_others_follow(
    kind, network, seed, every, batch, workers, record, per_step
):
    program, inputs = Program(network), grid_inputs(network, 9, seed)
    if per_step:
        program = Program(fed_by_steps(network, 5))
        inputs = frames(program.network, 9, 5, seed)
    if kind == "gathered" and scan.available() != "numba":
        pytest.skip("needs numba")
    kinds = {"plain": {}, "gathered": {"below": np.inf}, "torch": {"scan": "torch"}}
    engine = Reference(**kinds.get(kind, {}), workers=workers)
    engine = StepByStep(ahead=5, workers=workers) if kind == "step by step" else engine
    run = partial(simulate, program=program, inputs=inputs, steps=8, record=record)
    ours = run(engine, batch=batch, controller=AtRandom(seed, every))
    theirs = run(Judge(), controller=AtRandom(seed, every))
    assert_identical(ours, theirs)


@pytest.mark.parametrize("chosen", KERNELS, ids="-".join)
@settings(max_examples=30, deadline=None)
@given(
    integer_networks(),
    st.integers(0, 2**32 - 1),
    st.sampled_from([2, 3]),
    st.sampled_from([None, 1, 5]),
)
def test_threads_that_share_a_sample_give_the_same(chosen, network, seed, workers, every):
    if not usable(*chosen):
        pytest.skip("not on this machine")
    stopping = {} if every is None else {"controller": AtRandom(seed, every)}
    with patch.object(team, "_WORTH_SHARING_NS", 0):
        for below in (0.0, np.inf) if chosen[1] == "numba" else (0.0,):
            backend = Reference(*chosen, workers=workers, below=below)
            check(network, seed, backend, samples=3, batch=1, steps=9, **stopping)


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
    [
        (1, 127, 2),
        (255, 127, 2),
        (1 << 14, 127, 2),
        (1 << 20, 127, 2),
        (255, 1 << 15, 2),
        (255, 127, 8),
        (3, 127, 7),
    ],
    ids=[
        "bit",
        "byte",
        "beyond float32",
        "beyond int32",
        "wide weights",
        "wide pool",
        "pool to the limit",
    ],
)
def test_the_edges_of_bytes_and_floats(chosen, mode, high, weight, pool):
    if not usable(*chosen):
        pytest.skip("not on this machine")
    check(chain(high, weight, mode, pool=pool), 5, Reference(*chosen), steps=20)


@pytest.mark.parametrize("chosen", KERNELS, ids="-".join)
def test_membranes_may_grow_wider_than_currents(chosen):
    if not usable(*chosen):
        pytest.skip("not on this machine")
    backend, program = Reference(*chosen), Program(chain(255, 127, "rate"))
    wide = torch.int32 if chosen[1] == "numba" else torch.float64
    few, many = (plan.plan(program, steps, backend._options()).layers[0] for steps in (8, 600))
    assert few.dtype == many.dtype == torch.float32
    assert few.theta.dtype in (torch.int32, torch.float32)
    assert many.theta.dtype == wide
    check(program.network, 5, backend, steps=600, samples=2)


def test_weights_in_any_memory_order():
    network = chain(255, 127)
    nodes = [
        replace(n, weight=np.asfortranarray(n.weight)) if isinstance(n, Conv2d | Linear) else n
        for n in network.nodes
    ]
    check(network.rewrite(nodes), 5, Reference())


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]), st.sampled_from([0, 1, 2]))
def test_every_kernel_gives_the_same_sums(seed, zero, pools):
    rng = np.random.default_rng(seed)
    c, o, k, pad, stride, dil = (int(rng.integers(a, b)) for a, b in SIZES)
    h, w = (int(n) for n in rng.integers(5, 9, 2))
    ops = [SumPool2d(f"p{i}", (2, 2), (1, 1), (1, 1)) for i in range(pools)]
    weight = rng.integers(-128, 128, (o, c, k, k))
    pads = (pad, pad, *rng.integers(0, 4, 2)) if rng.random() < 0.5 else (pad, pad)
    ops.append(Conv2d("c", weight, None, (stride,) * 2, pads, (dil,) * 2))
    spikes = torch.from_numpy(rng.integers(-zero, 2, (5, h, w, c)))
    path = Projection("x", tuple(ops))
    sums = projections.value_map(path, torch.float64)(spikes.double())
    for linear in {"float", "matmul", kernels.available()}:
        apply = projections.spike_map(path, (c, h, w), zero, torch.float32, linear)
        got = apply((spikes + zero).to(torch.uint8)).view(sums.shape)
        np.testing.assert_array_equal(got.double(), sums)


WIDE = ((1, 70), (1, 4), (1, 4), (1, 4), (0, 4), (0, 4), (1, 3), (1, 3))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1, 5, 24, 48, 64, 160, 256]))
def test_gathering_spikes_advances_a_layer_as_a_dense_product_does(seed, signed, out):
    if scan.available() != "numba":
        pytest.skip("needs numba")
    rng = np.random.default_rng(seed)
    c, n, *pairs = (int(rng.integers(a, b)) for a, b in WIDE)
    kernel, pad, stride = pairs[:2], pairs[2:4], pairs[4:]
    h, w = (int(x) for x in rng.integers(4, 9, 2))
    weight = rng.integers(-127, 128, (out, c, *kernel))
    pads = (*pad, *rng.integers(0, 4, 2)) if rng.random() < 0.5 else tuple(pad)
    conv = Conv2d("c", weight, None, tuple(stride), pads)
    theta, zero, steps = rng.integers(50, 900, out), int(signed), int(rng.integers(1, 5))
    found = gather.gather(conv, (c, h, w), signed, theta)
    spikes = rng.choice([-zero, 0, 1], (steps, n, h, w, c), p=[0.2, 0.5, 0.3])
    events = np.count_nonzero(spikes.reshape(steps, n, -1), axis=2)
    bytes_ = torch.from_numpy((spikes + zero).astype(np.uint8))
    width = math.prod(found.out)
    extra = torch.from_numpy(rng.integers(-300, 300, (int(rng.choice([1, steps])), n, width)))
    extra = extra.float() if rng.random() < 0.7 else None
    bias = rng.integers(-90, 90, (steps, out)) if rng.random() < 0.7 else None
    ways = []
    for way in ("gather", "dense"):
        dtype = torch.int32 if way == "gather" else torch.float32
        start = torch.from_numpy(theta // 2).repeat(width // out).repeat(n, 1).to(dtype)
        count = torch.zeros_like(start) if signed else start[:, :0]
        one = scan.repeated(torch.from_numpy(theta).to(dtype), width)
        population = scan.Population(one, start, count, 3, signed)
        emitted = torch.empty((steps, n, width), dtype=torch.uint8)
        if way == "gather":
            fired = found.advance(population, bytes_, events, extra, bias, emitted, None)
        else:
            maps = projections.value_map(Projection("x", (conv,)), torch.float32)
            current = maps(torch.from_numpy(spikes).float().flatten(0, 1)).view(steps, n, -1)
            current = current if extra is None else current + extra
            share = None if bias is None else torch.from_numpy(bias).float()
            fired = scan.scan("torch", population, current, share, emitted)
        ways.append((emitted, fired, population.membrane, population.count))
    for a, b in zip(*ways, strict=True):
        np.testing.assert_array_equal(a, b)


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


# Inputs and outputs, kernel, stride, padding, dilation, groups, height and width, zero.
TROUBLE = [
    ((1, 3), (2, 2), (1, 2), (0, 0), (1, 1), 1, (8, 3), 0),
    ((4, 12), (2, 3), (1, 3), (0, 1), (1, 1), 4, (7, 1), 0),
    ((3, 4), (1, 2), (3, 2), (0, 3), (2, 2), 1, (7, 1), 0),
    ((1, 1), (3, 3), (1, 3), (3, 1), (2, 1), 1, (4, 3), 1),
    ((1, 3), (2, 2), (1, 2), (1, 0, 0, 1), (1, 1), 1, (8, 3), 0),
    ((3, 4), (2, 2), (1, 1), (0, 3, 2, 0), (1, 1), 1, (5, 4), 1),
]


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "pad", "dilation", "groups", "size", "zero"), TROUBLE
)
def test_convolutions_that_onednn_crashes_on_or_gets_wrong(
    channels, kernel, stride, pad, dilation, groups, size, zero
):
    rng, (inputs, out) = np.random.default_rng(0), channels
    weight = rng.integers(-127, 128, (out, inputs // groups, *kernel))
    path = Projection("x", (Conv2d("c", weight, None, stride, pad, dilation, groups),))
    spikes = torch.from_numpy(rng.integers(-zero, 2, (21, *size, inputs)))
    sums = projections.value_map(path, torch.float64)(spikes.double())
    for linear in {"float", "matmul", kernels.available()}:
        apply = projections.spike_map(path, (inputs, *size), zero, torch.float32, linear)
        got = apply((spikes + zero).to(torch.uint8))
        np.testing.assert_array_equal(got.double(), sums)


NARROW = (torch.int8, torch.float16)


@pytest.mark.parametrize(
    ("value", "weight", "total", "narrow", "expected"),
    [
        (127, 127, (1 << 31) - 1, NARROW, torch.int8),
        (1, 127, 1 << 31, NARROW, torch.float64),
        (128, 1, (1 << 24) - 1, NARROW, torch.float16),
        (1, 128, (1 << 24) - 1, NARROW, torch.float16),
        (2048, 2048, (1 << 24) - 1, NARROW, torch.float16),
        (1, 2048, 1 << 24, NARROW, torch.float64),
        (1, 2049, (1 << 24) - 1, NARROW, torch.float32),
        (2049, 1, (1 << 24) - 1, NARROW, torch.float32),
        (1, 127, (1 << 24) - 1, (torch.float16,), torch.float16),
        (1, 127, (1 << 24) - 1, (), torch.float32),
        (1, 1 << 24, (1 << 53) - 1, NARROW, torch.float64),
    ],
)
def test_the_narrowest_type_of_a_product(value, weight, total, narrow, expected):
    assert device_dtype(value, weight, total, "a", narrow) == expected
    if expected == torch.float16:  # its promises: whole operands, sums that float32 holds
        for number in (value, weight):
            assert all(int(torch.tensor(n).half()) == n for n in range(number - 9, number + 1))
        assert int(torch.tensor(total).float()) == total


def test_a_product_beyond_float64_is_refused():
    with pytest.raises(DoesNotFitError, match="layer 'a'"):
        device_dtype(1, 1 << 30, 1 << 53, "a", NARROW)


@pytest.fixture
def _probed_anew():
    products._is_right.cache_clear()
    yield
    products._is_right.cache_clear()


@pytest.mark.usefixtures("_probed_anew")
def test_a_narrow_product_that_is_wrong_or_missing_is_not_used(monkeypatch):
    monkeypatch.setattr(torch, "_int_mm", lambda x, y: torch.zeros(len(x), y.shape[1]))
    assert products.narrow_types("cpu") == (torch.float16,)
    products._is_right.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", absent)
    assert products.narrow_types("cpu") == (torch.float16,)
    check(chain(255, 127), 5, Reference("matmul", "torch"))


def test_settings_that_round_are_respected():
    matmul = torch.backends.cuda.matmul
    assert products.narrow_types("cpu") == NARROW
    matmul.allow_fp16_accumulation = True
    try:
        assert products.narrow_types("cpu") == (torch.int8,)
    finally:
        matmul.allow_fp16_accumulation = False
    matmul.fp32_precision = "tf32"
    try:
        assert device_dtype(1, 1, 1, "a", ()) == torch.float64
        check(chain(255, 127), 5, Reference("matmul", "torch"))
    finally:
        matmul.fp32_precision = "none"
    assert device_dtype(1, 1, 1, "a", ()) == torch.float32


def test_half_products_on_a_gpu_are_summed_in_float32():
    with FakeTensorMode():
        x = torch.empty((40, 24), dtype=torch.float16, device="cuda")
        found = products.multiply(x, torch.empty((24, 8), dtype=torch.float16, device="cuda"))
    assert found.dtype == torch.float32
    assert found.shape == (40, 8)


@pytest.mark.parametrize("most", [1, 1 << 28])
def test_products_in_pieces(monkeypatch, most):
    monkeypatch.setattr(products, "_MOST_BYTES", most)
    check(chain(255, 127), 5, Reference("matmul", "torch"), samples=20)


FAR = "lazy"  # a device that PyTorch knows, and that nothing computes on


class Far(torch.Tensor):
    """A tensor that says it is on that device, and holds one that is not."""

    @staticmethod
    def __new__(cls, near):
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset()}
        return cls._make_wrapper_subclass(cls, near.shape, dtype=near.dtype, device=FAR, **layout)

    def __init__(self, near):
        self.near = near

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError("used where the device is not")


class Device(TorchDispatchMode):
    """Computes for `Far` tensors, and refuses what a GPU refuses: operands in both places.

    Attributes:
        fetched: sizes of the tensors that were copied back.
    """

    def __init__(self):
        super().__init__()
        self.fetched = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        leaves, tree = tree_flatten((args, kwargs or {}))
        devices = [x.type for x in leaves if isinstance(x, torch.device)]
        far = [isinstance(x, Far) for x in leaves if isinstance(x, torch.Tensor)]
        converts = func.__name__.startswith(("to.", "_to_copy", "index"))  # indices may be near
        assert converts or all(far) or not any(far), f"{func} mixes devices"
        near = [x.near if isinstance(x, Far) else x for x in leaves]
        here = [torch.device("cpu") if isinstance(x, torch.device) else x for x in near]
        args_here, kwargs_here = tree_unflatten(here, tree)
        found = func(*args_here, **kwargs_here)
        if func._schema.is_mutable:
            return args[0]
        if any(far) and "cpu" in devices:
            self.fetched.append(found.numel())
        is_far = FAR in devices or (any(far) and not devices)
        return tree_map_only(torch.Tensor, Far, found) if is_far else found


class OnDevice(Reference):
    """The engine as on a GPU, on a device that is made up."""

    def _options(self):
        return replace(self._gpu_options("cpu"), device=FAR)


@settings(max_examples=40, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1), st.booleans())
def test_all_stays_on_the_device(network, seed, per_step):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    if per_step:
        program = Program(fed_by_steps(network, 5))
        inputs = frames(program.network, 3, 5, seed)
    judged, stops = simulate(Judge(), program, inputs), AtRandom(seed, 3)
    stopped = simulate(Judge(), program, inputs, controller=stops)
    with Device() as device:
        assert products.narrow_types(FAR) == NARROW
        device.fetched.clear()
        simulate(OnDevice(), program, inputs, record=False)
        assert max(device.fetched) <= default_steps(program) * inputs.shape[0] * 3
        ours = simulate(OnDevice(), program, inputs)
        driven = simulate(OnDevice(), program, inputs, batch=2, controller=stops)
    assert_identical(ours, judged)
    assert_identical(driven, stopped)


def test_the_device_is_checked_and_named(monkeypatch):
    network = chain(1, 127)
    program, inputs = Program(network), grid_inputs(network, 1, 0)
    assert Reference().status().versions["device"] == "cpu"
    monkeypatch.setenv(DEVICE_VARIABLE, "abacus")
    assert "unknown device 'abacus'" in Reference().status().missing
    with pytest.raises(InputError, match="unknown device 'abacus'"):
        Reference().open(program, inputs, 4)
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no usable GPU" in Reference().status().missing
    with pytest.raises(BackendMissingError, match="no usable GPU"):
        Reference().fold(program, inputs, 4, record=False)
    check(network, 1, Reference(device="cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Reference().status().versions["device"] == "cuda"
    with pytest.raises(InputError, match="for the CPU"):
        Reference(linear="int8").open(program, inputs, 4)


def test_half_of_the_gpus_free_memory(monkeypatch):
    monkeypatch.delenv(plan.MEMORY_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000, 9999))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100)
    assert plan.default_memory("cuda") == 600


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@settings(max_examples=60, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1), st.sampled_from(["matmul", "float"]))
def test_the_gpu_has_the_spikes_of_the_judge(network, seed, linear):
    check(network, seed, Reference(linear, device="cuda"))
    check(network, seed, StepByStep(linear=linear, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["exact", "rate"])
@pytest.mark.parametrize(("high", "weight"), [(1, 127), (255, 2047), (1 << 20, 1 << 15)])
def test_the_edges_of_narrow_types_on_the_gpu(mode, high, weight):
    assert products.narrow_types("cuda") == NARROW
    check(chain(high, weight, mode), 5, Reference(device="cuda"), steps=20, samples=40)
