"""Padding that differs side by side: one meaning in the nodes, the engines, NIR and PyTorch."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import lava_jobs
import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from float_walk import float_walk
from hypothesis import find, given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks
from torch import nn

from snndeploy import from_torch, linear_ops
from snndeploy.deploy import convert
from snndeploy.errors import FileFormatError, UnsupportedModelError
from snndeploy.float_ann import float_ann
from snndeploy.network import Network
from snndeploy.nirfile import from_nir, to_nir
from snndeploy.nirfile.records import kind_of
from snndeploy.nodes import (
    AvgPool2d,
    Conv2d,
    Flatten,
    Grid,
    Input,
    MaxPool2d,
    Output,
    SumPool2d,
)
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.training import QCFS, QuantizedInput
from snndeploy_backends.lava.backend import Lava
from snndeploy_backends.norse import Norse
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge

NO_LAVA = Lava().status().missing


def uneven(mode: str = "exact") -> Network:
    """Branches of unlike depth, each convolution and the pool padded unlike on all sides."""
    pads = {"c1": (2, 0, 0, 2), "c2": (0, 2, 2, 0), "c3": (1, 2, 1, 0), "pool": (2, 1, 0, 1)}
    network = lava_jobs.skip_network(mode)
    return network.rewrite(
        replace(n, padding=pads[n.name]) if n.name in pads else n for n in network.nodes
    )


def test_equal_sides_are_two_numbers_and_hash_as_before():
    weight = np.ones((1, 1, 3, 3), np.int64)
    assert Conv2d("c", weight, padding=(1, 2, 1, 2)).padding == (1, 2)
    assert Conv2d("c", weight, padding=(1, 2)).pads == (1, 2, 1, 2)
    assert MaxPool2d("p", (2, 2), (2, 2), (np.int64(0), 1, 1, 1)).padding == (0, 1, 1, 1)
    network = lava_jobs.skip_network()
    twice = [replace(n, padding=n.pads) if isinstance(n, Conv2d) else n for n in network.nodes]
    assert network.rewrite(twice).hash == network.hash != uneven().hash


def test_padding_of_three_sides_is_refused():
    with pytest.raises(UnsupportedModelError, match="top, left, bottom, right"):
        SumPool2d("p", (2, 2), (2, 2), (0, 1, 0))


@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d, SumPool2d])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "shape"),
    [
        ((3, 3), (2, 2), (2, 2), (4, 4)),  # more than half of the kernel
        ((2, 2), (2, 2), (0, 0, 1, 1), (3, 3)),  # the last window holds one value
        ((1, 1), (3, 3), (0, 0, 1, 1), (2, 2)),  # no window reaches the padding
        ((3, 3), (2, 2), (3, 0), None),
        ((2, 2), (1, 1), (0, 0, 2, 0), None),
    ],
)
def test_each_window_of_a_pool_holds_a_value(kind, kernel, stride, padding, shape):
    pool = kind("p", kernel, stride, padding)
    if shape is None:
        with pytest.raises(UnsupportedModelError, match="nothing but padding"):
            pool.output_shape([(1, 5, 5)])
    else:
        assert pool.output_shape([(1, 5, 5)]) == (1, *shape)


def test_random_networks_have_uneven_padding():
    for kind in (Conv2d, MaxPool2d, SumPool2d):
        find(
            integer_networks(),
            lambda network, kind=kind: any(
                len(node.padding) == 4 for node in network.nodes if isinstance(node, kind)
            ),
        )


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_every_engine_has_the_same_spikes(mode):
    network = uneven(mode)
    inputs = grid_inputs(network, 4, 1)
    judge = simulate(Judge(), Program(network), inputs, steps=14)
    assert all(events.any() for events in judge.events.values())
    backends = [Reference(), Reference("float", "torch"), Norse("cpu")]
    for backend in backends:
        simulate(backend, Program(network), inputs, steps=14).assert_same_spikes(judge)


@pytest.mark.lava
@pytest.mark.skipif(bool(NO_LAVA), reason=NO_LAVA or "-")
@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_lava_has_the_same_spikes(mode):
    network = uneven(mode)
    inputs = grid_inputs(network, 3, 2)
    judge = simulate(Judge(), Program(network), inputs, steps=12)
    simulate(Lava(), Program(network), inputs, steps=12).assert_same_spikes(judge)


def plainly(node: nir.Conv2d, x: np.ndarray) -> np.ndarray:
    """What a reader that knows only the plain fields computes."""
    options = (tuple(node.stride), tuple(node.padding), tuple(node.dilation), int(node.groups))
    weight = torch.from_numpy(node.weight).double()
    return F.conv2d(torch.from_numpy(x).double(), weight, None, *options).long().numpy()


SIDE = st.integers(0, 3)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(SIDE, SIDE, SIDE, SIDE).filter(lambda p: p[:2] != p[2:]),
    *(st.tuples(st.integers(1, 3), st.integers(1, 3)) for _ in range(3)),
    st.sampled_from([1, 2]),
)
def test_the_plain_form_means_the_same(seed, padding, kernel, stride, dilation, groups):
    rng = np.random.default_rng(seed)
    node = Conv2d("c", rng.integers(-9, 10, (4, 2, *kernel)), None, stride, padding, dilation)
    node = replace(node, weight=node.weight[:, : 2 // groups], groups=groups)
    x = rng.integers(-9, 10, (2, 2, 8, 9))
    network = with_layer(node)
    plain = to_nir(network).nodes["c"]
    assert kind_of(plain) == "padded_conv2d"
    np.testing.assert_array_equal(plainly(plain, x), linear_ops.apply(node, x))
    assert from_nir(to_nir(network)).hash == network.hash


def with_layer(node: Conv2d | SumPool2d) -> Network:
    """The node between an input (2, 8, 9) and a readout."""
    values = int(np.prod(node.output_shape([(2, 8, 9)])))
    nodes = (
        Input("x", (2, 8, 9), Grid(1.0, 0, 1)),
        node,
        Flatten("flat"),
        Output("out", np.zeros(values, np.int64)),
    )
    return Network("one", nodes, tuple(pairwise(n.name for n in nodes)), "exact", 1)


def test_a_plain_reader_sums_the_right_windows():
    node = SumPool2d("p", (3, 2), (2, 1), (0, 1, 2, 0))
    x = np.random.default_rng(0).integers(-9, 10, (3, 2, 8, 9))
    plain = to_nir(with_layer(node)).nodes["p"]
    np.testing.assert_array_equal(plainly(plain, x), linear_ops.apply(node, x))
    pool = to_nir(uneven()).nodes["pool"].nodes["window_sum"]
    assert (kind_of(plain), kind_of(pool)) == ("padded_sum_pool2d", "padded_pool_sum")


def test_a_file_with_equal_sides_is_written_as_before():
    for name, node in to_nir(lava_jobs.skip_network()).nodes.items():
        if name.startswith("c"):
            assert json.loads(node.metadata["snndeploy"]) == {"kind": "conv2d"}


def _record(graph: nir.NIRGraph, name: str, **changes) -> None:
    node = graph.nodes[name]
    node = node.nodes["window_sum"] if isinstance(node, nir.NIRGraph) else node
    node.metadata["snndeploy"] = json.dumps(json.loads(node.metadata["snndeploy"]) | changes)


@pytest.mark.parametrize("name", ["c1", "pool"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"padding": [0, 2, 2, 0]}, "hash|a kernel of"),
        ({"padding": [2, 0, 0, 5]}, "a kernel of"),
        ({"padding": [1, 1, 1, 1]}, "a kernel of"),
        ({"padding": [2, 0, 0]}, "padding"),
        ({"padding": [2, 0, 0, 1 << 60]}, "padding"),
        ({"kernel": [3, 2]}, "a kernel of"),
        ({"kernel": [0, 3]}, "a kernel of"),
        ({"dilation": [0, 1]}, "a kernel of"),
        ({"kind": "conv2d"}, "metadata|max-pool"),
        ({"kind": "padded_sum_pool2d"}, "threshold|max-pool"),
        ({"kind": []}, "metadata|max-pool"),
        ({"more": 1}, "more"),
    ],
)
def test_padding_that_contradicts_the_kernel_is_refused(name, changes, words):
    graph = to_nir(uneven())
    _record(graph, name, **changes)
    with pytest.raises(FileFormatError, match=words):
        from_nir(graph)


def test_zeros_around_a_kernel_must_be_zeros():
    graph = to_nir(uneven())
    graph.nodes["c1"].weight[0, 0, -1, 0] = 5
    with pytest.raises(FileFormatError, match="weight is not what"):
        from_nir(graph)


class Odd(nn.Module):
    """`same` with even kernels, and a max-pool whose last windows are cut short."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.grid = QuantizedInput(1 / 16, -16, 16)
        self.conv = nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2))
        self.act1, self.act2 = QCFS(7, 2.0), QCFS(7, 1.0)
        self.pool = pool
        self.second = nn.Conv2d(3, 4, 2, padding="same")

    def forward(self, x):
        x = self.pool(self.act1(self.conv(self.grid(x))))
        return self.act2(self.second(x)).flatten(1)


