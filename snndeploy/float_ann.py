"""The float quantized ANN in float64: what the integer one, and so the spikes, come from.

    y = clip(floor(x / s + shift), 0, L),    s = ceiling / levels,    the value is offset + s * y

A plain walk over the graph after batch-norm has been folded. Counts are kept for every layer, to
hold those of `integer_ann` against them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snndeploy.errors import UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    Add,
    Array,
    AvgPool2d,
    Conv2d,
    Flatten,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Output,
    Padded,
)
from snndeploy.numerics import FloatArray, Int64Array


@dataclass(frozen=True, eq=False)
class FloatAnnResult:
    """Counts (N, *shape) of every activation and every pool, and logits (N, classes)."""

    counts: dict[str, Int64Array]
    logits: FloatArray


@torch.inference_mode()
def float_ann(network: Network, inputs: Array) -> FloatAnnResult:
    """Evaluate a float network on inputs (N, *input shape) in the model's units.

    Args:
        network: folded, its max-pools behind the activations.
        inputs: already on the input grid, if there is one.

    Source: QCFS (Bu et al. 2022), eq. 15.

    Raises:
        UnsupportedModelError: a node that has no place in a folded float network.
    """
    uses = Counter(source for source, _ in network.edges)
    values: dict[str, Tensor] = {}
    steps: dict[str, float] = {}
    offsets: dict[str, float] = {}
    counts: dict[str, Int64Array] = {}
    logits: FloatArray = np.zeros(0)
    for node in network.nodes:
        sources = network.sources[node.name]
        terms = [values[name] for name in sources]
        if isinstance(node, Input):
            value = torch.from_numpy(np.asarray(inputs, np.float64))
        elif isinstance(node, Activation):
            step, offsets[node.name] = node.ceiling / node.levels, node.offset
            value = (terms[0] / step + node.shift).floor().clamp(0, node.levels)
            counts[node.name] = value.numpy().astype(np.int64)
            value, steps[node.name] = value * step + node.offset, step
        elif isinstance(node, MaxPool2d):
            value = F.max_pool2d(_padded(node, terms[0], -torch.inf), node.kernel, node.stride)
            if sources[0] in steps:
                steps[node.name], offsets[node.name] = steps[sources[0]], offsets[sources[0]]
                count = (value - offsets[node.name]) / steps[node.name]
                counts[node.name] = count.round().numpy().astype(np.int64)
        elif isinstance(node, Output):
            value = terms[0]
            logits = value.numpy()
        else:
            value = _linear(node, terms)
        values[node.name] = value
        uses.subtract(sources)
        for name in sources:
            if not uses[name]:
                values.pop(name, None)
    return FloatAnnResult(counts, logits)


def _linear(node: Node, terms: list[Tensor]) -> Tensor:
    """A linear node in float64."""
    x = terms[0]
    if isinstance(node, Conv2d):
        weight, bias = _tensor(node.weight), None if node.bias is None else _tensor(node.bias)
        x = _padded(node, x)
        return F.conv2d(x, weight, bias, node.stride, 0, node.dilation, node.groups)
    if isinstance(node, Linear):
        return F.linear(x, _tensor(node.weight), None if node.bias is None else _tensor(node.bias))
    if isinstance(node, AvgPool2d):
        return F.avg_pool2d(_padded(node, x), node.kernel, node.stride)
    if isinstance(node, Flatten):
        return x.flatten(1)
    if isinstance(node, Add):
        return torch.stack(terms).sum(0) if len(terms) > 2 else terms[0] + terms[1]
    raise UnsupportedModelError(
        f"a {type(node).__name__} has no place in a folded float network",
        where=f"{type(node).__name__} '{node.name}'",
        remedy="fold batch-norm first",
    )


def _padded(node: Padded, x: Tensor, fill: float = 0.0) -> Tensor:
    """With the padding written out: PyTorch's operators know none that differs side by side."""
    top, left, bottom, right = node.pads
    return F.pad(x, (left, right, top, bottom), value=fill) if any(node.pads) else x


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float64))
