"""Quantized PyTorch exports: what their quantizers become, and what is refused."""

from __future__ import annotations

import importlib.util
from importlib import import_module

import numpy as np
import pytest
import torch
from float_walk import float_walk
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snndeploy import convert, from_torch, integer_ann, load
from snndeploy.deploy import grid_inputs
from snndeploy.errors import UnsupportedModelError
from snndeploy.frontends.quantizers import Placed, staircase
from snndeploy.nodes import (
    Activation,
    Concat,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Output,
    Relu,
)

import_module("torch.ao.quantization.fx._decomposed")  # registers the operators
OPS = torch.ops.quantized_decomposed
KINDS = {True: torch.int8, False: torch.uint8}


class Quantizer(nn.Module):
    """A quantizer and its inverse, as PT2E writes them."""

    def __init__(self, scale: float, zero: int, low: int, high: int) -> None:
        super().__init__()
        self.grid = (scale, zero, low, high, KINDS[low < 0])

    def forward(self, x):
        return OPS.dequantize_per_tensor(OPS.quantize_per_tensor(x, *self.grid), *self.grid)


class Fake(Quantizer):
    """The same as quantization-aware training writes it."""

    def forward(self, x):
        return torch.fake_quantize_per_tensor_affine(x, *self.grid[:4])


