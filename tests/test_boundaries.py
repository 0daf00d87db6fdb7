"""Integer thresholds and biases that decide like real ones; offsets of signed activations."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy import convert, fidelity, integer_ann
from snndeploy.errors import UnsupportedModelError
from snndeploy.float_ann import float_ann
from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Output,
)
from snndeploy.numerics import mantissas
from snndeploy.passes.boundaries import boundaries
from snndeploy.passes.whole_shares import whole_shares

reals = st.floats(0.5, 1e5, allow_nan=False)


@given(
    st.lists(st.tuples(reals, st.floats(-1e5, 1e5)), min_size=1, max_size=5),
    st.sampled_from([1, 15, 64, 256]),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_what_is_called_exact_decides_every_count_alike(channels, lattice, levels, seed):
    theta, offset = np.array(channels).T
    found = boundaries(theta, offset, np.full(len(theta), lattice), levels)
    sums = lattice * np.random.default_rng(seed).integers(-(10**4), 10**5, (len(theta), 300))
    real = np.floor((sums + offset[:, None] + 1e-6) / theta[:, None]).clip(0, levels)
    ours = ((sums + found.offset[:, None]) // found.theta[:, None]).clip(0, levels)
    np.testing.assert_array_equal(ours[found.exact], real[found.exact])


def test_a_fine_lattice_makes_every_channel_exact():
    rng = np.random.default_rng(0)
    theta, offset = rng.uniform(3e4, 6e4, 200), rng.uniform(-1e5, 1e5, 200)
    assert boundaries(theta, offset, np.full(200, 128), 15).exact.all()
    assert boundaries(theta / 128, offset / 128, np.ones(200, int), 15).exact.mean() < 0.5


@given(
    st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=6),
    st.integers(1, 31),
    st.integers(3, 14),
    st.integers(0, 8),
)
def test_shares_are_whole_and_short(totals, window, bits, exponent):
    totals = np.array(totals)
    found = whole_shares(totals, window, bits, exponent)
    for total, share in zip(totals, found, strict=True):
        if share == total:
            continue
        assert share % window == 0
        held, _ = mantissas(np.array([share // window]), exponent)
        assert -(1 << (bits - 1)) <= held[0] < 1 << (bits - 1)
        assert abs(share - total) <= window << exponent >> 1 or exponent == 0


def eight_bit(rng, *shape) -> np.ndarray:
    """Weights of 8 bits and one scale a channel, as quantized networks from elsewhere have them."""
    fan_in = float(np.prod(shape[1:]))
    scale = rng.uniform(0.5, 2, (shape[0], *(1,) * (len(shape) - 1))) / fan_in**0.5
    held = rng.integers(-127, 128, shape)
    held.reshape(shape[0], -1)[:, 0] = 127
    return held / 60 * scale


def signed(padding: int = 0) -> Network:
    """Signed grids in front of a convolution, a pool, a sum and a dense layer."""
    rng = np.random.default_rng(3)
    wave = Activation("wave", 1.0, 14, shift=7.5, offset=-0.5)
    nodes = (
        Input("x", (2, 6, 6), Grid(0.1, -8, 7)),
        Conv2d("c1", eight_bit(rng, 4, 2, 3, 3), rng.normal(size=4) / 4),
        wave,
        MaxPool2d("pool", (2, 2), (2, 2)),
        Conv2d("c2", eight_bit(rng, 4, 2, 2, 2), None, (1, 1), (padding,) * 2, (1, 1), 2),
        AvgPool2d("mean", (2, 2), (2, 2)),
        Conv2d("c3", eight_bit(rng, 4, 4, 1, 1)),
        Add("sum"),
        Activation("sign", 2.0, 1, shift=1.0, offset=-1.0),
        Flatten("flat"),
        Linear("fc", eight_bit(rng, 3, 36 if padding else 4), rng.normal(size=3)),
        Output("out"),
    )
    if padding:
        nodes = (*nodes[:5], *nodes[8:])
    names = [node.name for node in nodes]
    edges = list(pairwise(names))
    if not padding:
        edges = [e for e in edges if e not in {("c2", "mean"), ("mean", "c3"), ("c3", "sum")}]
        edges += [("wave", "mean"), ("mean", "c3"), ("c3", "half"), ("c2", "sum"), ("half", "sum")]
        nodes += (AvgPool2d("half", (1, 1), (2, 2)),)
    return Network("signed", nodes, tuple(edges))


def test_offsets_reach_the_next_layers():
    network = signed()
    snn = convert(network)
    x = np.random.default_rng(0).integers(-8, 8, (200, 2, 6, 6))
    report = fidelity(network, snn, x)
    assert report.agreement == 1
    expected = float_ann(network, x * 0.1)
    ours = integer_ann(snn, x)
    assert (expected.counts["wave"] == ours.counts["wave"]).mean() > 0.998
    assert (expected.counts["sign"] == ours.counts["sign"]).mean() > 0.998
    assert 0.2 < ours.counts["sign"].mean() < 0.8
    wave = expected.counts["wave"]
    assert wave.min() == 0
    assert wave.max() == 14


def test_an_offset_in_front_of_zero_padding_is_refused():
    with pytest.raises(UnsupportedModelError, match="the border would differ"):
        convert(signed(padding=1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 15]))
def test_weights_on_8_bits_of_any_scale_lose_nothing(seed, levels):
    rng = np.random.default_rng(seed)
    nodes = (
        Input("x", (2, 5, 5), Grid(1 / 16, 0, 16)),
        Conv2d("c1", eight_bit(rng, 4, 2, 3, 3), rng.normal(size=4) / 9, (1, 1), (1, 1)),
        Activation("a1", float(rng.uniform(0.5, 2)), levels),
        Conv2d("c2", eight_bit(rng, 4, 4, 3, 3), rng.normal(size=4) / 9, (1, 1), (1, 1)),
        Activation("a2", float(rng.uniform(0.5, 2)), levels),
        Flatten("flat"),
        Linear("fc", eight_bit(rng, 3, 100)),
        Output("out"),
    )
    names = [node.name for node in nodes]
    network = Network("eight", nodes, tuple(pairwise(names)))
    x = rng.integers(0, 17, (40, 2, 5, 5))
    report = fidelity(network, convert(network), x)
    assert sum(row.flipped_here for row in report.layers if row.kind == "neurons") <= 1
