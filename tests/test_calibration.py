"""From many levels to few: each pass keeps its promise, corrections stay only if they help."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import float_network, images
from sklearn.datasets import load_digits
from torch import nn

from snndeploy import certify, convert, from_torch, integer_ann, lower, run
from snndeploy.errors import DataError, InputError, UnsupportedModelError
from snndeploy.float_ann import float_ann, walk
from snndeploy.float_ann.responses import logits, pass_station
from snndeploy.network import Network
from snndeploy.nodes import Activation, Add, AvgPool2d, Conv2d, Flatten, Input, Linear, Output, Relu
from snndeploy.passes import FoldBatchNorm, Pass, PoolAfterActivation
from snndeploy.passes.calibration_data import CalibrationData
from snndeploy.passes.calibration_options import FewLevels
from snndeploy.passes.choose_ceilings import ChooseCeilings, _on_grid
from snndeploy.passes.correct_biases import CorrectBiases, bias_holder
from snndeploy.passes.equalize_channels import EqualizeChannels
from snndeploy.passes.few_levels import _Trial, few_levels
from snndeploy.passes.remove_levels import RemoveLevels
from snndeploy.passes.tune_weights import TuneWeights


class ReluNet(nn.Module):
    """Groups, a cap, a residual with an identity branch, pools, a hidden layer on flat values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.conv3 = nn.Conv2d(4, 8, 3, padding=1, groups=2)
        self.norm, self.pool, self.average = nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.AvgPool2d(2)
        self.hidden, self.head = nn.Linear(8 * 2 * 2, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.pool(self.norm(self.conv1(x))))
        x = torch.relu(self.conv2(x) + x)
        x = self.average(nn.functional.hardtanh(self.conv3(x), 0.0, 0.4))
        return self.head(torch.relu(self.hidden(torch.flatten(x, 1))))


def relu_network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    model = ReluNet().eval()
    with torch.no_grad():
        model.conv1.weight *= torch.tensor([0.1, 1.0, 3.0, 9.0]).view(-1, 1, 1, 1)
    return from_torch(model, torch.from_numpy(images(2)), "relu")


def folded(network: Network) -> Network:
    return PoolAfterActivation()(FoldBatchNorm()(network))


DATA = CalibrationData(images(48).astype(np.float64))
CHOICE = (3, "mse", 99.9)


def activations(network: Network) -> list[Activation]:
    return [node for node in network.nodes if isinstance(node, Activation)]


def test_factors_across_relus_change_no_answer():
    network = folded(relu_network())
    equal = EqualizeChannels(*CHOICE, DATA)(network)
    np.testing.assert_allclose(logits(equal, DATA.x), logits(network, DATA.x), rtol=1e-4, atol=1e-5)
    assert len(equal.nodes) == len(network.nodes)
    changed = [n.name for n in network.nodes if isinstance(n, Conv2d | Linear)]
    for name in changed:
        assert not np.allclose(equal.by_name[name].weight, network.by_name[name].weight)


def largest(network: Network, name: str) -> torch.Tensor:
    """Of each channel that is ever active."""
    values = walk.Walk(network, DATA.x)
    for node in values.stations():
        pass_station(values, node)
        if node.name == name:
            most = values.value(name).amax(0)
            return most[most > 0]
    raise AssertionError(name)


def test_channels_of_one_layer_need_one_ceiling_after_it():
    network = folded(relu_network())
    hidden = network.sources["head"][0]
    equal = EqualizeChannels(3, "max", 100, DATA)(network)
    before, after = largest(network, hidden), largest(equal, hidden)
    assert before.min() < 0.8 * before.max()
    assert after.min() > 0.99 * after.max()


