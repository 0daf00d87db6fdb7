"""Range analysis: how large any accumulator can become, proved by interval arithmetic.

In exact mode every net count lies in [0, L] at every step, whatever the order of the spikes,
and the input adds at most `window` times its grid (at most its grid, where it comes step by
step and the grid bounds the running sums). So each membrane, transients included,
lies within

    v0 + sum(W+ hi) + sum(W- lo) + max(bias, 0)    from above, and
    v0 + sum(W- hi) + sum(W+ lo) + min(bias, 0) - theta * n    from below,

[lo, hi] being the bounds of the counts that come in, and n the most net spikes. A neuron fires only
where its membrane is at the threshold or above, so that n is at most the bound from above over
theta; and at most L. In rate mode there is no cap: the bound holds for a stated number of steps,
with counts in [0, steps].

With hard reset nothing is subtracted: a membrane holds no more than what came in since its last
spike, and before the input of a step it is below theta, unless it still is v0. So it is at most the
larger of v0 and theta - 1, and one step's input more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snndeploy.errors import DoesNotFitError
from snndeploy.layers import Layer, Projection, layers
from snndeploy.network import Mode, Network, Reset
from snndeploy.nodes import Array, Conv2d, Input, Linear, Neuron, Output, Scale, SumPool2d

LIMIT = 1 << 62
"""Bounds are computed in int64; a first pass in float64 refuses what would wrap there."""


@dataclass(frozen=True, eq=False)
class LayerRange:
    """Bounds of one layer over all inputs and steps.

    Attributes:
        membrane_low, membrane_high: per channel, before the reset of the step.
        operand: per channel, the largest magnitude of anything that is added to it or compared
            with it: the input current of one step, any partial sum of it, and the threshold.
    """

    membrane_low: Array
    membrane_high: Array
    operand: Array

    @property
    def low(self) -> int:
        """The least membrane of any channel."""
        return int(self.membrane_low.min())

    @property
    def high(self) -> int:
        """The largest membrane of any channel."""
        return int(self.membrane_high.max())

    @property
    def operand_high(self) -> int:
        """The largest operand of any channel."""
        return int(self.operand.max())

    @property
    def extent(self) -> tuple[int, int]:
        """The least and the largest value that the layer's word must hold."""
        return min(self.low, -self.operand_high), max(self.high, self.operand_high)

    @property
    def magnitudes(self) -> Array:
        """The largest absolute value that an accumulator of each channel can hold."""
        found: Array = np.maximum(np.maximum(-self.membrane_low, self.membrane_high), self.operand)
        return found

    @property
    def magnitude(self) -> int:
        """The largest absolute value that any accumulator of the layer can hold."""
        return int(self.magnitudes.max())


def ranges(network: Network, steps: int | None = None) -> Mapping[str, LayerRange]:
    """The bounds of every layer with a membrane (neurons and readout).

    Args:
        network: an integer network.
        steps: for rate mode, the number of steps to cover; default the window.
    """
    analysis = RangeAnalysis(network.input, network.mode, network.window, steps, network.reset)
    result: dict[str, LayerRange] = {}
    for layer in layers(network)[1:]:
        if layer.kind == "max_pool":
            analysis.add_pool(layer)
        else:
            result[layer.name] = analysis.add(layer)
    return result


