"""Quantized layers and the recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from snndeploy.training import QCFS, QuantizedInput, Recipe, accuracy, train


def test_qcfs_has_levels_plus_one_values_and_rounds_to_the_nearest():
    layer = QCFS(levels=3, ceiling=1.5)
    x = torch.tensor([-1.0, 0.24, 0.26, 0.74, 0.76, 1.2, 1.26, 9.0])
    expected = [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5]
    torch.testing.assert_close(layer(x).detach(), torch.tensor(expected))


def test_the_gradient_passes_inside_and_stops_outside():
    layer = QCFS(levels=3, ceiling=1.5)
    x = torch.tensor([-1.0, 0.6, 2.0], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    # d y / d ceiling: 0 below, (y - x) / ceiling inside, 1 above.
    assert layer.ceiling.grad.item() == pytest.approx((0.5 - 0.6) / 1.5 + 1.0)


def test_the_input_is_put_on_its_grid():
    layer = QuantizedInput(scale=0.25, low=0, high=4)
    x = torch.tensor([-1.0, 0.1, 0.13, 0.6, 3.0])
    assert layer(x).tolist() == [0.0, 0.0, 0.25, 0.5, 1.0]


@pytest.mark.parametrize("make", [lambda: QCFS(0), lambda: QuantizedInput(0.0, 0, 4)])
def test_impossible_grids_are_refused(make):
    with pytest.raises(ValueError, match=r"expected|not a grid"):
        make()


def _blobs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count)
    x = rng.normal(size=(count, 2)) * 0.3 + np.array([[0, 0], [2, 0], [0, 2]])[labels]
    return torch.from_numpy(x).float(), torch.from_numpy(labels)


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), QCFS(3), nn.Linear(16, 3))


def test_the_recipe_learns_and_is_reproducible():
    x, y = _blobs(300)
    told: list[tuple[int, int]] = []
    weights = []
    for _ in range(2):
        model = _model()
        train(model, x, y, Recipe(epochs=10), lambda done, total: told.append((done, total)))
        assert accuracy(model, x, y) > 0.95
        assert not model.training
        weights.append(model[0].weight.detach().clone())
    assert told[:10] == [(i, 10) for i in range(1, 11)]
    assert torch.equal(*weights)
    assert model[2].ceiling.item() != 2.0  # the ceiling is trained, too
