"""What Lava's own processes can hold, and the file that netx reads: without Lava."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import h5py
import numpy as np
import pytest
import torch
from chains import STEPS, chain_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from models import float_network, images
from strategies import grid_inputs, integer_networks
from torch import nn

import snndeploy as sd
from snndeploy.errors import FileFormatError, InputError, UnsupportedModelError
from snndeploy.layers import layers
from snndeploy.linear_ops import apply, apply_all
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, Neuron, Output, SumPool2d
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy.stock import STATE, _folded, stock_layers
from snndeploy.training import QCFS, QuantizedInput
from snndeploy_backends.reference.judge import Judge


def lava_run(held, samples, steps):
    """Lava's dynamics as its source has them, in 1/64: strict threshold, hard reset, saturation."""
    spikes, limit = {}, (1 << 23) - 1
    values = np.repeat(samples[:, None], steps, axis=1)
    for layer in held:
        v = np.zeros((len(samples), *layer.shape), np.int64)
        column = (-1, *(1,) * (len(layer.shape) - 1))
        emitted = np.zeros((len(samples), steps, *layer.shape), np.int64)
        for t in range(steps):
            x = values[:, t].reshape(len(samples), *layer.source)
            if layer.kind == "conv":
                where = (layer.stride, layer.padding, layer.dilation, layer.groups)
                current = apply(Conv2d("c", layer.weight, None, *where), x)
            else:
                current = x.reshape(len(x), -1) @ layer.weight.T
            assert np.abs(current).max(initial=0) < 1 << 17
            v = np.clip(v + 64 * current + 64 * layer.bias.reshape(column), -limit, limit)
            fired = v > 64 * layer.vth
            v[fired] = 0
            emitted[:, t] = v if layer is held[-1] else fired
        spikes[layer.name], values = emitted, emitted
    return spikes


