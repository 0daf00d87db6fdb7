"""Passes preserve what they promise to preserve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import float_network, images, small_net, small_network

from snndeploy.deploy import convert, grid_inputs
from snndeploy.errors import InputError, UnsupportedModelError
from snndeploy.integer_ann import integer_ann
from snndeploy.layers import layers
from snndeploy.nodes import Activation, BatchNorm, MaxPool2d, Neuron, Scale, SumPool2d
from snndeploy.numerics import mantissas
from snndeploy.passes import FoldBatchNorm, PoolAfterActivation, Quantize, SetInputGrid
from snndeploy.ranges import ranges


def test_folding_preserves_the_affine_map():
    network = float_network()
    folded = FoldBatchNorm()(network)
    assert not any(isinstance(n, BatchNorm) for n in folded.nodes)
    conv, norm = network.by_name["conv1"], network.by_name["norm1"]
    gain = norm.gamma / np.sqrt(norm.variance + norm.epsilon)
    new = folded.by_name["conv1"]
    x = np.random.default_rng(0).normal(size=conv.weight[0].size)
    for c in range(4):
        plain = conv.weight[c].ravel() @ x + conv.bias[c]
        expected = (plain - norm.mean[c]) * gain[c] + norm.beta[c]
        assert new.weight[c].ravel() @ x + new.bias[c] == pytest.approx(expected)


def test_a_pool_moves_behind_its_activation():
    network = PoolAfterActivation()(FoldBatchNorm()(float_network()))
    pool = next(n for n in network.nodes if isinstance(n, MaxPool2d))
    assert isinstance(network.by_name[network.sources[pool.name][0]], Activation)


def test_quantize_keeps_weights_in_their_bits_and_thresholds_exact():
    network = small_network()
    for layer in layers(network):
        for projection in layer.projections:
            if projection.weighted is not None:
                held, exponent = mantissas(projection.weighted.weight)
                assert np.abs(held).max() <= 127
                assert exponent <= 13
    assert any(isinstance(n, Scale) for n in network.nodes)  # the identity branch
    assert any(isinstance(n, SumPool2d) for n in network.nodes)  # what the average pool became
    for node in network.nodes:
        if isinstance(node, Neuron):
            # What is left of a bias whose share of a step is whole.
            assert np.all(np.abs(node.v0 - node.threshold // 2) <= node.threshold // 4)
            assert not (node.bias % network.window).any()


def test_the_history_tells_the_passes():
    assert convert(float_network()).history == (
        "split-concat",
        "fold-batch-norm",
        "pool-after-activation",
        "quantize{weight-bits=8 threshold-bits=20 identity-synapses=4 weight-exponent=13 "
        "state-bits=24 bias-bits=13 mode=exact window=0 per-step=False "
        "reset=soft}",
    )


def test_more_weight_bits_come_closer_to_the_float_model():
    x = images(64)
    with torch.no_grad():
        expected = small_net()(torch.from_numpy(x)).numpy()
    errors = []
    for bits in (4, 8, 12):
        network = convert(float_network(), weight_bits=bits)
        logits = integer_ann(network, grid_inputs(network, x)).logits * network.output.scale
        errors.append(float(np.abs(logits - expected).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_the_input_grid_covers_the_calibration_data():
    assert SetInputGrid.covering(0.0, 2.55) == SetInputGrid(2.55 / 255, 0, 255)
    assert SetInputGrid.covering(-1.27, 0.5) == SetInputGrid(1.27 / 127, -127, 127)
    assert SetInputGrid.covering(0.0, 0.0).scale == 1.0


def test_a_channel_that_no_weight_grid_can_hold_is_refused():
    network = float_network()
    nodes = [
        type(n)(n.name, 1e-9, n.levels) if isinstance(n, Activation) else n for n in network.nodes
    ]
    with pytest.raises(UnsupportedModelError, match="use more weight bits or a larger exponent"):
        convert(network.rewrite(nodes), weight_bits=2)


def test_converting_twice_is_refused():
    with pytest.raises(InputError, match="already"):
        convert(small_network())


def test_a_missing_input_grid_is_refused():
    network = float_network()
    nodes = [type(n)(n.name, n.shape) if n.name == network.input.name else n for n in network.nodes]
    with pytest.raises(UnsupportedModelError, match="calibration data"):
        Quantize()(PoolAfterActivation()(FoldBatchNorm()(network.rewrite(nodes))))


def test_wider_thresholds_widen_the_ranges():
    narrow = ranges(small_network())
    wide = ranges(convert(float_network(), weight_bits=12))
    assert all(wide[name].magnitude > narrow[name].magnitude for name in narrow)


def test_rounding_tells_its_progress_layer_by_layer():
    told: list[tuple[int, int]] = []
    network = convert(float_network(), progress=lambda done, total: told.append((done, total)))
    count = len(layers(network)) - 1
    assert told == [(done, count) for done in range(1, count + 1)]


@pytest.mark.parametrize(
    "options",
    [{"weight_bits": 1}, {"weight_bits": 17}, {"weight_exponent": 17}, {"state_bits": 33}],
)
def test_widths_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=r"expected \d+ to (16|32)"):
        Quantize(**options)