def test_ceilings_are_the_largest_value_or_have_the_least_error():
    network = folded(relu_network())
    largest = ChooseCeilings(15, "max", 100, DATA)(network)
    assert all(node.levels == 15 for node in activations(largest))
    first = next(n for n in network.nodes if isinstance(n, Relu))
    conv = network.by_name[network.sources[first.name][0]]
    x = torch.from_numpy(DATA.x)
    z = nn.functional.conv2d(
        x, torch.from_numpy(conv.weight), torch.from_numpy(conv.bias), padding=1
    )
    a = z.clamp(min=0)
    assert largest.by_name[first.name].ceiling == pytest.approx(float(a.max()), rel=1e-5)

    def error(ceiling: float) -> float:
        step = ceiling / 3
        return float((((z / step + 0.5).floor().clamp(0, 3) * step - a) ** 2).mean())

    chosen = ChooseCeilings(*CHOICE, DATA)(network).by_name[first.name].ceiling
    assert chosen < float(a.max())
    assert error(chosen) <= 1.001 * min(error(float(a.max()) * k / 64) for k in range(1, 65))
    lower_ceiling = ChooseCeilings(3, "percentile", 90, DATA)(network).by_name[first.name].ceiling
    assert lower_ceiling == pytest.approx(float(a.quantile(0.9)), rel=0.02)


@given(low=st.floats(-10, 0), high=st.floats(0.01, 10), levels=st.integers(2, 255))
def test_a_grid_holds_zero_and_spans_the_values(low, high, levels):
    node = _on_grid("a", low, high, levels)
    step = node.ceiling / node.levels
    assert node.offset / step == pytest.approx(round(node.offset / step), abs=1e-6)
    assert node.shift == pytest.approx(0.5 - node.offset / step)
    assert node.offset <= low + step
    assert node.offset + node.ceiling >= high - step
    assert np.copysign(1, node.offset) == 1 or node.offset < 0


def means(network: Network, names: list[str], steps: int = 0) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    values = walk.Walk(network, DATA.x, steps, steps)
    for node in values.stations():
        pass_station(values, node, steps, steps)
        if node.name in names:
            found[node.name] = values.mean(node.name)
    return found


@pytest.mark.parametrize("steps", [0, 6])
def test_corrected_biases_give_the_means_of_the_original(steps):
    network = folded(relu_network())
    few = ChooseCeilings(6, "mse", 99.9, DATA)(network)
    corrected = CorrectBiases(steps, steps, 4, DATA, network)(few)
    names = [n.name for n in activations(few) if bias_holder(few, n.name)]
    assert len(names) == 4
    goal = means(network, names)
    before, after = means(few, names, steps), means(corrected, names, steps)
    error_before = sum(float((before[n] - goal[n]).abs().sum()) for n in names)
    error_after = sum(float((after[n] - goal[n]).abs().sum()) for n in names)
    assert error_after < 0.5 * error_before


def signed(name: str) -> Activation:
    return Activation(name, 2.0, 255, shift=128.5, offset=-128 * 2 / 255)


def integer_model(second_weights: bool) -> Network:
    """conv - signed - add - relu of 255 levels - average pool - 255 levels - linear - signed."""
    rng = np.random.default_rng(0)
    nodes = [
        Input("x", (2, 4, 4)),
        Conv2d("conv", rng.normal(size=(2, 2, 1, 1))),
        signed("conv_grid"),
        Conv2d("other", rng.normal(size=(2, 2, 1, 1))),
        Add("add"),
        Activation("relu", 2.0, 255),
        AvgPool2d("pool", (4, 4), (4, 4)),
        Activation("pool_grid", 2.0, 255),
        Flatten("flat"),
        Linear("head", rng.normal(size=(3, 2))),
        Output("y"),
    ]
    edges = [
        ("x", "conv"),
        ("conv", "conv_grid"),
        ("x", "other"),
        ("other", "add"),
        ("add", "relu"),
        ("relu", "pool"),
        ("pool", "pool_grid"),
        ("pool_grid", "flat"),
        ("flat", "head"),
        ("head", "y"),
    ]
    if second_weights:
        nodes.insert(3, Conv2d("between", rng.normal(size=(2, 2, 1, 1))))
        edges += [("conv_grid", "between"), ("between", "add")]
    else:
        edges += [("conv_grid", "add")]
    return Network("int8", tuple(nodes), tuple(edges))


