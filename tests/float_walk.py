"""Every node of a float network in float64, as its docstring says: the judge of the frontends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Output,
    Relu,
)


@torch.inference_mode()
def float_walk(
    network: Network, x: np.ndarray, known: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """The value of each node, (N, *shape), for samples in the model's units, on no grid yet.

    Args:
        network: of any float nodes.
        x: (N, *shape).
        known: what the nodes behind are given instead of a node's own value.
    """
    values: dict[str, torch.Tensor] = {}
    given = {name: torch.from_numpy(value) for name, value in (known or {}).items()}
    for node in network.nodes:
        terms = [given.get(name, values[name]) for name in network.sources[node.name]]
        values[node.name] = _value(node, terms, x)
    return {name: value.numpy() for name, value in values.items()}


def _value(node, terms, x) -> torch.Tensor:
    if isinstance(node, Input):
        value = torch.from_numpy(np.array(x, np.float64)).reshape(-1, *node.shape)
        if node.grid is None:
            return value
        counts = (value / node.grid.scale).round().clamp(node.grid.low, node.grid.high)
        return counts * node.grid.scale
    first = terms[0]
    if isinstance(node, Conv2d):
        weight, bias = _tensor(node.weight), None if node.bias is None else _tensor(node.bias)
        padded = _padded(node, first, 0.0)
        return F.conv2d(padded, weight, bias, node.stride, 0, node.dilation, node.groups)
    if isinstance(node, Linear):
        bias = None if node.bias is None else _tensor(node.bias)
        return F.linear(first, _tensor(node.weight), bias)
    if isinstance(node, BatchNorm):
        shape = (1, -1, *(1,) * (first.ndim - 2))
        gain = node.gamma / np.sqrt(node.variance + node.epsilon)
        shift = node.beta - node.mean * gain
        return first * _tensor(gain).reshape(shape) + _tensor(shift).reshape(shape)
    if isinstance(node, MaxPool2d):
        return F.max_pool2d(_padded(node, first, -torch.inf), node.kernel, node.stride)
    if isinstance(node, AvgPool2d):
        return F.avg_pool2d(_padded(node, first, 0.0), node.kernel, node.stride)
    if isinstance(node, Activation):
        s = node.ceiling / node.levels
        return node.offset + s * (first / s + node.shift).floor().clamp(0, node.levels)
    if isinstance(node, Relu):
        return first.clamp(0, node.cap)
    if isinstance(node, Add):
        return torch.stack(terms).sum(0)
    if isinstance(node, Concat):
        return torch.cat(terms, 1)
    if isinstance(node, Flatten):
        return first.flatten(1)
    assert isinstance(node, Output), node
    return first


def _padded(node, x: torch.Tensor, fill: float) -> torch.Tensor:
    sides = node.padding if len(node.padding) == 4 else (*node.padding, *node.padding)
    top, left, bottom, right = sides
    return F.pad(x, (left, right, top, bottom), value=fill)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float64))
