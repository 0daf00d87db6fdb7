"""Weighted operators: convolutions, dense layers, batch-norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from snndeploy.frontends.aten.builder import Builder, pair
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import BatchNorm, Conv2d, Linear, Padding, Pair


def conv(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> None:
    """Convolutions of signals and images."""
    dims, w = b.spatial(fx, x), b.tensor(weight)
    assert w is not None
    w = w.reshape(*w.shape[:2], *(1,) * (2 - dims), *w.shape[2:])
    strides, dilations = pair(stride, dims, 1), pair(dilation, dims, 1)
    if isinstance(padding, str):
        pads: Padding = _named_padding(padding, w.shape[2:], strides, dilations)
    else:
        pads = pair(padding, dims, 0)
    pads, offsets = b.around(x, pads), b.tensor(bias)
    b.put(fx, lambda name: Conv2d(name, w, offsets, strides, pads, dilations, groups), b.value(x))


def _named_padding(kind: str, kernel: tuple[int, ...], stride: Pair, dilation: Pair) -> Padding:
    """`same` puts what is odd behind the last pixel."""
    if kind == "valid":
        return 0, 0
    if stride != (1, 1):
        raise Unsupported("padding 'same' goes with a stride of 1")
    down, right = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    return down // 2, right // 2, -(-down // 2), -(-right // 2)


def linear(b: Builder, fx: torch.fx.Node, x: Any, weight: Any, bias: Any = None) -> None:
    """Dense layers."""
    w = b.tensor(weight)
    assert w is not None
    b.add(fx, lambda name: Linear(name, w, b.tensor(bias)), x)


def batch_norm(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    training: bool = False,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
    *_: Any,
) -> None:
    """Batch-norm with frozen statistics."""
    m, v = b.tensor(mean), b.tensor(variance)
    if training or m is None or v is None:
        raise Unsupported("needs frozen statistics: export the model in eval mode")
    g, s = b.tensor(gamma), b.tensor(beta)
    ones, zeros = np.ones_like(m), np.zeros_like(m)
    b.add(
        fx,
        lambda name: BatchNorm(
            name, m, v, ones if g is None else g, zeros if s is None else s, epsilon
        ),
        x,
    )
