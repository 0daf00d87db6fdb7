"""What activations make of their inputs: as staircases, as ReLUs, as neurons over time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snndeploy.float_ann.walk import Walk, over_time, per_channel
from snndeploy.network import Network
from snndeploy.nodes import Activation, Array, MaxPool2d, Node, Output, Relu

Response = Callable[[Tensor], Tensor]


def response(node: Node, steps: int = 0, window: int = 0) -> Response:
    """A function of what arrives at an activation or the readout; with `steps`, over time."""
    if isinstance(node, Relu):
        return lambda z: relu(node, z)
    if isinstance(node, Output):
        return lambda z: z
    assert isinstance(node, Activation)
    if steps:
        return lambda z: fire(node, z, steps, window)
    return lambda z: staircase(node, z)


def relu(node: Relu, z: Tensor) -> Tensor:
    """`min(max(z, 0), cap)`."""
    z = z.clamp(min=0)
    if node.cap is None:
        return z
    cap = torch.as_tensor(node.cap, dtype=z.dtype)
    return torch.minimum(z, per_channel(cap, z) if cap.ndim else cap)


def staircase(node: Activation, z: Tensor) -> Tensor:
    """`offset + s * clip(floor(z / s + shift), 0, levels)`."""
    step = node.ceiling / node.levels
    return (z / step).add_(node.shift).floor_().clamp_(0, node.levels).mul_(step).add_(node.offset)


def fire(node: Activation, z: Tensor, steps: int, window: int) -> Tensor:
    """What an integrate-and-fire neuron with soft reset emits at each step, (n * steps, *shape).

    One spike is worth `s`, the threshold is `s`, and the membrane starts at `shift * s`. An offset
    is emitted in parts of `1 / window`.
    """
    threshold = node.ceiling / node.levels
    currents = over_time(z, steps)
    membrane = torch.full_like(currents[:, 0], node.shift * threshold)
    values = torch.empty_like(currents)
    for step in range(steps):
        membrane += currents[:, step]
        spikes = torch.where(membrane >= threshold, threshold, 0.0)
        membrane -= spikes
        values[:, step] = spikes
    return values.add_(node.offset / window).flatten(0, 1)


@torch.inference_mode()
def logits(network: Network, x: Array, steps: int = 0, window: int = 0) -> Tensor:
    """The readout (N, classes), in the model's units; with `steps` the membrane after those."""
    walk = Walk(network, x, steps, window)
    for node in walk.stations():
        pass_station(walk, node, steps, window)
    found = walk.value(network.output.name)
    return over_time(found, steps).sum(1) if steps else found


def pass_station(walk: Walk, node: Node, steps: int = 0, window: int = 0) -> None:
    """Keep a station's value as it is."""
    if isinstance(node, MaxPool2d) and steps:
        walk.pooled(node)
    elif isinstance(node, Activation | Relu | Output):
        walk.keep(node, None, response(node, steps, window))
    else:
        walk.keep(node, None, torch.clone)
