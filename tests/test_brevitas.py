"""Modules of Brevitas are read by way of its own export, and left as they were."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import numpy as np
import pytest
import torch
from float_walk import float_walk
from torch import nn

from snndeploy import convert, from_torch
from snndeploy.errors import InputError, UnsupportedModelError
from snndeploy.frontends.brevitas import has_brevitas
from snndeploy.nodes import Activation, Add, BatchNorm, Relu

PACKAGES = ("brevitas", "onnx", "onnxoptimizer")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
    pytest.mark.filterwarnings("ignore"),  # Brevitas' own
]


def brevitas(name: str):
    return importlib.import_module(f"brevitas.{name}")


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))


def trained(model: nn.Module) -> nn.Module:
    """With scales and statistics that have seen data."""
    torch.manual_seed(1)
    for seed in range(4):
        model.train()(images(16, seed))
    return model.eval()


def straight() -> nn.Module:
    """Batch-norm, 4-bit ReLUs, a max-pool and 4-bit weights; a signed 8-bit input."""
    qnn, act = brevitas("nn"), brevitas("quant").Int8ActPerTensorFloat
    torch.manual_seed(0)
    return nn.Sequential(
        qnn.QuantIdentity(act_quant=act, return_quant_tensor=True),
        qnn.QuantConv2d(1, 4, 3, padding=1, weight_bit_width=4),
        nn.BatchNorm2d(4),
        qnn.QuantReLU(bit_width=4, return_quant_tensor=True),
        nn.MaxPool2d(2),
        qnn.QuantConv2d(4, 4, 3, padding=1, weight_bit_width=3, bias=False),
        qnn.QuantReLU(bit_width=2),
        nn.Flatten(),
        qnn.QuantLinear(64, 5, bias=True, weight_bit_width=8),
    )


class Residual(nn.Module):
    """A sum of two branches, one of them with negative values."""

    def __init__(self) -> None:
        super().__init__()
        qnn = brevitas("nn")
        torch.manual_seed(0)
        self.grid = qnn.QuantIdentity(bit_width=8)
        self.first = qnn.QuantConv2d(1, 4, 3, padding=1, weight_bit_width=4)
        self.act = qnn.QuantReLU(bit_width=4)
        self.second = qnn.QuantConv2d(4, 4, 3, padding=1, weight_bit_width=4)
        self.signed = qnn.QuantIdentity(bit_width=4)
        self.last = qnn.QuantReLU(bit_width=4)
        self.head = qnn.QuantLinear(256, 3, bias=True, weight_bit_width=4)

    def forward(self, x):
        x = self.act(self.first(self.grid(x)))
        x = self.last(self.signed(self.second(x)) + x)
        return self.head(x.flatten(1))


@pytest.mark.parametrize("make", [straight, Residual])
def test_every_value_is_that_of_brevitas(make):
    model, x = trained(make()), images(64, 9)
    network = from_torch(model, x, "quantized")
    assert network.name == "quantized"
    assert Relu not in {type(node) for node in network.nodes}
    kinds = {BatchNorm, Activation} if make is straight else {Add, Activation}
    assert kinds <= {type(node) for node in network.nodes}
    found = float_walk(network, x.double().numpy())[network.output.name]
    with torch.no_grad():
        expected = model(x).numpy()
    # Brevitas computes in float32: a sum may fall on the other side of a tie.
    close = np.abs(found - expected).max(axis=1) < 1e-5
    assert close.mean() > 0.9


def test_the_levels_are_those_of_the_bits():
    network = from_torch(trained(straight()), images(2))
    assert [n.levels for n in network.nodes if isinstance(n, Activation)] == [15, 3]
    assert (network.input.grid.low, network.input.grid.high) == (-128, 127)
    assert convert(network).window == 15


def test_the_module_is_left_as_it_came():
    model, x = trained(straight()), images(4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model(x)
    model[2].train()
    from_torch(model, x)
    assert [part.training for part in model] == [False, False, True, *[False] * 6]
    model.eval()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


def test_only_brevitas_is_taken_for_brevitas():
    assert has_brevitas(nn.Sequential(nn.ReLU(), straight()))
    assert not has_brevitas(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)))


def test_what_the_export_cannot_say_is_an_error():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = brevitas("nn").QuantReLU()

        def forward(self, x):
            raise ValueError("too wide")

    with pytest.raises(UnsupportedModelError, match=r"model 'model': .*too wide"):
        from_torch(Branching(), images(2))


def test_operators_that_cannot_be_spiking_are_named():
    qnn = brevitas("nn")
    model = nn.Sequential(qnn.QuantReLU(), nn.Flatten(), qnn.QuantLinear(64, 2), nn.GELU())
    with pytest.raises(UnsupportedModelError, match=r"model .model.: .*cannot become spiking"):
        from_torch(model.eval(), images(2))


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "brevitas.export", None)
    with pytest.raises(InputError, match=r"pip install 'snndeploy\[brevitas\]'"):
        from_torch(straight(), images(2))
