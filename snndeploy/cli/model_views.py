"""A float network before it is converted: what each node becomes, and how much of it there will be.

Neurons, synapses and steps are those of the spiking network that `convert` would make. They are
counted on the folded network with a sum in the place of each average pool, which is what the
pools become, and with levels in the place of real-valued activations, whose number is not known
yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from snndeploy.cli import console
from snndeploy.connectivity import dense_operations
from snndeploy.errors import UnsupportedModelError
from snndeploy.layers import Layer, layers
from snndeploy.network import Network
from snndeploy.nodes import Activation, AvgPool2d, Input, MaxPool2d, Node, Relu, SumPool2d
from snndeploy.passes import FoldBatchNorm, PoolAfterActivation, SplitConcat
from snndeploy.passes.quantize import default_window


@dataclass(frozen=True)
class Outlook:
    """The spiking network that a float network would become.

    Attributes:
        neurons, synapses: by layer; pools on counts are neurons, a sample's values are not.
        depth: layers behind the input.
        levels: the most of any activation; None while some are real-valued.
    """

    neurons: dict[str, int]
    synapses: dict[str, int]
    depth: int
    levels: int | None

    @property
    def window(self) -> int | None:
        """Steps with input in exact mode."""
        return None if self.levels is None else default_window(self.levels, "exact")

    @property
    def settle_bound(self) -> int | None:
        """Steps after which it has settled for certain; see `Program.settle_bound`."""
        if self.levels is None:
            return None
        return default_window(self.levels, "exact") + self.levels * self.depth


def outlook(network: Network) -> Outlook:
    """What `convert` would make of a float network.

    Raises:
        UnsupportedModelError: a structure that cannot become spiking.
    """
    staircases = [n.levels for n in network.nodes if isinstance(n, Activation)]
    known = bool(staircases) and not any(isinstance(n, Relu) for n in network.nodes)
    for rewrite in (SplitConcat(), FoldBatchNorm()):
        network = rewrite(network)
    network = PoolAfterActivation()(network.rewrite([_countable(n) for n in network.nodes]))
    view = layers(network)[1:]
    return Outlook(
        {layer.name: layer.neurons for layer in view if layer.kind != "readout"},
        {layer.name: _synapses(network, layer) for layer in view},
        view[-1].depth,
        max(staircases) if known else None,
    )


def show_model(network: Network, json: bool) -> None:
    """A float network, what each node becomes, and how large the spiking network will be."""
    try:
        expected, problem = outlook(network), ""
    except UnsupportedModelError as error:
        expected, problem = None, str(error)
    rows = [_row(network, node, expected) for node in network.nodes]
    if json:
        console.as_json(
            {
                "name": network.name,
                "integer": False,
                "history": list(network.history),
                "nodes": rows,
                "expected": None if expected is None else _totals(expected),
                "problem": problem or None,
            }
        )
        return
    console.say(f"{network.name}: an ANN, not converted yet")
    for entry in network.history:
        console.say(f"read as {entry}")
    console.say()
    console.table(
        ["node", "kind", ">shape", "becomes", ">neurons", ">synapses"],
        [
            (
                row["name"],
                row["kind"],
                "x".join(map(str, network.shapes[str(row["name"])])),
                row["becomes"],
                *("" if row[key] is None else f"{row[key]:,}" for key in ("neurons", "synapses")),
            )
            for row in rows
        ],
    )
    console.say()
    if expected is None:
        console.say(f"cannot be converted as it is: {problem}")
    else:
        _say_totals(expected)


def _say_totals(expected: Outlook) -> None:
    neurons, synapses = sum(expected.neurons.values()), sum(expected.synapses.values())
    console.say(
        f"{neurons:,} neurons and {synapses:,} synapses in {expected.depth} layers behind the input"
    )
    if expected.window is None:
        console.say(
            "steps: as the levels decide that calibration gives its real-valued activations"
        )
    else:
        console.say(
            f"a window of {expected.window} steps; settles to the quantized ANN after at most "
            f"{expected.settle_bound:,} steps"
        )


def _totals(expected: Outlook) -> dict[str, int | None]:
    return {
        "neurons": sum(expected.neurons.values()),
        "synapses": sum(expected.synapses.values()),
        "depth": expected.depth,
        "window": expected.window,
        "settle_bound": expected.settle_bound,
    }


def _row(network: Network, node: Node, expected: Outlook | None) -> dict[str, object]:
    return {
        "name": node.name,
        "kind": type(node).__name__,
        "shape": list(network.shapes[node.name]),
        "becomes": _becomes(node),
        "neurons": None if expected is None else expected.neurons.get(node.name),
        "synapses": (expected.synapses.get(node.name) or None) if expected else None,
    }


def _becomes(node: Node) -> str:
    if isinstance(node, Activation):
        return f"neurons on {_values(node)}"
    if isinstance(node, Relu):
        upper = "" if node.cap is None else f" up to {node.cap:.4g}"
        return f"neurons, levels from calibration{upper}"
    if isinstance(node, Input):
        grid = node.grid
        if grid is None:
            return "a grid from calibration data"
        return f"integers {grid.low} to {grid.high}, each worth {grid.scale:.4g}"
    return {
        "BatchNorm": "folded into the weights before it",
        "MaxPool2d": "max-pool on spike counts",
        "AvgPool2d": "sum; its divisor goes into the next weights",
        "Conv2d": "integer synapses",
        "Linear": "integer synapses",
        "Add": "currents into one membrane",
        "Concat": "a slice of the next weights for each branch",
        "Output": "readout: integrates, never fires",
    }.get(type(node).__name__, "")


def _values(node: Activation) -> str:
    """The grid of an activation: `0 to 1.5 in 15 levels`."""
    top = node.offset + node.ceiling
    return f"{node.offset:.4g} to {top:.4g} in {node.levels} levels"


def _countable(node: Node) -> Node:
    """A node with the connections of what it becomes."""
    if isinstance(node, Relu):
        return Activation(node.name, 1.0, 1)
    return node


def _synapses(network: Network, layer: Layer) -> int:
    """Connections into a layer; those of a pool are the values that it compares."""
    if isinstance(layer.node, MaxPool2d):
        return prod(layer.shape) * prod(layer.node.kernel)
    total = 0
    for path in layer.projections:
        ops = tuple(_summed(op) for op in path.ops)
        total += dense_operations(replace(path, ops=ops), network.shapes[path.source])
    return total


def _summed(op: Node) -> Node:
    if isinstance(op, AvgPool2d):
        return SumPool2d(op.name, op.kernel, op.stride, op.padding)
    return op
