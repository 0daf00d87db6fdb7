"""Float to integer: what rounding the weights and biases of a quantized network costs.

Both networks are evaluated on the same samples, count by count. A count that differs has one of
two causes, told apart layer by layer:

- *flipped here*: the integer layer, fed the float network's own counts, ends in another count
  than the float layer. Only this layer's rounding can be the cause.
- *different*: the count differs in the whole integer network, its inputs having changed too.

A network whose few levels were found by calibration has other weights and counts than its model:
there, answers alone are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from snndeploy.errors import InputError
from snndeploy.integer_ann import integer_ann, layer_value
from snndeploy.layers import Layer, layers
from snndeploy.network import Network
from snndeploy.nodes import Activation, Array, Neuron, Relu
from snndeploy.numerics import FloatArray, Int64Array
from snndeploy.samples import array_hash
from snndeploy.simulate import Progress
from snndeploy.verify.rounding import rounding

if TYPE_CHECKING:
    from snndeploy.float_ann import FloatAnnResult

CHUNK = 32

CALIBRATED = "choose-ceilings{"
"""How the pass is spelled that gives a network few levels."""


@dataclass(frozen=True)
class LayerFidelity:
    """One layer's share of the loss.

    Attributes:
        kind: `neurons`, `max_pool`, or `readout`, whose counts are the answers.
        compared: counts compared, over all samples.
        flipped_here: counts that this layer's own rounding flips.
        different: counts that differ in all.
        mean_error: mean absolute difference of the counts in all; of the readout, of its logits
            in the model's units.
        weight_rounding, bias_rounding: root mean square of the rounding relative to that of the
            weights and of the biases; 0 where nothing was rounded.
    """

    name: str
    kind: str
    compared: int
    flipped_here: int
    different: int
    mean_error: float
    weight_rounding: float
    bias_rounding: float


@dataclass(frozen=True)
class FidelityReport:
    """How faithful an integer network is to the float one that it came from.

    Attributes:
        network_hash, data_hash: of the integer network, and of the inputs on its grid.
        agreement: the share of samples on which both give the same answer.
        float_accuracy, integer_accuracy: None without labels.
        layers: from the first to the readout; none if calibration gave the network few levels.
    """

    network_hash: str
    data_hash: str
    samples: int
    agreement: float
    float_accuracy: float | None
    integer_accuracy: float | None
    layers: tuple[LayerFidelity, ...]

    @property
    def loss_points(self) -> float | None:
        """Accuracy lost to rounding, in percentage points; negative if the integers do better."""
        if self.float_accuracy is None or self.integer_accuracy is None:
            return None
        return 100 * (self.float_accuracy - self.integer_accuracy)

    @property
    def worst_layer(self) -> LayerFidelity | None:
        """The layer of neurons whose own rounding flips the largest share; None if none flips."""
        spiking = [layer for layer in self.layers if layer.flipped_here and layer.kind == "neurons"]
        return max(spiking, key=lambda layer: layer.flipped_here / layer.compared, default=None)

    def sentences(self) -> tuple[str, ...]:
        """The report in words."""
        said = [
            f"The integer network gives the float network's answer on {self.agreement:.2%} of "
            f"{self.samples:,} samples."
        ]
        if self.float_accuracy is not None and self.integer_accuracy is not None:
            said.append(
                f"Accuracy: float {self.float_accuracy:.2%}, integer {self.integer_accuracy:.2%}, "
                f"a loss of {self.loss_points:.2f} points."
            )
        worst = self.worst_layer
        if not self.layers:
            said.append(
                "Calibration gave it few levels, so that its counts have none to be held to: "
                "answers alone were compared."
            )
        elif worst is None:
            said.append("No layer's rounding flips a count.")
        else:
            share = worst.flipped_here / worst.compared
            said.append(f"The rounding of '{worst.name}' flips the most counts, {share:.3%}.")
        return tuple(said)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "loss_points": self.loss_points}


def fidelity(
    float_network: Network,
    network: Network,
    inputs: Int64Array,
    labels: Int64Array | None = None,
    progress: Progress | None = None,
) -> FidelityReport:
    """Hold an integer network to the float network that it came from.

    Args:
        float_network: folded, its max-pools behind the activations.
        network: what `Quantize` made of it.
        inputs: grid integers (N, *input shape), or (N, F, *input shape) if `per_step`.
        labels: (N,).
        progress: told (samples done, samples in all).

    Raises:
        InputError: the networks have other layers, levels or scales: neither came from the other.
    """
    from snndeploy.float_ann import float_ann  # noqa: PLC0415  (torch is slow to load)

    pairs = _pairs(float_network, network)
    tallies = {layer.name: _Tally() for _, layer in pairs}
    answers: list[Int64Array] = []
    for first in range(0, len(inputs), CHUNK):
        rows = inputs[first : first + CHUNK]
        expected = float_ann(float_network, _in_model_units(network, rows))
        answers.append(_compare(network, rows, expected, tallies))
        if progress is not None:
            progress(first + len(rows), len(inputs))
    answer, ours = np.concatenate(answers, axis=1)
    return FidelityReport(
        network_hash=network.hash,
        data_hash=array_hash(inputs),
        samples=len(inputs),
        agreement=float((answer == ours).mean()),
        float_accuracy=None if labels is None else float((answer == labels).mean()),
        integer_accuracy=None if labels is None else float((ours == labels).mean()),
        layers=tuple(
            tallies[new.name].result(new, *rounding(float_network, old, network, new))
            for old, new in pairs
        ),
    )


class _Tally:
    """Differences of one layer, added up chunk by chunk."""

    def __init__(self) -> None:
        self.compared = self.flipped_here = self.different = 0
        self.error = 0.0

    def add(self, expected: Array, here: Array, whole: Array, error: float) -> None:
        """Compare counts; `error` is the samples' mean absolute difference, added up."""
        self.compared += expected.size
        self.flipped_here += int(np.count_nonzero(here != expected))
        self.different += int(np.count_nonzero(whole != expected))
        self.error += error

    def result(self, layer: Layer, weight: float, bias: float) -> LayerFidelity:
        """The sums, as the layer's row."""
        samples = self.compared / (1 if layer.kind == "readout" else layer.neurons)
        return LayerFidelity(
            layer.name,
            layer.kind,
            self.compared,
            self.flipped_here,
            self.different,
            self.error / samples,
            weight,
            bias,
        )


