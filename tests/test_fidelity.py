"""Float to integer: nothing is lost on the grid, and what is lost elsewhere is named."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import float_network, images, small_net, small_network
from strategies import grid_inputs, integer_networks
from torch import nn

from snndeploy import cli, convert, fidelity, from_torch, save
from snndeploy.deploy import integer_ann
from snndeploy.errors import DataError, InputError, UnsupportedModelError
from snndeploy.float_ann import float_ann
from snndeploy.grid_training import put_on_grid, take_off_grid
from snndeploy.layers import count_worths, layers, pooled
from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    AvgPool2d,
    Conv2d,
    Linear,
    Neuron,
    Node,
    Output,
    Scale,
    SumPool2d,
)
from snndeploy.numerics import mantissas
from snndeploy.passes import FoldBatchNorm, PoolAfterActivation, Quantize
from snndeploy.passes.rounding import balanced, largest_exact_factor
from snndeploy.passes.units import channel_unit
from snndeploy.training import QCFS, QuantizedInput
from snndeploy.training.digits import DigitsNet, digits


def as_float(network: Network) -> Network:
    """The float network that an integer one is exactly: weights and biases in the model's units.

    A half unit on each bias keeps sums away from thresholds, where float64 would have to decide.
    """
    worths, factors, biases = count_worths(network), {}, {}
    for layer in layers(network)[1:]:
        node = layer.node
        if isinstance(node, Neuron | Output):
            theta = node.threshold if isinstance(node, Neuron) else np.ones(layer.shape[0])
            unit = node.scale / theta
            half = 0.5 + node.v0 - theta / 2 if isinstance(node, Neuron) else 0
            for index, projection in enumerate(layer.projections):
                name = projection.weighted.name
                factors[name] = unit * pooled(projection) / worths[projection.source]
                biases[name] = (node.bias + half) * unit * (index == 0)
    nodes = [
        float_node(n, network.shapes[n.name], factors.get(n.name), biases.get(n.name))
        for n in network.nodes
    ]
    return network.rewrite(nodes, mode="exact", window=0, reset="soft")


def float_node(node: Node, shape: tuple[int, ...], factor: np.ndarray, bias: np.ndarray) -> Node:
    if isinstance(node, Neuron):
        return Activation(node.name, node.scale * node.levels, node.levels)
    if isinstance(node, SumPool2d):
        return AvgPool2d(node.name, node.kernel, node.stride, node.padding)
    if isinstance(node, Output):
        return Output(node.name)
    if isinstance(node, Scale) and len(shape) == 1:
        return Linear(node.name, np.diag(node.weight * factor), bias)
    if isinstance(node, Scale):
        kernels = (node.weight * factor).reshape(-1, 1, 1, 1)
        return Conv2d(node.name, kernels, bias, groups=len(kernels))
    if isinstance(node, Conv2d | Linear):
        factor = factor.reshape(-1, *(1,) * (node.weight.ndim - 1))
        return replace(node, weight=node.weight * factor, bias=bias)
    return node


def prepared(network: Network) -> Network:
    return PoolAfterActivation()(FoldBatchNorm()(network))


@pytest.mark.parametrize("levels", [1, 3, 15])
def test_the_float_judge_computes_what_the_torch_module_computes(levels):
    x = images(64)
    with torch.inference_mode():
        expected = small_net(levels=levels)(torch.from_numpy(x)).numpy()
    found = float_ann(prepared(float_network(levels=levels)), x).logits
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


def test_the_float_judge_refuses_what_has_not_been_folded():
    with pytest.raises(UnsupportedModelError, match="fold"):
        float_ann(float_network(), images(2))


@given(integer_networks(exponents=False), st.integers(0, 2**32 - 1))
def test_a_network_on_the_grid_loses_nothing(network, seed):
    found = as_float(network)
    again = Quantize(identity_synapses=1)(found)
    inputs = grid_inputs(network, 4, seed)
    report = fidelity(found, again, inputs, np.zeros(4, np.int64))
    assert report.agreement == 1 and report.loss_points == 0
    assert all(layer.flipped_here == layer.different == 0 for layer in report.layers)
    assert all(layer.weight_rounding < 1e-9 for layer in report.layers)
    before, after = (integer_ann(n, inputs) for n in (network, again))
    for name, counts in before.counts.items():
        np.testing.assert_array_equal(after.counts[name], counts)


def test_a_network_fed_step_by_step_is_compared_on_the_sum_of_its_steps():
    network = float_network()
    stepped = convert(network, window=4, per_step=True)
    frames = np.random.default_rng(0).integers(0, 4, (6, 4, *network.input.shape))
    whole = convert(network, window=1)
    found = fidelity(network, stepped, frames)
    assert found.layers == fidelity(network, whole, frames.sum(axis=1)).layers


def test_a_planted_rounding_error_is_named():
    network = convert(float_network(), weight_bits=12)
    x = images(40)
    clean = fidelity(float_network(), network, x)
    spoilt = [
        replace(node, bias=node.bias + node.threshold // 2) if node.name == "act2" else node
        for node in network.nodes
    ]
    found = fidelity(float_network(), network.rewrite(spoilt), x)
    assert found.worst_layer.name == "act2"
    assert "'act2'" in " ".join(found.sentences())
    rows, before = ({row.name: row for row in r.layers} for r in (found, clean))
    assert rows["act1"] == before["act1"]
    assert rows["act2"].flipped_here > 10 * max(1, before["act2"].flipped_here)
    assert rows["act2"].bias_rounding > before["act2"].bias_rounding
    assert rows["output"].flipped_here == before["output"].flipped_here


def test_what_one_layer_flips_differs_in_the_layers_behind_it():
    network, x = small_network(), images(8)
    spoilt = [
        replace(node, weight=node.weight + 40) if node.name == "conv1" else node
        for node in network.nodes
    ]
    plain, found = (
        {row.name: row for row in fidelity(float_network(), integer, x).layers}
        for integer in (network, network.rewrite(spoilt))
    )
    assert found["act2"].flipped_here == plain["act2"].flipped_here
    assert found["act2"].different > plain["act2"].different
    assert found["pool"].flipped_here == 0 < found["pool"].different
    assert found["act1"].different == found["act1"].flipped_here


def test_wider_weights_flip_fewer_counts():
    flips = []
    for bits in (4, 8, 12):
        found = fidelity(float_network(), convert(float_network(), weight_bits=bits), images(100))
        flips.append(sum(row.flipped_here for row in found.layers))
    assert flips[0] > 2 * flips[1] > 4 * flips[2]


def test_accuracy_needs_labels():
    network, x = small_network(), images(20)
    found = fidelity(float_network(), network, x)
    assert found.loss_points is None
    assert "Accuracy" not in " ".join(found.sentences())
    labels = integer_ann(network, x).logits.argmax(1)
    told = fidelity(float_network(), network, x, labels)
    assert told.integer_accuracy == 1
    assert told.loss_points == pytest.approx(100 * (told.float_accuracy - 1))
    json.dumps(told.as_dict(), allow_nan=False)


def test_samples_are_compared_chunk_by_chunk(monkeypatch):
    whole = fidelity(float_network(), small_network(), images(20))
    monkeypatch.setattr("snndeploy.verify.fidelity.CHUNK", 7)
    told = []
    parts = fidelity(
        float_network(), small_network(), images(20), progress=lambda *done: told.append(done)
    )
    assert parts.agreement == whole.agreement
    for part, row in zip(parts.layers, whole.layers, strict=True):
        assert replace(part, mean_error=0) == replace(row, mean_error=0)
        assert part.mean_error == pytest.approx(row.mean_error)
    assert told == [(7, 20), (14, 20), (20, 20)]


def test_networks_of_two_models_are_refused():
    x = images(4)
    with pytest.raises(InputError, match=r"'act1'.* with 3 levels .*7 levels"):
        fidelity(float_network(levels=3), small_network(levels=7), x)
    with pytest.raises(InputError, match="is a spiking network"):
        fidelity(small_network(), small_network(), x)
    with pytest.raises(UnsupportedModelError, match="float network"):
        fidelity(float_network(), float_network(), x)
    with pytest.raises(DataError, match="labels"):
        fidelity(float_network(), small_network(), x, np.zeros(3, int))


# Rounding


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 9))
def test_balanced_rounding_stays_near_and_sums_up(seed, kernels, taps):
    rng = np.random.default_rng(seed)
    goals = rng.normal(0, 30, (3, kernels, taps)).clip(-126, 126)
    found = balanced(goals, 127)
    assert np.abs(found - goals).max() < 2
    assert np.abs((found - goals).sum(axis=(1, 2))).max() <= 0.5 + 1e-9
    assert np.abs(found).max() <= 127


def test_balanced_rounding_leaves_integers_alone_and_keeps_to_the_word():
    goals = np.arange(-127, 128).reshape(1, -1, 5).astype(float)
    np.testing.assert_array_equal(balanced(goals + 1e-5, 127), goals)
    full = balanced(np.full((1, 1, 4), 127.4), 127)
    np.testing.assert_array_equal(full, 127)


@given(st.integers(1, 2000), st.integers(0, 2**32 - 1))
def test_a_grid_is_found_again(factor, seed):
    integers = np.random.default_rng(seed).integers(-127, 128, 30)
    integers[0] = 1
    row = (integers / factor).astype(np.float32).astype(float)
    assert largest_exact_factor(row, factor) == factor
    assert largest_exact_factor(row, 3 * factor) == 3 * factor
    if factor > 1:
        assert largest_exact_factor(row, factor - 1) == 0


def test_weights_that_vanish_on_a_grid_are_not_on_it():
    assert largest_exact_factor(np.array([1e-5, 2e-5, 3e-5]), 100) == 0
    assert largest_exact_factor(np.zeros(3), 100) == 100


def test_a_unit_that_weights_lie_on_comes_before_a_threshold_that_they_nearly_lie_on():
    integers = np.array([127.0, 92.0, -52.0, -12.0, 2.0])
    unit = 1 / (802.25 * (1 + 3.6e-6))  # 3209 units of a quarter are nearly one count
    found = channel_unit([integers * unit / 4], 127 * unit / 4, 5000, 127)
    np.testing.assert_allclose(found, unit / 4, rtol=1e-12)
    as_float32 = (integers / 3209).astype(np.float32).astype(float)
    assert channel_unit([as_float32], 127 / 3209, 5000, 127) == 1 / 3209


def test_a_unit_set_by_8_bit_weights_of_any_scale_keeps_them_exact():
    rng = np.random.default_rng(0)
    network = prepared(float_network())
    conv = network.by_name["conv1"]
    integers = rng.integers(-126, 127, conv.weight.shape)
    integers[:, 0, 0, 0] = 127
    scaled = replace(conv, weight=integers * rng.uniform(0.002, 0.004, (len(integers), 1, 1, 1)))
    nodes = [scaled if node is conv else node for node in network.nodes]
    found = convert(network.rewrite(nodes)).by_name["conv1"].weight
    np.testing.assert_array_equal(mantissas(found)[0], integers)


def test_a_wide_identity_branch_is_carried_by_several_synapses():
    network = float_network()
    narrow, wide = (
        Quantize(identity_synapses=count, weight_exponent=0)(prepared(network)) for count in (1, 4)
    )
    scales = [[n for n in net.nodes if isinstance(n, Scale)] for net in (narrow, wide)]
    assert len(scales[0]) < len(scales[1]) <= 5
    assert all(np.abs(scale.weight).max() <= 127 for scale in scales[1])
    assert wide.by_name["act2"].threshold.sum() > narrow.by_name["act2"].threshold.sum()


# Training on the grid


class Residual(nn.Module):
    """An identity branch, a pooled one, a batch-norm on a linear layer, layers without bias."""

    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        self.grid = QuantizedInput(1 / 16, 0, 16)
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.act1 = QCFS(levels, 1.3)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(4)
        self.act2 = QCFS(levels, 2.1)
        self.conv3 = nn.Conv2d(4, 4, 1, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.short = nn.Conv2d(4, 4, 2, stride=2)
        self.act3 = QCFS(levels, 0.9)
        self.dense = nn.Linear(64, 12)
        self.norm4 = nn.BatchNorm1d(12)
        self.act4 = QCFS(levels, 1.7)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.act1(self.norm1(self.conv1(self.grid(x))))
        x = self.act2(self.norm2(self.conv2(x)) + x)
        x = self.act3(self.pool(self.conv3(x)) + self.short(x))
        return self.head(self.act4(self.norm4(self.dense(torch.flatten(x, 1)))))


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for value in (module.running_mean, module.weight, module.bias):
                    value.copy_(torch.randn(value.shape, generator=generator))
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator))
    return model.eval()


def assert_nothing_is_lost(model: nn.Module, x: np.ndarray, bits: int = 8) -> None:
    network = from_torch(model, torch.from_numpy(x[:2]))
    spiking = convert(network, weight_bits=bits)
    report = fidelity(network, spiking, x)
    assert all(row.flipped_here == row.different == 0 for row in report.layers)
    with torch.inference_mode():
        logits = model(torch.from_numpy(x)).numpy()
    found = integer_ann(spiking, x).logits * spiking.output.scale
    np.testing.assert_allclose(found, logits, atol=1e-4 * np.abs(logits).max())


@pytest.mark.parametrize("levels", [1, 3, 15])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_model_on_the_grid_converts_without_loss(levels, bits):
    torch.manual_seed(0)
    model, x = randomized(Residual(levels)), images(200)
    before = copy.deepcopy(model)
    put_on_grid(model, torch.from_numpy(x[:2]), bits)
    take_off_grid(model)
    assert_nothing_is_lost(model, x, bits)
    network = from_torch(before, torch.from_numpy(x[:2]))
    report = fidelity(network, convert(network, weight_bits=2, weight_exponent=0), x)
    assert sum(row.flipped_here for row in report.layers) > 0


def test_a_model_stays_on_the_grid_while_it_is_trained():
    data = digits().training
    torch.manual_seed(0)
    model, x = DigitsNet(), torch.from_numpy(data.x[:256])
    labels = torch.from_numpy(data.y[:256])
    put_on_grid(model, x[:2])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.02)
    losses = []
    for _ in range(8):
        model.train()
        loss = nn.functional.cross_entropy(model(x), labels)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    take_off_grid(model)
    assert not any("parametrizations" in name for name, _ in model.named_parameters())
    assert_nothing_is_lost(model.eval(), data.x[:100])


def test_weights_that_are_used_twice_have_no_grid_of_their_own():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.grid, self.act = QuantizedInput(1 / 16, 0, 16), QCFS(3)
            self.conv = nn.Conv2d(2, 2, 3, padding=1)
            self.act2, self.head = QCFS(3), nn.Linear(128, 3)

        def forward(self, x):
            x = self.act2(self.conv(self.act(self.conv(self.grid(x)))))
            return self.head(torch.flatten(x, 1))

    with pytest.raises(UnsupportedModelError, match="used once"):
        put_on_grid(Twice(), torch.from_numpy(images(2)))


def test_a_batch_norm_that_no_weights_precede_has_no_place_on_the_grid():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.grid, self.norm = QuantizedInput(1 / 16, 0, 16), nn.BatchNorm2d(2)
            self.act, self.head = QCFS(3), nn.Linear(128, 3)

        def forward(self, x):
            return self.head(torch.flatten(self.act(self.norm(self.grid(x))), 1))

    with pytest.raises(UnsupportedModelError, match="behind a convolution"):
        put_on_grid(Bare(), torch.from_numpy(images(2)))


def test_the_command_line_shows_each_layers_share(monkeypatch, capsys, tmp_path):
    x = images(20)
    labels = integer_ann(small_network(), x).logits.argmax(1)
    np.savez(tmp_path / "x.npz", x=x, y=labels)
    save(small_network(), tmp_path / "net.nir")
    exported = torch.export.export(small_net(), (torch.from_numpy(x[:2]),))
    torch.export.save(exported, tmp_path / "m.pt2")
    files = [str(tmp_path / name) for name in ("m.pt2", "net.nir", "x.npz")]
    call = ["snndeploy", "fidelity", *files[:2], "--data", files[2]]
    text = said(monkeypatch, capsys, call)
    assert "a loss of" in text
    assert "flipped here" in text and "act2" in text
    found = json.loads(said(monkeypatch, capsys, [*call, "--json"]))
    expected = fidelity(float_network(), small_network(), x, labels).as_dict()
    assert found == json.loads(json.dumps(expected))


def said(monkeypatch, capsys, call: list[str]) -> str:
    monkeypatch.setattr("sys.argv", call)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    return capsys.readouterr().out


# Networks that calibration gave few levels


class ReluNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4 * 64, 3)

    def forward(self, x):
        return self.head(torch.flatten(torch.relu(self.conv(x)), 1))


def relu_model() -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    model = ReluNet().eval()
    return model, from_torch(model, torch.from_numpy(images(2)))


def test_of_a_calibrated_network_the_answers_alone_are_compared():
    module, model = relu_model()
    x = images(60)
    few = convert(model, x[:40], levels=7)
    with torch.inference_mode():
        answers = module(torch.from_numpy(x)).argmax(1).numpy()
    ours = integer_ann(few, x).logits.argmax(1)
    found = fidelity(model, few, x, answers)
    assert found.layers == ()
    assert found.agreement == pytest.approx((answers == ours).mean(), abs=0.02)  # on the input grid
    assert found.float_accuracy > 0.98
    assert "answers alone" in " ".join(found.sentences())
    assert fidelity(model, convert(model, x[:40], levels=1), x).agreement < found.agreement


def test_models_with_relus_and_networks_of_others_are_refused():
    _, model = relu_model()
    few = convert(model, images(40), levels=7)
    with pytest.raises(InputError, match=r"real-valued ReLUs, such as 'relu'"):
        fidelity(model, small_network(), images(4))
    other = from_torch(nn.Sequential(nn.Flatten(), nn.Linear(128, 5)), torch.zeros(2, 2, 8, 8))
    with pytest.raises(InputError, match=r"maps \(2, 8, 8\) to \(5,\)"):
        fidelity(other, few, images(4))


def test_the_command_line_says_why_there_are_no_layers(monkeypatch, capsys, tmp_path):
    module, model = relu_model()
    x = images(40)
    np.savez(tmp_path / "x.npz", x=x)
    save(convert(model, x, levels=7), tmp_path / "net.nir")
    exported = torch.export.export(module, (torch.from_numpy(x[:2]),))
    torch.export.save(exported, tmp_path / "m.pt2")
    files = [str(tmp_path / name) for name in ("m.pt2", "net.nir", "x.npz")]
    text = said(monkeypatch, capsys, ["snndeploy", "fidelity", *files[:2], "--data", files[2]])
    assert "answers alone" in text
    assert "flipped" not in text
