"""What Lava's own processes can hold: a chain of `Conv` or `Dense`, each in front of a `LIF`.

lava-nc 0.10.0 runs these in fixed point, and lava-dl 0.6.0 (netx) builds them from a file. Read in
their source, in our units (Lava counts membranes, thresholds and biases in 1/64 of them):

- A LIF fires at `v > vth`, strictly, so `vth = theta - 1`; then `v = 0`. One `vth` a layer, and v
  starts at 0. The current of a step is forgotten in the next (`du` 4095), v is not (`dv` 0).
- A current beyond +-131,071 wraps around, a membrane saturates there.
- The same bias is added at each step. Its mantissa has 13 bits.
- `Dense` has 8-bit weights; `Conv` ignores its weight exponent, so that weights are plain bytes.
- Each layer has one source, the layer before it. There are no pools; the sum pools that an
  average pool leaves are folded into the weights behind them where that is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.layers import Layer, layers
from snndeploy.linear_ops import apply_all
from snndeploy.network import Network, require_integer
from snndeploy.nirfile.uneven import WrittenOut, padded_record
from snndeploy.nodes import (
    Conv2d,
    Flatten,
    Linear,
    Neuron,
    Node,
    Output,
    Pair,
    Shape,
    SumPool2d,
)
from snndeploy.numerics import Int64Array
from snndeploy.ranges import ranges

STATE = (1 << 17) - 1
"""The largest membrane, current and threshold, in our units."""

WEIGHT = 127
BIAS_BITS = 13
MOST_GEOMETRY = 127
"""Lava holds strides, padding, dilation and groups in signed bytes."""

MOST_FOLDED = 1 << 24
"""Weights of a dense layer into which a pool is folded."""

Reason: TypeAlias = tuple[str, str]
"""What is wrong, and what to do."""

_HARD = "convert with mode rate and reset hard"


@dataclass(frozen=True, eq=False)
class StockLayer:
    """A layer of neurons, or the readout, on stock processes.

    Attributes:
        kind: whether its synapses are a `Conv` or a `Dense`.
        source: the shape of the layer before it, (C, H, W) or (F,).
        shape: of its neurons.
        weight: int64, |w| <= 127: (C_out, C_in / groups, K_h, K_w) to be correlated with the
            source, or (F_out, F_in).
        bias: int64, one a channel (first axis of `shape`): what each step adds.
        vth: it fires above this; the readout is never above its own.
        stride, padding, dilation: along height and width.
    """

    name: str
    kind: Literal["conv", "dense"]
    source: Shape
    shape: Shape
    weight: Int64Array
    bias: Int64Array
    vth: int
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


def stock_layers(network: Network, steps: int | None = None) -> tuple[StockLayer, ...]:
    """The network on stock processes, the readout last.

    Args:
        network: an integer network.
        steps: that a sample runs, for which no membrane may overflow; default: the window.

    Raises:
        UnsupportedModelError: the network is a float network, or stock processes cannot hold it;
            lists every layer that they cannot hold, with the reasons and what to do.
    """
    require_integer(network)
    view = layers(network)
    bounds = {name: bound.magnitude for name, bound in ranges(network, steps).items()}
    duration = network.window if steps is None else steps
    problems = [f"\n  network: {why}; {cure}" for why, cure in _network_reasons(network)]
    found: list[StockLayer] = []
    for before, layer in pairwise(view):
        op, reasons = _synapses(layer, before)
        reasons += list(_neuron_reasons(layer, network.window))
        if bounds.get(layer.name, 0) > STATE:
            reasons.append(
                (
                    f"a current or membrane can reach {bounds[layer.name]:,} within {duration} "
                    f"steps, Lava's hold {STATE:,}",
                    "convert with fewer weight bits or a coarser input grid, or run fewer steps",
                )
            )
        problems += [f"\n  layer '{layer.name}': {why}; {cure}" for why, cure in reasons]
        if op is not None and not problems:
            found.append(_layer(layer, before, op, network.window))
    if problems:
        raise UnsupportedModelError(
            f"Lava's own processes cannot hold it, {len(problems)} reason(s):{''.join(problems)}",
            where=f"network '{network.name}'",
        )
    return tuple(found)


def _network_reasons(network: Network) -> Iterator[Reason]:
    if network.mode != "rate" or network.reset != "hard":
        yield f"{network.mode} mode with {network.reset} reset; a LIF resets to 0", _HARD


def _synapses(layer: Layer, before: Layer) -> tuple[Conv2d | Linear | None, list[Reason]]:
    """The one convolution or dense node that does all that lies in front of a layer."""
    if layer.kind == "max_pool":
        return None, [("a max-pool on spike counts", "use a strided convolution in its place")]
    if len(layer.projections) > 1:
        count = len(layer.projections)
        return None, [(f"a sum of {count} branches", "use a model without residuals or concats")]
    (path,) = layer.projections
    if path.source != before.name:
        why = f"reads '{path.source}', which is not the layer before it"
        return None, [(why, "use a model without branches")]
    op = _folded(path.ops, before.shape)
    if op is None:
        kinds = " -> ".join(type(op).__name__ for op in path.ops) or "no weights"
        return None, [(f"{kinds} in front of it", "use one convolution or dense layer there")]
    reasons: list[Reason] = []
    largest = int(np.abs(op.weight).max(initial=0))
    if not 0 < largest <= WEIGHT:
        cure = "convert with weight bits up to 8 and weight exponent 0" if largest else "remove it"
        reasons.append((f"weights up to {largest:,} in magnitude, expected 1 to {WEIGHT}", cure))
    if isinstance(op, Conv2d):
        geometry = (*op.stride, *op.padding, *op.dilation, op.groups, *op.weight.shape[2:])
        if max(geometry) > MOST_GEOMETRY:
            why = f"stride, padding, dilation, groups or kernel of {max(geometry)}"
            reasons.append((why, f"Lava holds them up to {MOST_GEOMETRY}"))
    return op, reasons


def _neuron_reasons(layer: Layer, window: int) -> Iterator[Reason]:
    node = layer.node
    if isinstance(node, Neuron):
        low, high = int(node.threshold.min()), int(node.threshold.max())
        if low != high:
            yield f"thresholds from {low:,} to {high:,}, expected one for all channels", _HARD
        if node.v0.any():
            yield "membranes that do not start at 0", _HARD
    if not isinstance(node, Neuron | Output) or node.bias is None:
        return
    share, rest = np.divmod(node.bias, window)
    if rest.any():
        yield f"a bias that differs from step to step of the window of {window}", _HARD
    most = 1 << (BIAS_BITS - 1)
    if share.min(initial=0) < -most or share.max(initial=0) >= most:
        largest = int(np.abs(share).max())
        why = f"a bias of {largest:,} at each step, expected a word of {BIAS_BITS} bits"
        yield why, "convert with fewer weight bits, or with a larger window"


def _layer(layer: Layer, before: Layer, op: Conv2d | Linear, window: int) -> StockLayer:
    node = layer.node
    assert isinstance(node, Neuron | Output) and node.bias is not None
    plain = StockLayer(
        name=layer.name,
        kind="dense",
        source=before.shape,
        shape=layer.shape,
        weight=op.weight.astype(np.int64),
        bias=node.bias.astype(np.int64) // window,
        vth=int(node.threshold[0]) - 1 if isinstance(node, Neuron) else STATE,
    )
    if isinstance(op, Linear):
        return plain
    return replace(
        plain,
        kind="conv",
        stride=op.stride,
        padding=op.pads[:2],
        dilation=op.dilation,
        groups=op.groups,
    )


def _folded(ops: tuple[Node, ...], source: Shape) -> Conv2d | Linear | None:
    """One node in place of all of a projection's, equally padded; None if there is none."""
    if not ops or isinstance(ops[-1], Linear):
        return _as_dense(ops, source)
    conv: Conv2d | None = ops[-1] if isinstance(ops[-1], Conv2d) else None
    if conv is not None and len(ops) > 1:
        conv = _behind(ops[0], conv, source) if len(ops) == 2 else None
    if conv is None or len(conv.padding) == 2:
        return conv
    written = WrittenOut.of(padded_record(conv))
    weight = written.extended(conv.weight)
    return replace(conv, weight=weight, padding=written.padding, dilation=(1, 1))


