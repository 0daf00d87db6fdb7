"""The factors of a rescale: for each channel that lacks bits the largest that fits.

A channel with weights w, threshold theta, bias b and initial membrane v0 fires just the same if
all four are multiplied by one factor. The factor is `t / theta` for an integer threshold t, so
that the threshold stays exact and only weights and bias are rounded:

    w' = round(w t / theta),   theta' = t,   b' = round(b t / theta),
    v0' = t // 2 if v0 = theta // 2, else round(v0 t / theta)

t is as large as fits, found by bisection: t fits, t + 1 does not. Each channel has its own. The
readout has one factor for all its channels, since its logits are compared; there t is the largest
weight. Counts keep their bounds, so no layer's factor affects another's.

Weights that share a power of two keep it: such a layer is first halved as a whole, until it fits or
the power is used up. Only then does each channel get a factor of its own, and the weights of the
layer lose their power of two.

A bias that is too wide is first rounded, so that its share of a step is whole and a multiple of a
power of two, the smallest that fits, as far as the exponent of the target's biases goes. That costs
nothing: the initial membrane takes what is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from snndeploy.headroom import Cure
from snndeploy.layers import Layer, layers
from snndeploy.network import Network
from snndeploy.nodes import Array, Conv2d, Linear, Neuron, Node, Output, Scale
from snndeploy.numerics import BoolArray, Int64Array, initial_membrane, mantissas, round_to_integer
from snndeploy.ranges import ranges
from snndeploy.words import Words, bias_span, fitting_channels, spans


@dataclass(frozen=True, eq=False)
class Factor:
    """`numerator / denominator` for each channel (C,); a numerator of 0: no factor fits."""

    numerator: Int64Array
    denominator: Int64Array

    @staticmethod
    def everywhere(numerator: int, denominator: int, channels: int) -> Factor:
        """One factor for all channels."""
        return Factor(np.full(channels, numerator), np.full(channels, denominator))

    @property
    def changed(self) -> BoolArray:
        """The channels that are rescaled."""
        found: BoolArray = self.numerator != self.denominator
        return found

    @property
    def valid(self) -> Factor:
        """The same, with numerators of at least 1."""
        return Factor(np.maximum(self.numerator, 1), self.denominator)

    def times(self, values: Array) -> Int64Array:
        """Values of channels (C, ...), rescaled and rounded; those of unchanged channels as is."""
        numerator, denominator, changed = (
            x.reshape(-1, *(1,) * (values.ndim - 1))
            for x in (self.numerator, self.denominator, self.changed)
        )
        scaled = np.where(changed, values, 0).astype(np.float64) * numerator / denominator
        return np.where(changed, round_to_integer(scaled), values)


@dataclass(frozen=True, eq=False)
class Plan:
    """A factor, or the reason why there is none, for each layer that lacks bits."""

    words: Words
    factors: Mapping[str, Factor]
    refusals: Mapping[str, str]

    @staticmethod
    def of(network: Network, words: Words, steps: int | None) -> Plan:
        """The largest factors that fit: every channel's bisection at once, on the whole network."""
        masks = _fits(network, words, steps)
        lacking = [x for x in layers(network) if x.name in masks and not masks[x.name].all()]
        refusals = {x.name: why for x in lacking if (why := _obstacle(network, x))}
        scalable = [x for x in lacking if x.name not in refusals]
        halved = _halved(network, scalable, words, steps)
        full = {x.name: _denominators(x) for x in scalable if x.name not in halved}

        def fits(trial: Mapping[str, Int64Array]) -> dict[str, BoolArray]:
            factors = halved | {name: Factor(trial[name], full[name]) for name in full}
            return _fits(Plan(words, factors, {}).applied(network), words, steps)

        found = _largest(full, fits) if full else {}
        factors = halved | {name: Factor(t, full[name]) for name, t in found.items()}
        after = Plan(words, {n: factor.valid for n, factor in factors.items()}, {}).applied(network)
        silent, stays = _silent(network, steps), _silent(after, steps)
        for x in scalable:
            why = _loss(x, factors[x.name], silent[x.name] & stays[x.name])
            refusals |= {x.name: why} if why else {}
        return Plan(words, factors, refusals)

    def applied(self, network: Network) -> Network:
        """The network with each factor applied to its layer."""
        owners = {
            p.weighted.name: layer.name
            for layer in layers(network)
            for p in layer.projections
            if p.weighted is not None
        }
        nodes: list[Node] = []
        for node in network.nodes:
            factor = self.factors.get(owners.get(node.name, node.name))
            nodes.append(node if factor is None else self._node(node, factor, network.window))
        return network.rewrite(nodes)

    def _node(self, node: Node, factor: Factor, window: int) -> Node:
        if isinstance(node, Conv2d | Linear | Scale):
            return replace(node, weight=factor.times(node.weight))
        assert isinstance(node, Neuron | Output) and node.bias is not None
        total = factor.times(node.bias)
        bias, _ = self._bias(total, window)
        if isinstance(node, Output):
            worth = float(factor.denominator[0] / factor.numerator[0])
            return replace(node, bias=bias, scale=node.scale * worth)
        theta = factor.times(node.threshold)
        half = node.v0 == initial_membrane(node.threshold)
        v0 = np.where(half, initial_membrane(theta), factor.times(node.v0))
        return replace(node, threshold=theta, v0=v0 + total - bias, bias=bias)

    def _bias(self, total: Int64Array, window: int) -> tuple[Int64Array, Int64Array]:
        """Biases over the window, those too wide rounded; and the multiples (0: not rounded)."""
        found, multiple = total, np.zeros_like(total)
        for exponent in range(self.words.bias_exponent + 1):
            unit = window << exponent
            wide = self._too_wide(found, window)
            found = np.where(wide, round_to_integer(total / unit) * unit, found)
            multiple[wide] = 1 << exponent
        wide = self._too_wide(found, window)
        return np.where(wide, total, found), np.where(wide, 0, multiple)

    def _too_wide(self, total: Int64Array, window: int) -> BoolArray:
        if self.words.bias is None:
            return np.zeros(total.shape, np.bool_)
        wide: BoolArray = bias_span(total, window, self.words).bits("bias") > self.words.bias
        return wide

    def cure(self, network: Network, layer: Layer) -> Cure | None:
        """What happens to a layer; None if it lacks no bits."""
        channels = layer.shape[0]
        if layer.name in self.refusals:
            return Cure(layer.name, 0, channels, refusal=self.refusals[layer.name])
        if layer.name not in self.factors:
            return None
        factor, node = self.factors[layer.name], layer.node
        assert isinstance(node, Neuron | Output) and node.bias is not None
        _, multiple = self._bias(factor.times(node.bias), network.window)
        factors = (factor.numerator / factor.denominator)[factor.changed]
        low = float(factors.min(initial=1.0))
        return Cure(
            layer=layer.name,
            channels=len(factors),
            of=channels,
            factor=(low, float(factors.max()) if len(factors) else 1.0),
            shift=int(np.ceil(-np.log2(low))),
            biases=int(np.count_nonzero(multiple)),
            bias_multiple=int(multiple.max(initial=1)),
        )