class Stored(nn.Module):
    """A convolution or dense layer whose weights are stored as int8, with a scale a channel."""

    def __init__(self, *shape: int, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        weight = torch.from_numpy(rng.integers(-127, 128, shape).astype(np.int8))
        scales = torch.from_numpy(2.0 ** -rng.integers(6, 9, shape[0])).float()
        bias = (torch.from_numpy(rng.integers(-99, 99, shape[0])) + 0.5) / 4096
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", torch.zeros(shape[0], dtype=torch.int64))
        self.register_buffer("bias", bias.float())

    def forward(self, x):
        how = (self.scales, self.zeros, 0, -128, 127, torch.int8)
        weight = OPS.dequantize_per_channel(self.weight, *how)
        if weight.ndim == 2:
            return nn.functional.linear(x, weight, self.bias)
        return nn.functional.conv2d(x, weight, self.bias, padding=1)


def images(count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(-8, 8, (count, 1, 4, 4)) / 16).float()


INPUT = Quantizer(1 / 16, 8, 0, 15)


def small(*between: nn.Module, after: tuple[nn.Module, ...] = ()) -> nn.Sequential:
    flat = 12 if any(isinstance(step, nn.MaxPool2d) for step in between) else 48
    return nn.Sequential(
        INPUT, Stored(3, 1, 3, 3, seed=1), *between, nn.Flatten(), *after, Stored(3, flat, seed=2)
    ).eval()


def kinds(network) -> list[type]:
    return [type(node) for node in network.nodes]


def check(model: nn.Module, seed: int = 0):
    """Read it; every value is that of PyTorch."""
    x = images(6, seed)
    network = from_torch(model, x)
    with torch.no_grad():
        expected = model(x).double().numpy()
    found = float_walk(network, x.double().numpy())[network.output.name]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    return network


@pytest.mark.parametrize("quantizer", [Quantizer, Fake])
def test_quantizers_become_activations_and_the_grid_of_the_input(quantizer):
    network = check(small(nn.ReLU(), quantizer(1 / 8, 0, 0, 15)))
    assert kinds(network) == [Input, Conv2d, Activation, Flatten, Linear, Output]
    assert network.input.grid == Grid(1 / 16, -8, 7)
    (activation,) = (node for node in network.nodes if isinstance(node, Activation))
    assert (activation.levels, activation.shift, activation.offset) == (15, 0.5, 0.0)
    assert activation.ceiling / 15 == 1 / 8
    assert network.history == ()


def test_behind_a_pool_and_a_flatten_a_quantizer_still_follows_the_sum():
    pooled = check(small(nn.ReLU(), nn.MaxPool2d(2), after=(Quantizer(1 / 8, 0, 0, 15),)))
    assert kinds(pooled) == [Input, Conv2d, Activation, MaxPool2d, Flatten, Linear, Output]
    network = convert(pooled)
    x, name = images(20, 3), "flatten_quantized"
    counts = integer_ann(network, grid_inputs(network, x.numpy())).counts[name]
    np.testing.assert_array_equal(counts / 8, float_walk(pooled, x.double().numpy())[name])


def test_a_signed_quantizer_keeps_its_zero():
    network = check(small(Quantizer(1 / 8, 3, -8, 7)))
    (activation,) = (node for node in network.nodes if isinstance(node, Activation))
    assert (activation.levels, activation.shift, activation.offset) == (15, 11.5, -11 / 8)


def test_relus_narrow_the_quantizer_beside_them():
    for between in ((nn.ReLU6(), Quantizer(1, 8, 0, 15)), (Quantizer(1, 8, 0, 15), nn.ReLU6())):
        network = check(small(*between))
        (activation,) = (node for node in network.nodes if isinstance(node, Activation))
        assert (activation.levels, activation.shift, activation.offset) == (6, 0.5, 0)
        assert Relu not in kinds(network)


def test_a_quantizer_on_the_logits_is_left_out_and_told():
    model = small(nn.ReLU(), Quantizer(1 / 8, 0, 0, 15))
    network = from_torch(nn.Sequential(*model, Quantizer(1 / 4, 5, -128, 127)), images(2))
    assert network.history == ('torch{dropped="linear_quantized"}',)
    assert network.rewrite(network.nodes, history=()).hash == check(model).hash


def test_a_pt2_file_of_it_is_read(tmp_path):
    path = tmp_path / "small.pt2"
    model = small(nn.ReLU(), Quantizer(1 / 8, 0, 0, 15))
    torch.export.save(torch.export.export(model, (images(2),)), path)
    assert load(path).hash == from_torch(model, images(2)).hash


class Forked(nn.Module):
    def __init__(self, second: tuple) -> None:
        super().__init__()
        self.conv, self.more = Stored(3, 1, 3, 3, seed=1), Stored(3, 3, 3, 3, seed=4)
        self.head, self.second = Stored(2, 48, seed=2), second

    def forward(self, x):
        grid = (1 / 8, 0, 0, 15, torch.uint8)
        counts = OPS.quantize_per_tensor(self.conv(INPUT(x)).relu(), *grid)
        branch = self.more(OPS.dequantize_per_tensor(counts, *grid))
        total = branch + OPS.dequantize_per_tensor(counts, *self.second)
        return self.head(Quantizer(1 / 8, 0, 0, 15)(total.relu()).flatten(1))


def test_integers_may_be_dequantized_more_than_once():
    network = check(Forked((1 / 8, 0, 0, 15, torch.uint8)))
    assert kinds(network).count(Activation) == 2


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Forked((1 / 4, 0, 0, 15, torch.uint8)), "not dequantized with the same scale"),
        (small(Quantizer(-1.0, 0, 0, 15)), "not a grid"),
        (small(Quantizer(1.0, 16, 0, 15)), "not a grid"),
    ],
)
def test_other_quantizers_are_refused(model, words):
    with pytest.raises(UnsupportedModelError, match=words):
        from_torch(model, images(2))


class AChannel(nn.Module):
    def forward(self, x):
        s, z = torch.ones(3), torch.zeros(3, dtype=torch.int64)
        q = OPS.quantize_per_channel(x, s, z, 1, 0, 15, torch.uint8)
        return OPS.dequantize_per_channel(q, s, z, 1, 0, 15, torch.uint8)