def _as_dense(ops: tuple[Node, ...], source: Shape) -> Linear | None:
    """Sum pools, a flatten and a dense node as one dense node on the flat source."""
    if not ops:
        return None
    *others, last = ops
    assert isinstance(last, Linear)
    if not any(isinstance(op, SumPool2d) for op in others):
        plain = all(isinstance(op, Flatten) for op in others)
        return last if plain else None
    size = prod(source)
    if not all(isinstance(op, Flatten | SumPool2d) for op in others):
        return None
    if size * max(size, len(last.weight)) > MOST_FOLDED:
        return None
    units = np.eye(size, dtype=np.int64).reshape(size, *source)
    return replace(last, weight=apply_all(ops, units).T)


def _behind(pool: Node, conv: Conv2d, source: Shape) -> Conv2d | None:
    """A sum pool and the convolution behind it as one convolution, if it has the same sums.

    Padding of the convolution stands for pooled values of 0. Windows that reach over the image's
    edge would have others, unless the pool tiles the image.
    """
    if not isinstance(pool, SumPool2d):
        return None
    height, width = source[1:]
    tiles = pool.kernel == pool.stride and not any(pool.pads)
    tiles = tiles and height % pool.kernel[0] == 0 and width % pool.kernel[1] == 0
    if any(conv.pads) and not tiles:
        return None
    (a, b), (s, t), (d, e) = pool.kernel, pool.stride, conv.dilation
    out, group, tall, wide = conv.weight.shape
    size = (s * d * (tall - 1) + a, t * e * (wide - 1) + b)
    weight = np.zeros((out, group, *size), np.int64)
    for i in range(tall):
        for j in range(wide):
            top, left = s * d * i, t * e * j
            weight[:, :, top : top + a, left : left + b] += conv.weight[:, :, i, j][..., None, None]
    above, left, below, right = conv.pads
    p, q, r, u = pool.pads
    merged = Conv2d(
        conv.name,
        weight,
        None,
        (s * conv.stride[0], t * conv.stride[1]),
        (s * above + p, t * left + q, s * below + r, t * right + u),
        (1, 1),
        conv.groups,
    )
    same = merged.output_shape([source]) == conv.output_shape([pool.output_shape([source])])
    return merged if same else None
