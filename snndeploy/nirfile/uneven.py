"""Windows whose sides are padded differently, as convolutions that NIR can say.

NIR pads both sides alike. Zeros around a kernel shift its windows: with `z` zeros before the first
tap, a padding of `p + z` starts the windows where one of `p` did. So a kernel with zeros before its
taps, or behind them, and the larger of the two paddings on both sides give the same values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snndeploy.nirfile.records import PaddedRecord, UnevenKind
from snndeploy.nodes import Array, Conv2d, MaxPool2d, Pair, SumPool2d


@dataclass(frozen=True)
class Side:
    """A kernel written out along height or width.

    Attributes:
        size: with all its zeros.
        padding: on both sides.
        taps: where the kernel's own weights are.
    """

    size: int
    padding: int
    taps: slice

    @staticmethod
    def of(kernel: int, dilation: int, before: int, after: int) -> Side:
        """Of a kernel with unlike padding before and after."""
        span, zeros = dilation * (kernel - 1) + 1, max(after - before, 0)
        taps = slice(zeros, zeros + span, dilation)
        return Side(span + abs(after - before), max(before, after), taps)


@dataclass(frozen=True)
class WrittenOut:
    """A kernel along height and width."""

    down: Side
    right: Side

    @staticmethod
    def of(record: PaddedRecord) -> WrittenOut:
        """What a record describes."""
        (k, m), (d, e), (top, left, bottom, right) = record.kernel, record.dilation, record.padding
        return WrittenOut(Side.of(k, d, top, bottom), Side.of(m, e, left, right))

    @property
    def padding(self) -> Pair:
        """On both sides of each."""
        return self.down.padding, self.right.padding

    @property
    def size(self) -> Pair:
        """Height and width, zeros included."""
        return self.down.size, self.right.size

    def extended(self, weight: Array) -> Array:
        """A weight (.., K_h, K_w) with zeros around and between its taps."""
        whole = np.zeros((*weight.shape[:-2], *self.size), weight.dtype)
        whole[..., self.down.taps, self.right.taps] = weight
        return whole

    def taps(self, whole: Array) -> Array:
        """The weight of which `extended` made this."""
        weight: Array = whole[..., self.down.taps, self.right.taps]
        return weight


def is_uneven(node: Conv2d | MaxPool2d | SumPool2d) -> bool:
    """Whether its padding differs side by side."""
    return len(node.padding) == 4


def padded_record(node: Conv2d | MaxPool2d | SumPool2d) -> PaddedRecord:
    """The true kernel and padding of an uneven node."""
    kind: UnevenKind = "padded_conv2d"
    if isinstance(node, Conv2d):
        kernel, dilation = (node.weight.shape[2], node.weight.shape[3]), node.dilation
    else:
        kind = "padded_sum_pool2d" if isinstance(node, SumPool2d) else "padded_pool_sum"
        kernel, dilation = node.kernel, (1, 1)
    return PaddedRecord(kind=kind, kernel=kernel, padding=node.pads, dilation=dilation)