def test_roundings_between_weights_and_sums_vanish():
    network = RemoveLevels(15)(integer_model(second_weights=False))
    assert not activations(network)
    assert network.by_name["relu"].cap == 2.0
    assert "pool_grid" not in network.by_name


def test_a_grid_with_negative_levels_between_weights_is_kept_and_gets_few_levels():
    network = RemoveLevels(15)(integer_model(second_weights=True))
    assert [n.name for n in activations(network)] == ["conv_grid"]
    data = CalibrationData(np.random.default_rng(0).normal(size=(20, 2, 4, 4)))
    node = ChooseCeilings(15, "mse", 99.9, data)(network).by_name["conv_grid"]
    assert (node.levels, node.offset < 0) == (15, True)
    equal = EqualizeChannels(15, "mse", 99.9, data)(network)
    np.testing.assert_allclose(logits(equal, data.x), logits(network, data.x), rtol=1e-4, atol=1e-5)


def test_few_levels_of_the_model_are_left_alone():
    network = folded(float_network(levels=3))
    found = few_levels(network, DATA, FewLevels(7))
    assert found.hash == network.hash


def test_the_walk_is_the_float_network_and_its_neurons_are_the_engine():
    network = folded(float_network(levels=3))
    x = images(200)
    expected = float_ann(network, x).logits
    found = logits(network, x).numpy()
    near = np.isclose(found, expected, rtol=1e-4, atol=1e-4).all(axis=1)
    assert near.mean() > 0.98  # float32 may round at a tie
    integer = convert(float_network(levels=3), mode="rate", weight_bits=16)
    for steps in (3, 7):
        trace = run(lower(integer), x, steps=steps)
        engine = trace.logits[:, -1] * integer.output.scale
        simulated = logits(network, x, steps, 3).numpy()
        near = np.isclose(simulated, engine, rtol=1e-2, atol=1e-2).all(axis=1)
        assert near.mean() > 0.8  # weights and biases of the engine are rounded
        assert (simulated.argmax(1) == trace.predictions).mean() > 0.95


def test_a_value_is_kept_until_the_branch_that_is_computed_last_has_read_it():
    rng = np.random.default_rng(0)
    convs = [Conv2d(name, rng.normal(size=(2, 2, 1, 1))) for name in ("a", "shortcut", "b", "c")]
    nodes = [Input("x", (2, 4, 4)), convs[0], Relu("ra"), *convs[1:3], Relu("rb"), convs[3]]
    nodes += [Add("add"), Relu("rc"), Flatten("flat"), Linear("head", rng.normal(size=(3, 32)))]
    edges = [("x", "a"), ("a", "ra"), ("ra", "shortcut"), ("ra", "b"), ("b", "rb"), ("rb", "c")]
    edges += [("c", "add"), ("shortcut", "add"), ("add", "rc"), ("rc", "flat"), ("flat", "head")]
    network = Network("branches", (*nodes, Output("y")), (*edges, ("head", "y")))
    x = rng.normal(size=(5, 2, 4, 4))
    weight = {n.name: n.weight.squeeze() for n in nodes if isinstance(n, Conv2d | Linear)}

    def mix(name, value):
        return np.einsum("oi,nihw->nohw", weight[name], value)

    first = np.maximum(mix("a", x), 0)
    second = mix("c", np.maximum(mix("b", first), 0)) + mix("shortcut", first)
    expected = np.maximum(second, 0).reshape(5, -1) @ weight["head"].T
    np.testing.assert_allclose(logits(network, x), expected, rtol=1e-4, atol=1e-5)


