"""Signals (N, C, W) are images of height one, from the frontend to every backend and chip."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner

from snndeploy import (
    certify,
    convert,
    estimate,
    estimate_ann,
    from_torch,
    integer_ann,
    load,
    lower,
    run,
    save,
)
from snndeploy.cli.commands import app
from snndeploy.errors import DataError, UnsupportedModelError
from snndeploy.hardware import hardware
from snndeploy.measure.routing import core_of
from snndeploy.network import Network
from snndeploy.nodes import AvgPool2d, BatchNorm, Conv2d, MaxPool2d
from snndeploy.passes.partition import try_place
from snndeploy.training import QCFS, QuantizedInput
from snndeploy_backends.lava.backend import Lava

MISSING = Lava().status().missing


class SignalNet(nn.Module):
    """Every operator on signals: strided, dilated, depthwise; sums of three; all kinds of pool."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = QuantizedInput(1 / 16, -16, 16)
        self.conv1, self.norm1 = nn.Conv1d(2, 6, 5, stride=2, padding=2), nn.BatchNorm1d(6)
        self.conv2 = nn.Conv1d(6, 6, 3, padding=2, dilation=2, groups=6)
        self.conv3 = nn.Conv1d(6, 6, 3, padding="same", bias=False)
        self.conv4 = nn.Conv2d(6, 8, (1, 2))
        self.act1, self.act2, self.act3 = QCFS(7, 1.1), QCFS(3, 0.9), QCFS(7, 1.3)
        self.pool, self.average = nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(2)
        self.whole, self.drop = nn.AdaptiveAvgPool1d(1), nn.Dropout1d(0.1)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.pool(self.act1(self.norm1(self.conv1(self.grid(x)))))
        x = self.act2(sum([self.conv2(x), self.drop(x), self.conv3(x)]))
        x = self.conv4(self.average(x).unsqueeze(2)).squeeze(2)
        return self.head(self.whole(self.act3(x)).squeeze(-1))


def net() -> SignalNet:
    torch.manual_seed(2)
    model = SignalNet().eval()
    model.norm1.running_var.fill_(0.4)
    model.norm1.weight.data.copy_(torch.rand(6) + 0.5)
    return model


