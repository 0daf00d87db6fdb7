"""The weights into one channel, and the spikes that each of them multiplies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from snndeploy import linear_ops
from snndeploy.layers import Projection
from snndeploy.nodes import Array, Conv2d, Flatten, Linear, Node, Scale
from snndeploy.numerics import Int64Array


@dataclass(frozen=True, eq=False)
class Synapses:
    """One projection into a channel.

    Attributes:
        op: the node that holds the weights.
        rows: (N, T, *shape) values that arrive at `op`.
        after: pools between `op` and the neurons.
        neurons: which of the channel's neurons are looked at.
    """

    op: Conv2d | Linear | Scale
    channel: int
    rows: Array
    after: tuple[Node, ...]
    neurons: slice

    @staticmethod
    def of(projection: Projection, values: Array, channel: int) -> Synapses | None:
        """From a source's values (N, T, *shape); None where no weight belongs to one channel."""
        op = projection.weighted
        if op is None:
            return None
        at = projection.ops.index(op)
        before, after = projection.ops[:at], projection.ops[at + 1 :]
        if any(isinstance(node, Flatten) for node in after):
            return None
        if before:
            flat = linear_ops.apply_all(before, values.reshape(-1, *values.shape[2:]))
            values = flat.reshape(*values.shape[:2], *flat.shape[1:])
        return Synapses(op, channel, values, after, slice(None))

    def only(self, rows: slice, neurons: slice) -> Synapses:
        """The same for some of the samples and of the channel's neurons."""
        return replace(self, rows=self.rows[rows], neurons=neurons)

    @property
    def weights(self) -> Int64Array:
        """Those of the channel: (C_in / groups, K_h, K_w), (F_in,) or ()."""
        return np.asarray(self.op.weight[self.channel], np.int64)

    def indices(self) -> Iterator[tuple[int, ...]]:
        """The index of each weight of the channel."""
        return np.ndindex(self.weights.shape)

    def arriving(self, at: tuple[int, ...]) -> Int64Array:
        """The values (N, T, P) that one weight multiplies."""
        if isinstance(self.op, Conv2d):
            source, row, column = at
            group = self.channel // (len(self.op.weight) // self.op.groups)
            source += group * self.op.weight.shape[1]
            x = self._patches[:, source, :, :, row, column]
        else:
            x = self._flat[:, self.channel if isinstance(self.op, Scale) else at[0]]
        pooled = linear_ops.apply_all(self.after, x[:, None].astype(np.int64))
        arrived: Int64Array = pooled.reshape(*self.rows.shape[:2], -1)[:, :, self.neurons]
        return arrived

    @cached_property
    def _flat(self) -> Array:
        return self.rows.reshape(-1, *self.rows.shape[2:])

    @cached_property
    def _patches(self) -> Array:
        assert isinstance(self.op, Conv2d)
        kernel = (self.op.weight.shape[2], self.op.weight.shape[3])
        options = (self.op.stride, self.op.padding, self.op.dilation)
        return linear_ops.windows(self._flat, kernel, *options)