POOLS = [
    nn.MaxPool2d(2, ceil_mode=True),
    nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    nn.MaxPool2d((2, 3), (3, 2), (1, 1), ceil_mode=True),
    nn.MaxPool2d(1, 3, ceil_mode=True),
    nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    nn.AvgPool2d(3, 2, 1),
]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("pool", POOLS, ids=repr)
@pytest.mark.parametrize("size", [(7, 9), (8, 11)])
def test_same_and_ceil_mode_mean_what_they_mean_in_pytorch(pool, size):
    torch.manual_seed(3)
    model, rng = Odd(pool).eval(), np.random.default_rng(4)
    x = torch.from_numpy(rng.integers(-16, 17, (4, 2, *size)) / 16).float()
    if isinstance(pool, nn.AvgPool2d) and pool.ceil_mode and not all(n % 2 for n in size):
        with pytest.raises(UnsupportedModelError, match="cut short"):
            from_torch(model, x)
        return
    network = from_torch(model, x)
    with torch.no_grad():
        expected = model.double()(x.double()).numpy()
    found = float_ann(network, x.double().numpy()).logits
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
class Before(nn.Module):
    """Zeros of their own in front of convolutions, a ReLU and an average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.act1, self.act2 = (
            QuantizedInput(1 / 16, -16, 16),
            QCFS(7, 2.0),
            QCFS(7, 1.0),
        )
        self.first, self.second = nn.Conv2d(2, 3, 3, 2, padding=1), nn.Conv2d(3, 4, 3, 2)

    def forward(self, x):
        x = self.act1(self.first(F.pad(F.pad(self.grid(x), (0, 1, 2, 0)), (1, 0))))
        x = self.act2(self.second(F.pad(x, (0, 1, 0, 1)).relu()))
        return F.avg_pool2d(F.pad(x, (1, 0, 0, 1)), 2).flatten(1)


def test_zeros_before_a_convolution_are_its_padding():
    torch.manual_seed(3)
    model, rng = Before().eval(), np.random.default_rng(4)
    x = torch.from_numpy(rng.integers(-16, 17, (4, 2, 11, 10)) / 16).float()
    network = from_torch(model, x)
    with torch.no_grad():
        expected = model.double()(x.double()).numpy()
    np.testing.assert_allclose(
        float_walk(network, x.double().numpy())["output"], expected, atol=1e-12
    )


@pytest.mark.parametrize(
    ("pad", "words"),
    [
        (nn.ReflectionPad2d(1), "other values"),
        (nn.ConstantPad2d(1, 0.5), "other values"),
        (nn.ConstantPad3d((0, 0, 0, 0, 0, 1), 0), "other dimensions"),
        (nn.ZeroPad2d(-1), "crops"),
        (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)), "reads a padded value"),
        (nn.Sequential(nn.ZeroPad2d(1), QCFS(3)), "reads a padded value"),
    ],
)
def test_other_paddings_are_refused(pad, words):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), pad, nn.Flatten())
    with pytest.raises(UnsupportedModelError, match=words):
        from_torch(model, torch.zeros(2, 1, 6, 6))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_signals_too_have_same_padding_and_ceil_mode():
    torch.manual_seed(3)
    model = nn.Sequential(
        QuantizedInput(1 / 16, 0, 16), nn.Conv1d(2, 4, 4, padding="same"), QCFS(7, 1.0),
        nn.MaxPool1d(3, 2, 1, ceil_mode=True), nn.Flatten(), nn.Linear(24, 3),
    ).eval()  # fmt: skip
    x = torch.from_numpy(np.random.default_rng(4).integers(0, 17, (4, 2, 10)) / 16).float()
    network = from_torch(model, x)
    with torch.no_grad():
        expected = model.double()(x.double()).numpy()
    found = float_ann(network, x.double().numpy()[:, :, None]).logits
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert any(len(n.padding) == 4 for n in convert(network).nodes if isinstance(n, MaxPool2d))