@settings(max_examples=60, deadline=None)
@given(chain_networks(), st.integers(0, 2**32 - 1))
def test_the_stock_layers_have_the_spikes_of_the_judge(network, seed):
    program, samples = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, samples, steps=STEPS)
    found = lava_run(stock_layers(network, STEPS), samples, STEPS)
    np.testing.assert_array_equal(found.pop("out") // 64, judge.logits)
    for name, spikes in found.items():
        np.testing.assert_array_equal(spikes, judge.spikes[name])


@settings(max_examples=60, deadline=None)
@given(integer_networks(mode="rate", reset="hard"))
def test_whatever_is_refused_is_refused_by_name(network):
    with pytest.raises(UnsupportedModelError, match="reason") as caught:
        stock_layers(network)
    for layer in layers(network)[1:]:
        node = layer.node
        odd = isinstance(node, Neuron) and (node.v0.any() or np.ptp(node.threshold))
        if odd or layer.kind == "max_pool" or len(layer.projections) > 1:
            assert f"layer '{layer.name}'" in str(caught.value)


def chain(**changes) -> Network:
    """A convolution and a dense layer that fit; `changes` replace nodes by name."""
    nodes = {
        "x": Input("x", (1, 4, 4), Grid(0.25, 0, 4)),
        "conv": Conv2d("conv", np.ones((2, 1, 3, 3), np.int64), None, (1, 1), (1, 1)),
        "act": neuron("act", 2),
        "flat": Flatten("flat"),
        "head": Linear("head", np.ones((3, 32), np.int64)),
        "out": Output("out", np.array([4, -8, 0]), 0.5),
    }
    nodes.update(changes)
    names = list(nodes)
    edges = tuple(pairwise(names))
    return Network("chain", tuple(nodes.values()), edges, "rate", 4, reset="hard")


def neuron(name, channels, theta=9, v0=0, bias=4):
    ones = np.ones(channels, np.int64)
    return Neuron(name, theta * ones, v0 * ones, bias * ones, 7, 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"act": neuron("act", 2, v0=1)}, r"layer 'act': membranes that do not start at 0"),
        ({"act": neuron("act", 2, bias=5)}, r"layer 'act': a bias that differs from step to step"),
        ({"act": neuron("act", 2, bias=4 * 4096)}, r"layer 'act': a bias of 4,096 at each step"),
        ({"act": neuron("act", 2, theta=STATE + 2)}, r"layer 'act': a current or membrane can"),
        (
            {"act": replace(neuron("act", 2), threshold=np.array([9, 8]))},
            r"layer 'act': thresholds from 8 to 9, expected one for all channels; convert with",
        ),
        (
            {"conv": Conv2d("conv", np.full((2, 1, 3, 3), 128), None, (1, 1), (1, 1))},
            r"layer 'act': weights up to 128 in magnitude, .* weight exponent 0",
        ),
        (
            {"conv": Conv2d("conv", np.zeros((2, 1, 3, 3), np.int64), None, (1, 1), (1, 1))},
            r"layer 'act': weights up to 0",
        ),
        (
            {"conv": SumPool2d("conv", (1, 1), (1, 1)), "act": neuron("act", 1),
             "head": Linear("head", np.ones((3, 16), np.int64))},
            r"layer 'act': SumPool2d in front of it",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_why_and_what_to_do(change, words):
    assert len(stock_layers(chain())) == 2
    with pytest.raises(UnsupportedModelError, match=words):
        stock_layers(chain(**change))


def test_all_reasons_are_told_at_once():
    network = replace(chain(act=neuron("act", 2, v0=3, bias=5)), reset="soft")
    with pytest.raises(UnsupportedModelError, match=r"3 reason\(s\)") as caught:
        stock_layers(network)
    assert "rate mode with soft reset" in str(caught.value)


def test_branches_and_pools_are_refused():
    network = sd.convert(float_network(), mode="rate", reset="hard", weight_exponent=0)
    with pytest.raises(UnsupportedModelError) as caught:
        stock_layers(network)
    assert "a max-pool on spike counts" in str(caught.value)
    assert "a sum of" in str(caught.value)


def test_more_steps_need_more_room():
    network = chain(head=Linear("head", np.full((3, 32), -127)))
    stock_layers(network, 30)
    with pytest.raises(UnsupportedModelError, match=r"within 40 steps, Lava's hold 131,071"):
        stock_layers(network, 40)


class Chain(nn.Module):
    """What netx can hold: an average pool goes into the convolution behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            QuantizedInput(1 / 16, 0, 16),
            *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), QCFS(3, 1.0)),
            *(nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, padding=1), QCFS(3, 1.0)),
            *(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 8), QCFS(3, 1.0), nn.Linear(8, 3)),
        )

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def converted() -> Network:

    torch.manual_seed(0)
    model = sd.from_torch(Chain().eval(), torch.from_numpy(images(2)), "chain")
    return sd.convert(model, mode="rate", reset="hard", weight_bits=6, weight_exponent=0)


def test_a_converted_model_fits(converted):
    assert [layer.kind for layer in stock_layers(converted)] == ["conv", "conv", "dense", "dense"]
    assert all(not n.v0.any() for n in converted.nodes if isinstance(n, Neuron))


def test_the_file_is_as_netx_reads_it(converted, tmp_path):
    path = tmp_path / "network.net"
    sd.export(converted, path, "netx")
    with h5py.File(path) as file:
        kinds = [file[f"layer/{i}/type"][()] for i in range(len(file["layer"]))]
        assert kinds == [b"input", b"conv", b"conv", b"flatten", b"dense", b"dense"]
        assert list(file["layer/0/shape"]) == [2, 8, 8]
        first = next(n for n in converted.nodes if isinstance(n, Neuron))
        assert file["layer/1/neuron/vThMant"][()] == first.threshold[0] - 1
        assert file["layer/2/stride"][()].tolist() == [2, 2]
        about = json.loads(file.attrs["snndeploy"])
    assert about["hash"] == converted.hash
    assert (about["reset_interval"], about["reset_offset"]) == (3, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["network.net"]


def test_export_writes_nir_too_and_refuses_the_rest(converted, tmp_path):
    sd.export(converted, tmp_path / "network.nir")
    assert sd.load(tmp_path / "network.nir").hash == converted.hash
    with pytest.raises(InputError, match="use nir or netx"):
        sd.export(converted, tmp_path / "x", "onnx")
    with pytest.raises(InputError, match="steps: are for netx only"):
        sd.export(converted, tmp_path / "x", steps=3)
    with pytest.raises(FileFormatError, match="cannot be written"):
        sd.export(converted, tmp_path / "no" / "x.net", "netx")
    with pytest.raises(UnsupportedModelError):
        sd.export(replace(converted, reset="soft"), tmp_path / "soft.net", "netx")
    assert [p.name for p in tmp_path.iterdir()] == ["network.nir"]


@pytest.mark.parametrize(
    ("pool", "conv", "folds"),
    [
        (((2, 2), (2, 2), (0, 0)), ((1, 1), (1, 1), (1, 1)), True),  # tiles the image
        (((2, 2), (2, 2), (0, 0)), ((2, 1), (0, 2, 1, 0), (1, 2)), True),
        (((3, 3), (2, 2), (1, 1)), ((1, 1), (0, 0), (1, 1)), True),  # no padding behind it
        (((2, 3), (1, 2), (1, 0)), ((1, 2), (0, 0), (2, 1)), True),
        (((3, 3), (2, 2), (1, 1)), ((1, 1), (1, 1), (1, 1)), False),  # reaches over the edge
        (((3, 3), (3, 3), (0, 0)), ((1, 1), (1, 1), (1, 1)), False),  # leaves pixels out
    ],
)
def test_a_pool_folds_into_the_weights_behind_it_where_that_is_exact(pool, conv, folds):
    rng = np.random.default_rng(0)
    ops = (
        SumPool2d("pool", *pool),
        Conv2d("conv", rng.integers(-9, 10, (4, 1, 2, 2)), None, *conv, 2),
    )
    x = rng.integers(0, 5, (3, 2, 8, 8))
    folded = _folded(ops, (2, 8, 8))
    assert (folded is not None) == folds
    if folded is not None:
        np.testing.assert_array_equal(apply(folded, x), apply_all(ops, x))


def test_dense_layers_swallow_pools():
    rng = np.random.default_rng(0)
    dense = Linear("dense", rng.integers(-9, 10, (3, 2 * 4 * 2)))
    ops = (SumPool2d("pool", (3, 3), (2, 3), (1, 0)), Flatten("flat"), dense)
    x = rng.integers(0, 5, (3, 2, 7, 8))
    folded = _folded(ops, (2, 7, 8))
    np.testing.assert_array_equal(apply(folded, x.reshape(3, -1)), apply_all(ops, x))