def signals(count: int, width: int = 41, seed: int = 0) -> np.ndarray:
    """Float32 signals (count, 2, width) on SignalNet's grid."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-16, 17, (count, 2, width)) / 16).astype(np.float32)


def float_network(width: int = 41) -> Network:
    return from_torch(net(), torch.from_numpy(signals(2, width)), "signals")


def spiking(mode: str = "exact") -> Network:
    return convert(float_network(), mode=mode)


def test_operators_on_signals_become_those_on_images():
    network = float_network()
    by_name, shapes = network.by_name, network.shapes
    assert network.input.shape == (2, 1, 41)
    conv = by_name["conv2"]
    assert isinstance(conv, Conv2d)
    assert conv.weight.shape == (6, 1, 1, 3)
    assert (conv.stride, conv.padding, conv.dilation) == ((1, 1), (0, 2), (1, 2))
    assert isinstance(by_name["norm1"], BatchNorm)
    pool, average, whole = by_name["pool"], by_name["average"], by_name["whole"]
    assert isinstance(pool, MaxPool2d)
    assert (pool.kernel, pool.stride, pool.padding) == ((1, 3), (1, 2), (0, 1))
    assert isinstance(average, AvgPool2d)
    assert (average.kernel, average.stride) == ((1, 2), (1, 2))
    assert isinstance(whole, AvgPool2d)
    assert shapes[whole.name] == (8, 1, 1)
    assert shapes["head"] == (3,)


def test_the_integer_ann_means_what_the_model_means():
    model, x = net(), signals(100)
    network = convert(float_network(), weight_bits=16)
    found = integer_ann(network, x).logits * network.output.scale
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    error = np.abs(found - expected).max(axis=1) / np.abs(expected).max()
    assert np.median(error) < 2e-3


def test_the_certificate_holds():
    found = certify(lower(spiking()), signals(20))
    assert found.settle_max <= found.settle_bound


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_reference_and_norse_have_the_spikes_of_the_judge(mode):
    program, x = lower(spiking(mode)), signals(6)
    judge = run(program, x, backend="judge")
    assert judge.total_events
    for backend in ("reference", "norse"):
        judge.assert_same_spikes(run(program, x, backend=backend))


@pytest.mark.lava
@pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")
def test_lava_has_the_spikes_of_the_judge():
    program, x = lower(spiking(), "loihi1"), signals(3)
    run(program, x, backend="judge").assert_same_spikes(run(program, x, backend="lava"))


def test_a_file_loses_nothing(tmp_path):
    save(spiking(), tmp_path / "signals.nir")
    again = load(tmp_path / "signals.nir")
    assert again.hash == spiking().hash
    assert again.input.shape == (2, 1, 41)


def test_energy_and_the_baseline_of_a_placed_network():
    program, x = lower(spiking(), "loihi1"), signals(6)
    trace = run(program, x)
    assert estimate(program, trace).energy_pj.nominal > 0
    ann = hardware("digital_int8_45nm")
    assert estimate_ann(program.network, ann, trace).energy_pj.nominal > 0


def test_a_long_signal_is_cut_along_its_width():
    program, _ = try_place(convert(float_network(width=1600)), hardware("loihi1"))
    first = program.layers[1]
    assert first.shape == (6, 1, 800)
    cores = core_of(program, first)
    assert (cores == cores[:1]).all()
    assert (np.diff(cores[0, 0]) >= 0).all()
    # 6 channels of 800 neurons of 3 compartments: at least 15 cores of 1024.
    assert 15 <= len(np.unique(cores)) <= 16


def test_samples_may_have_a_height_or_none():
    network, x = spiking(), signals(4)
    plain = run(lower(network), x)
    plain.assert_same_spikes(run(lower(network), x[:, :, None]))
    with pytest.raises(DataError, match=r"takes \(N, 2, 1, 41\)"):
        run(lower(network), x[:, :, None, None])


def test_calibration_data_has_no_height_either():
    model = nn.Sequential(nn.Conv1d(2, 3, 3), QCFS(7), nn.Flatten(), nn.Linear(3 * 14, 2))
    x = signals(8, 16)
    network = from_torch(model, torch.from_numpy(x))
    assert convert(network, x).hash == convert(network, x[:, :, None]).hash
    certify(lower(convert(network, x)), x)


def test_the_command_line_takes_signals(tmp_path):
    exported = torch.export.export(net(), (torch.from_numpy(signals(2)),))
    torch.export.save(exported, tmp_path / "m.pt2")
    np.savez(tmp_path / "x.npz", x=signals(6), y=np.arange(6) % 3)

    def snndeploy(*arguments: str) -> str:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    model, data = tmp_path / "m.nir", tmp_path / "x.npz"
    snndeploy("convert", tmp_path / "m.pt2", "-o", model)
    snndeploy("certify", model, "--data", data, "--profile", "loihi1")
    found = json.loads(snndeploy("run", model, "--data", data, "--json"))
    assert found["samples"] == 6


def head(features: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), QCFS(7), nn.Linear(features, 2))


class Unbatched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 2, 3), head(2)

    def forward(self, x):
        return self.head(self.conv(x))


class UnbatchedImage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 2, 3), head(4)

    def forward(self, x):
        return self.head(self.conv(x))


class FlatToSignal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(1, 2, 3), head(12)

    def forward(self, x):
        return self.head(self.conv(x.unsqueeze(1)))


class ColumnMeans(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = head(2 * 4)

    def forward(self, x):
        return self.head(x.mean(3))


class SampleMeans(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = head(8)

    def forward(self, x):
        return self.head(x.mean(1))


class Uneven(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = head(6)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool1d(x, 3))


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [
        (Unbatched, (2, 4), r"works on signals \(N, C, W\), not on \(2, 4\)"),
        (UnbatchedImage, (2, 4, 4), r"works on images \(N, C, H, W\), not on \(2, 4, 4\)"),
        (FlatToSignal, (2, 8), r"reshapes \(2, 8\) to \(2, 1, 8\)"),
        (ColumnMeans, (2, 2, 4, 5), "use keepdim=True"),
        (SampleMeans, (2, 2, 8), "mean over height, width or both"),
        (Uneven, (2, 2, 8), r"output \(1, 3\) does not divide the input \(1, 8\)"),
    ],
)
def test_what_is_no_signal_is_refused(kind, shape, words):
    with pytest.raises(UnsupportedModelError, match=words):
        from_torch(kind(), torch.rand(shape))


class RowMeans(nn.Module):
    """The mean over the height of an image is a signal; that over its width is kept as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.conv, self.head = QCFS(15), nn.Conv1d(2, 2, 3), nn.Linear(6 + 8, 2)

    def forward(self, x):
        x = self.act(x)
        rows = self.act(self.conv(x.mean(2)))
        return self.head(torch.cat([rows.flatten(1), x.mean(-1, keepdim=True).flatten(1)], 1))


def test_means_along_one_side():
    torch.manual_seed(0)
    x = np.random.default_rng(0).random((50, 2, 4, 5)).astype(np.float32)
    model = RowMeans()
    network = convert(from_torch(model, torch.from_numpy(x[:2])), x, weight_bits=16)
    certify(lower(network), x)
    found = integer_ann(network, x).logits * network.output.scale
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    error = np.abs(found - expected).max(axis=1) / np.abs(expected).max()
    assert np.median(error) < 1e-2