class RangeAnalysis:
    """Range analysis layer by layer, each from what those before it can count to.

    Args:
        entry: the input of an integer network.
        mode: of the network.
        window: its steps with input.
        steps: for rate mode, the number of steps to cover; default the window.
        reset: of the network.
    """

    def __init__(
        self,
        entry: Input,
        mode: Mode,
        window: int,
        steps: int | None = None,
        reset: Reset = "soft",
    ) -> None:
        grid = entry.grid
        assert grid is not None
        self._exact, self._window, self._hard = mode == "exact", window, reset == "hard"
        self._duration = window if self._exact or steps is None else steps
        low, high = min(grid.low, 0), max(grid.high, 0)
        spikes, counts = (low, high), (low * self._duration, high * self._duration)
        if entry.per_step:  # the grid bounds the running sums from the start
            spikes = (low - high, high - low)
            counts = spikes if self._hard else (low, high)
        self._counts, self._spikes = {entry.name: counts}, {entry.name: spikes}

    def add(self, layer: Layer) -> LayerRange:
        """The bounds of a layer of neurons, or of the readout.

        Raises:
            DoesNotFitError: they are too large to be computed.
        """
        name, node = layer.name, layer.node
        if isinstance(node, Neuron):
            self._counts[name] = (0, node.levels if self._exact else self._duration)
            self._spikes[name] = (-1 if self._exact else 0, 1)
        rough = self._range(layer, np.float64)
        if rough.magnitude >= LIMIT:
            raise DoesNotFitError(
                f"an accumulator can reach about 2**{rough.magnitude.bit_length()}, the limit of "
                f"the analysis is 2**{LIMIT.bit_length() - 1}",
                where=f"layer '{name}'",
                remedy="quantize to fewer bits",
            )
        found = self._range(layer, np.int64)
        if isinstance(node, Neuron) and not self._hard:
            most = _resets(node, found.membrane_high, self._counts[name][1])
            self._counts[name] = (0, int(most.max()))
        return found

    def add_pool(self, layer: Layer) -> None:
        """A max-pool counts as far as its source."""
        source = layer.projections[0].source
        self._counts[layer.name] = self._counts[source]
        self._spikes[layer.name] = self._spikes[source]

    def _range(self, layer: Layer, dtype: type[np.float64] | type[np.int64]) -> LayerRange:
        node = layer.node
        assert isinstance(node, Neuron | Output) and node.bias is not None
        bias = node.bias.astype(dtype) * -(-self._duration // self._window)
        low = np.minimum(bias, 0)
        high = np.maximum(bias, 0)
        current = np.abs(node.bias.astype(dtype)) // self._window + 1
        rise = np.maximum(node.bias.astype(dtype) // self._window + 1, 0)
        for projection in layer.projections:
            down, up = _interval(projection, *self._counts[projection.source], dtype)
            low, high = low + down, high + up
            step_down, step_up = _interval(projection, *self._spikes[projection.source], dtype)
            current = current + np.maximum(step_up, -step_down)
            rise = rise + step_up
        if isinstance(node, Neuron):
            theta, v0 = node.threshold.astype(dtype), node.v0.astype(dtype)
            if self._hard:
                high = np.minimum(high + np.maximum(v0, 0), np.maximum(v0, theta - 1) + rise)
                low = low + np.minimum(v0, 0)
            else:
                high = high + v0
                low = low + v0 - theta * _resets(node, high, self._counts[layer.name][1])
            current = np.maximum(current, theta)
        return LayerRange(low, high, current)


def _resets(node: Neuron, high: Array, most: int) -> Array:
    """The most net spikes of each channel, given how high its membrane can be without resets."""
    resets: Array = np.clip(high // node.threshold.astype(high.dtype), 0, most)
    return resets


def _interval(
    projection: Projection, low: int, high: int, dtype: type[np.float64] | type[np.int64]
) -> tuple[Array, Array]:
    """Per-channel bounds of a projection's sum, for sources in [low, high] (0 included)."""
    down, up = np.array([low], dtype), np.array([high], dtype)
    for op in projection.ops:
        if isinstance(op, SumPool2d):
            size = op.kernel[0] * op.kernel[1]
            down, up = down * size, up * size
        elif isinstance(op, Conv2d | Linear):
            weight = op.weight.astype(dtype).reshape(op.weight.shape[0], -1)
            most, least = up.max(), down.min()
            plus, minus = np.maximum(weight, 0).sum(1), np.minimum(weight, 0).sum(1)
            down, up = plus * least + minus * most, plus * most + minus * least
        elif isinstance(op, Scale):
            weight = op.weight.astype(dtype)
            ends = np.stack([weight * down, weight * up])
            down, up = ends.min(0), ends.max(0)
    return down, up