def _halved(
    network: Network, lacking: list[Layer], words: Words, steps: int | None
) -> dict[str, Factor]:
    """Factors of powers of two for the layers that fit with them and lose nothing of a weight."""
    spare = {
        x.name: min((mantissas(w, words.weight_exponent)[1] for w in _weights(x)), default=0)
        for x in lacking
    }
    found: dict[str, Factor] = {}
    for power in range(max(spare.values(), default=-1) + 1):  # 0: a shorter bias is enough
        trial = {
            x.name: Factor.everywhere(1, 1 << power, x.shape[0])
            for x in lacking
            if x.name not in found and power <= spare[x.name]
        }
        masks = _fits(Plan(words, found | trial, {}).applied(network), words, steps)
        found |= {name: factor for name, factor in trial.items() if masks[name].all()}
    return found


def _largest(
    full: Mapping[str, Int64Array],
    fits: Callable[[Mapping[str, Int64Array]], Mapping[str, BoolArray]],
) -> Mapping[str, Int64Array]:
    """Of each channel the largest t in 0 .. full that fits, by bisection; 0 if 1 does not."""
    masks, high = fits(full), dict(full)
    low = {name: np.where(masks[name], full[name], 0) for name in full}
    while any((high[name] - low[name] > 1).any() for name in full):
        middle = {name: np.maximum((low[name] + high[name]) // 2, 1) for name in full}
        masks = fits(middle)
        for name in full:
            between = high[name] - low[name] > 1
            low[name] = np.where(between & masks[name], middle[name], low[name])
            high[name] = np.where(between & ~masks[name], middle[name], high[name])
    return low


def _fits(network: Network, words: Words, steps: int | None) -> dict[str, BoolArray]:
    """Of every layer with membranes, which channels fit; in the readout all do, or none."""
    found: dict[str, BoolArray] = {}
    for layer, values in spans(network, words, steps):
        if "state" in values:
            fits = fitting_channels(values, words)
            found[layer.name] = fits if layer.kind == "neurons" else np.full_like(fits, fits.all())
    return found


def _denominators(layer: Layer) -> Int64Array:
    """What is scaled exactly: of neurons the thresholds, of the readout its largest weight."""
    node = layer.node
    if isinstance(node, Neuron):
        return node.threshold.astype(np.int64)
    assert isinstance(node, Output) and node.bias is not None
    weights = max(int(np.abs(weight).max(initial=0)) for weight in _weights(layer))
    return np.full(len(node.bias), weights or int(np.abs(node.bias).max()) or 1)


def _obstacle(network: Network, layer: Layer) -> str:
    """Why a layer's weights cannot be scaled channel by channel; empty if they can."""
    for projection in layer.projections:
        weighted = projection.weighted
        if weighted is None:
            return f"the branch from '{projection.source}' has weights of 1, which cannot shrink"
        if len(weighted.weight) != layer.shape[0]:
            return f"each kernel of '{weighted.name}' serves several channels"
        others = [
            x.name
            for x in layers(network)
            if x.name != layer.name and any(p.weighted is weighted for p in x.projections)
        ]
        if others:
            return f"the weights of '{weighted.name}' serve layer '{others[0]}' too"
    return ""


def _silent(network: Network, steps: int | None) -> dict[str, BoolArray]:
    """Of each layer with membranes, the channels that never fire, whatever the input."""
    bounds, found = ranges(network, steps), {}
    for name, bound in bounds.items():
        node = network.by_name[name]
        found[name] = np.zeros(len(bound.membrane_high), np.bool_)
        if isinstance(node, Neuron):
            found[name] = bound.membrane_high < node.threshold
    return found


def _loss(layer: Layer, factor: Factor, silent: BoolArray) -> str:
    """What a factor would wipe out; empty if nothing. Silent channels need no weights."""
    gone = factor.numerator == 0
    if gone.any():
        if layer.kind == "readout":
            return "its largest weight would fall below 1"
        channel = int(gone.argmax())
        theta = int(factor.denominator[channel])
        return f"the threshold of channel {channel}, {theta}, would fall below 1"
    weights = _weights(layer)
    before = np.any([_alive(weight) for weight in weights], axis=0)
    after = np.any([_alive(factor.times(weight)) for weight in weights], axis=0)
    wiped = before & ~after & ~silent
    if wiped.any():
        return f"all weights of channel {int(wiped.argmax())} would round to 0"
    return ""


def _weights(layer: Layer) -> list[Array]:
    return [p.weighted.weight for p in layer.projections if p.weighted is not None]


def _alive(weight: Array) -> BoolArray:
    """Which output channels have a weight other than 0."""
    alive: BoolArray = np.asarray(weight.reshape(len(weight), -1).any(axis=1))
    return alive