class Measured(nn.Module):
    def forward(self, x):
        s, z = OPS.choose_qparams(x, 0, 255, 1e-4, torch.uint8)
        q = OPS.quantize_per_tensor.tensor(x, s, z, 0, 255, torch.uint8)
        return OPS.dequantize_per_tensor.tensor(q, s, z, 0, 255, torch.uint8)


@pytest.mark.parametrize("part", [AChannel(), Measured()])
def test_scales_a_channel_or_a_sample_are_refused(part):
    with pytest.raises(UnsupportedModelError, match="scale"):
        from_torch(small(nn.ReLU(), part), images(2))


STEPS = st.sampled_from(
    [
        nn.ReLU(),
        nn.Hardtanh(0, 9 / 32),
        nn.Hardtanh(0, 1),
        nn.MaxPool2d(2),
        Quantizer(1 / 8, 0, 0, 15),
        Quantizer(1 / 8, 8, 0, 15),
        Quantizer(1 / 8, 0, -128, 127),
        Fake(1 / 8, 2, 0, 7),
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=5), st.lists(STEPS, max_size=2), st.integers(0, 99))
def test_whatever_stands_between_means_what_it_does_in_pytorch(between, after, seed):
    pools = [step for step in between if isinstance(step, nn.MaxPool2d)]
    between = [step for step in between if step not in pools[1:]]
    after = tuple(step for step in after if not isinstance(step, nn.MaxPool2d))
    check(small(*between, after=after), seed)


def test_a_concat_of_one_grid_needs_no_other_quantizer():
    grid = Grid(0.5, 0, 3)
    nodes = (
        Input("x", (2,)), Linear("a", np.eye(2)), Linear("b", np.eye(2)),
        staircase("qa", grid), staircase("qb", grid), Concat("cat"),
        staircase("q", Grid(0.5, 0, 7)), Linear("dense", np.ones((2, 4))), Output("out"),
    )  # fmt: skip
    edges = [("x", "a"), ("x", "b"), ("a", "qa"), ("b", "qb"), ("qa", "cat"), ("qb", "cat")]
    edges += [("cat", "q"), ("q", "dense"), ("dense", "out")]
    placed = Placed.of(nodes, edges, {"qa": grid, "qb": grid, "q": Grid(0.5, 0, 7)})
    assert "q" not in placed.nodes
    assert placed.sources["dense"] == ["cat"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("which", ["x86", "xnnpack", "xnnpack a channel"])
def test_programs_of_torchaos_own_quantizers(which):
    if importlib.util.find_spec("torchao") is None:
        pytest.skip("needs torchao")
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    torch.manual_seed(0)
    x = torch.randn(8, 1, 4, 4)
    prepared = prepare_pt2e(torch.export.export(Residual().eval(), (x,)).module(), _maker(which))
    prepared(x)
    quantized = convert_pt2e(prepared)
    network = from_torch(quantized, x)
    assert {Activation, Conv2d, MaxPool2d} <= set(kinds(network))
    assert Relu not in kinds(network)
    found = float_walk(network, x.double().numpy())["output"]
    with torch.no_grad():
        expected = quantized(x).numpy()
    step = 0 if which == "x86" else np.abs(np.diff(np.unique(expected))).min()
    # PyTorch computes in float32: a sum may fall on the other side of a tie.
    assert (np.abs(found - expected) <= step / 2 + 1e-5).mean() > 0.9
    assert bool(network.history) == (which != "x86")


def _maker(which: str):
    if which == "x86":
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        config = x86.get_default_x86_inductor_quantization_config()
        return x86.X86InductorQuantizer().set_global(config)
    from torchao.testing.pt2e import _xnnpack_quantizer as xnn

    config = xnn.get_symmetric_quantization_config(is_per_channel=which.endswith("channel"))
    return xnn.XNNPACKQuantizer().set_global(config)


class Residual(nn.Module):
    """Batch-norm, a skip connection, a max-pool and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.pool = nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(2)
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = self.pool(torch.relu(x + self.second(x)))
        return self.head(x.flatten(1))