def test_large_values_lie_in_files_and_chunks_do_not_matter(monkeypatch):
    network = folded(relu_network())
    few = ChooseCeilings(*CHOICE, DATA)(network)
    before = logits(few, DATA.x, 4, 3)
    monkeypatch.setattr(walk, "FILE_BYTES", 1)
    monkeypatch.setattr(walk, "CHUNK_BYTES", 1)
    assert torch.allclose(logits(few, DATA.x, 4, 3), before, atol=1e-5)


@dataclass(frozen=True)
class Spoil(Pass):
    """A correction that makes everything worse."""

    name: ClassVar[str] = "spoil"

    def rewrite(self, network: Network) -> Network:
        head = network.by_name["head"]
        worse = replace(head, bias=head.bias + np.array([1e6, 0, 0]))
        return network.rewrite([worse if n is head else n for n in network.nodes])


def test_a_correction_that_spoils_held_out_answers_is_undone():
    network = folded(relu_network())
    right = logits(network, DATA.x).argmax(1).numpy()
    keep = np.flatnonzero(right != 0)
    assert len(keep) >= 10
    trial = _Trial(network, CalibrationData(DATA.x[keep]), 0)
    found = trial.kept(network, [Spoil()])
    assert found.hash == network.hash
    told = found.history[-1]
    assert told.startswith("undo{spoil held-out-before=")
    assert " right-before=1.0000 right-after=0.0000 data=" in told
    assert trial.kept(network, []).history[-1].startswith("keep{")


@dataclass(frozen=True)
class Sharpen(Pass):
    """Multiplies the logits: no answer changes, but each becomes more or less sure."""

    factor: float
    name: ClassVar[str] = "sharpen"

    def rewrite(self, network: Network) -> Network:
        head = network.by_name["head"]
        scaled = replace(head, weight=head.weight * self.factor, bias=head.bias * self.factor)
        return network.rewrite([scaled if n is head else n for n in network.nodes])


def test_a_correction_is_judged_by_probabilities_where_no_answer_changes():
    network = folded(relu_network())
    trial = _Trial(network, DATA, 0)
    for factor in (0.99, 1.01):
        off = Sharpen(factor)(network)
        undone, kept = (
            trial.kept(network, [Sharpen(factor)]),
            trial.kept(off, [Sharpen(1 / factor)]),
        )
        assert undone.hash == network.hash != off.hash != kept.hash
        assert undone.history[-1].startswith("undo{")
        assert kept.history[-1].startswith("keep{")
        for told in (undone.history[-1], kept.history[-1]):
            shares = dict(re.findall(r"(right-before|right-after)=([\d.]+)", told))
            assert shares == {"right-before": "1.0000", "right-after": "1.0000"}


def test_with_labels_it_is_the_mean_probability_of_the_right_answer():
    network = folded(relu_network())
    labels = np.arange(len(DATA.x)) % 3
    overlap, share = _Trial(network, CalibrationData(DATA.x, labels), 0).score(network)
    z = logits(network, DATA.x).double().numpy()
    p = np.exp(z - z.max(1, keepdims=True))
    p = (p / p.sum(1, keepdims=True))[np.arange(len(z)), labels]
    assert overlap == pytest.approx(p.mean())
    assert share == (z.argmax(1) == labels).mean()


class DigitsNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(8 * 4 * 4, 10)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        x = torch.relu(self.conv2(x) + x)
        return self.head(torch.flatten(self.pool(x), 1))


