"""Training at the steps of the spiking network: the float model counts as the neurons do."""

from __future__ import annotations

import numpy as np
import torch
from models import images, small_net
from torch import nn

from snndeploy import convert, from_torch, lower, run
from snndeploy.training import QCFS
from snndeploy.training.moments import Moment, at, logits_by_step

LEVELS = 3


def test_the_logits_of_each_step_are_those_of_the_spiking_network():
    samples = images(64)
    for seed in range(4):
        model = small_net(seed, LEVELS)
        network = convert(from_torch(model, torch.from_numpy(samples[:2]), "small"), weight_bits=16)
        trace = run(lower(network), samples, steps=6)
        steps = trace.logits.shape[1]
        with torch.inference_mode():
            floats = logits_by_step(model, torch.from_numpy(samples), steps)
        injected = np.minimum(np.arange(1, steps + 1), LEVELS) / LEVELS
        integers = trace.logits * network.output.scale / injected[:, None]
        spread = np.ptp(integers)
        near = np.abs(torch.stack(floats, 1).numpy() - integers) < 0.01 * spread
        # Rounding moves few counts: a neuron that sums to about its threshold.
        assert near.all(axis=2).mean() > 0.9


def test_the_last_step_of_the_window_is_the_plain_activation():
    layer, x = QCFS(LEVELS, 1.5), torch.linspace(-1, 3, 101)
    plain = layer(x)
    with at(layer, Moment(LEVELS)):
        torch.testing.assert_close(layer(x), plain)
    assert layer.moment is None


def test_after_one_step_a_neuron_has_counted_once_at_most():
    layer = QCFS(LEVELS, 1.5)
    with at(layer, Moment(1)):
        rates = layer(torch.linspace(-1, 3, 101))
    assert set(rates.tolist()) == {0.0, 1.5}


def test_a_neuron_that_remembers_moves_one_count_a_step():
    model = nn.Sequential(QCFS(LEVELS, 3.0))
    moment = Moment(remembers=True)
    counts = []
    with at(model, moment), torch.inference_mode():
        # A third of the input arrives a step; its value changes after the first.
        for step, value in ((1, 0.0), (2, 4.0), (3, 4.0), (4, -4.0), (5, -4.0)):
            moment.step = torch.tensor(float(step))
            counts.append(model(torch.tensor([value])).item() * min(step, LEVELS) / LEVELS)
    assert counts == [0.0, 1.0, 2.0, 1.0, 0.0]


def test_the_gradient_reaches_weights_through_all_steps():
    model = small_net()
    found = logits_by_step(model, torch.from_numpy(images(4)), 3)
    torch.stack(found).square().sum().backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
    assert model.conv1.weight.grad.abs().sum() > 0


def test_at_the_end_of_the_window_the_gradient_is_the_plain_one():
    x = torch.linspace(-1, 3, 101)
    gradients = []
    for moment in (None, Moment(LEVELS)):
        layer, values = QCFS(LEVELS, 1.5), x.clone().requires_grad_()
        layer.moment = moment
        (layer(values) * torch.arange(101)).sum().backward()
        gradients.append((values.grad, layer.ceiling.grad))
    torch.testing.assert_close(gradients[0], gradients[1])