def _compare(
    network: Network, rows: Int64Array, expected: FloatAnnResult, tallies: dict[str, _Tally]
) -> Int64Array:
    """Add some samples to the tallies; the float and the integer network's answers, (2, N)."""
    whole = integer_ann(network, rows)
    answers = np.stack([expected.logits.argmax(axis=1), whole.logits.argmax(axis=1)])
    if not tallies:
        return answers
    sources = {network.input.name: network.total_stimulus(rows), **expected.counts}
    for layer in layers(network)[1:-1]:
        wanted, found = expected.counts[layer.name], whole.counts[layer.name]
        distance = float(np.abs(found - wanted).sum()) / layer.neurons
        tallies[layer.name].add(wanted, layer_value(layer, sources), found, distance)
    readout = layers(network)[-1]
    here = layer_value(readout, sources).argmax(axis=1)
    distances = np.abs(whole.logits * network.output.scale - expected.logits)
    tallies[readout.name].add(answers[0], here, answers[1], float(distances.mean(axis=1).sum()))
    return answers


def _in_model_units(network: Network, rows: Int64Array) -> FloatArray:
    """The float network's input: grid integers, summed over steps, in the model's units."""
    grid = network.input.grid
    assert grid is not None
    total = rows.sum(axis=1) if network.input.per_step else rows
    return total.astype(np.float64) * grid.scale


def _pairs(before: Network, after: Network) -> list[tuple[Layer, Layer]]:
    """The layers that correspond, from the first; none if calibration gave few levels."""
    if any(entry.startswith(CALIBRATED) for entry in after.history):
        _check_ends(before, after)
        return []
    _refuse_relus(before, after.name)
    views = layers(before), layers(after)
    _check_kinship(*views, after.name)
    return list(zip(views[0][1:], views[1][1:], strict=True))


def _check_ends(before: Network, after: Network) -> None:
    """Refuse two networks that do not take and give the same."""
    ends = [(n.shapes[n.input.name], n.shapes[n.output.name]) for n in (before, after)]
    if ends[0] != ends[1]:
        raise InputError(
            f"the float network maps {ends[0][0]} to {ends[0][1]} where it maps {ends[1][0]} to "
            f"{ends[1][1]}",
            where=f"network '{after.name}'",
            remedy="give the model that it was converted from",
        )


def _refuse_relus(before: Network, name: str) -> None:
    found = [node.name for node in before.nodes if isinstance(node, Relu)]
    if found:
        raise InputError(
            f"the float network has real-valued ReLUs, such as '{found[0]}', but it was not "
            "calibrated to few levels",
            where=f"network '{name}'",
            remedy="give the model that it was converted from",
        )


def _check_kinship(before: Sequence[Layer], after: Sequence[Layer], name: str) -> None:
    """Refuse two networks whose layers are not each other's."""
    described = [[_described(layer) for layer in view] for view in (before, after)]
    if described[0] != described[1]:
        differ = [pair for pair in zip_longest(*described, fillvalue="nothing") if len({*pair}) > 1]
        raise InputError(
            f"the float network has {differ[0][0]} where it has {differ[0][1]}",
            where=f"network '{name}'",
            remedy="give the model that it was converted from",
        )


def _described(layer: Layer) -> str:
    node, shape = layer.node, "x".join(map(str, layer.shape))
    text = f"{layer.kind} '{layer.name}' of shape {shape}"
    if isinstance(node, Activation | Neuron):
        scale = node.scale if isinstance(node, Neuron) else node.ceiling / node.levels
        text += f" with {node.levels} levels of {scale:.6g}"
    return text