@pytest.fixture(scope="module")
def digits():
    """A float network with ReLUs, calibration samples, test samples with labels."""
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
    torch.manual_seed(0)
    model = DigitsNet()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(6):
        for rows in torch.randperm(1200).split(64):
            loss = nn.functional.cross_entropy(
                model(torch.from_numpy(x[rows])), torch.from_numpy(y[rows])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network = from_torch(model.eval(), torch.from_numpy(x[:2]), "digits")
    return network, x[:200], x[1200:], y[1200:]


def test_tuned_weights_come_nearer_to_the_original_and_zeros_stay(digits):
    network, calibration, _, _ = digits
    conv = network.by_name["conv2"]
    weight = conv.weight.copy()
    weight[:, 0] = 0
    network = folded(network).rewrite(
        [replace(conv, weight=weight) if n.name == "conv2" else n for n in folded(network).nodes]
    )
    fit, held_out = CalibrationData(calibration.astype(np.float64)).split(0)
    few = ChooseCeilings(*CHOICE, fit)(network)
    tune = TuneWeights(5, 0.01, 16, 0, fit, held_out, network)
    tuned = tune(few)
    assert tuned.hash == tune(few).hash  # deterministic
    assert not tuned.by_name["conv2"].weight[:, 0].any()
    goal = logits(network, held_out.x)
    errors = [float((logits(n, held_out.x) - goal).square().mean()) for n in (few, tuned)]
    assert errors[1] < 0.8 * errors[0]


def accuracy(network: Network, x, y) -> float:
    return float((integer_ann(network, x).logits.argmax(1) == y).mean())


def test_few_levels_keep_the_accuracy_of_real_digits(digits):
    network, calibration, x, y = digits
    original = float((logits(folded(network), x).argmax(1).numpy() == y).mean())
    assert original > 0.88
    for levels, drop in ((15, 0.01), (3, 0.03)):
        snn = convert(network, calibration, levels=levels)
        assert snn.window == levels
        assert accuracy(snn, x, y) >= original - drop
    naive = convert(
        network, calibration, levels=2, thresholds="max", per_channel=False, calibrate="none"
    )
    best = convert(network, calibration, levels=2, calibrate="advanced")
    assert accuracy(best, x, y) > accuracy(naive, x, y)
    certify(lower(best), x[:20])
    assert any(
        entry.startswith("tune-weights{") or "{tune-weights{" in entry for entry in best.history
    )


def test_rate_mode_is_corrected_for_its_steps(digits):
    network, calibration, x, y = digits
    plain = convert(network, calibration, levels=4, mode="rate", calibrate="none")
    light = convert(network, calibration, levels=4, mode="rate")
    assert any("correct-biases{steps=4 window=4" in entry for entry in light.history)
    found = [run(lower(n), x, record=False).accuracy(y) for n in (plain, light)]
    assert found[1] >= found[0] - 0.005


def test_conversion_is_deterministic_and_tells_its_data(digits):
    network, calibration, _, _ = digits
    one, two = (convert(network, calibration, levels=7) for _ in "12")
    assert one.hash == two.hash
    assert one.history == two.history
    assert any(entry.startswith("choose-ceilings{levels=7 thresholds=mse") for entry in one.history)
    other = convert(network, calibration[:100], levels=7)
    assert other.history != one.history


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": 0}, "levels"),
        ({"levels": 1 << 16}, "levels"),
        ({"levels": 7, "percentile": 20.0}, "percentile"),
        ({"levels": 7, "thresholds": "best"}, "thresholds"),
        ({"levels": 7, "calibrate": "fully"}, "calibrate"),
    ],
)
def test_options_out_of_range_are_refused(digits, options, words):
    with pytest.raises(InputError, match=words):
        convert(digits[0], digits[1], **options)


def test_what_is_missing_is_named(digits):
    network, calibration, _, _ = digits
    with pytest.raises(UnsupportedModelError, match=r"2 real-valued ReLUs: relu.*give levels"):
        convert(network, calibration)
    with pytest.raises(InputError, match="given without levels"):
        convert(float_network(), calibrate="advanced")
    with pytest.raises(InputError, match="calibration samples"):
        convert(network, levels=7)
    with pytest.raises(DataError, match="9 samples, at least 10"):
        convert(network, calibration[:9], levels=7)
    with pytest.raises(DataError, match="labels"):
        convert(network, calibration, levels=7, labels=[0, 1])
