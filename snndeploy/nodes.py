"""The vertices of a network, frozen, each knowing the shape of its value.

Shapes leave out the batch: (C, H, W) or (F,). A signal is an image of height one, (C, 1, W).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn, TypeAlias

from numpy.typing import NDArray

from snndeploy.errors import UnsupportedModelError

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Sides: TypeAlias = tuple[int, int, int, int]
Padding: TypeAlias = Pair | Sides
Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Node:
    """A named vertex of the graph."""

    name: str

    def output_shape(self, inputs: list[Shape]) -> Shape:
        """The shape of this node's value, given those of its sources in edge order."""
        return inputs[0]


@dataclass(frozen=True)
class Grid:
    """Integers `low .. high`, each worth `scale` in the model's units."""

    scale: float
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The samples: `shape` without the batch, on `grid` once that is known.

    Attributes:
        per_step: a sample is one value a step, such as events, and the model's input is their
            sum; `grid` bounds the running sums. Otherwise a sample is injected at each step.
    """

    shape: Shape
    grid: Grid | None = None
    per_step: bool = False

    def output_shape(self, inputs: list[Shape]) -> Shape:
        return self.shape


class Padded(Node):
    """A node with zero padding: `(h, w)`, or `(top, left, bottom, right)` where sides differ.

    Four numbers of equal sides become two, so that equal nodes hash alike.
    """

    padding: Padding

    def __post_init__(self) -> None:
        given = tuple(int(p) for p in self.padding)
        if len(given) not in (2, 4):
            refuse(self, f"padding {given}, expected (h, w) or (top, left, bottom, right)")
        object.__setattr__(self, "padding", given[:2] if given[:2] == given[2:] else given)

    @property
    def pads(self) -> Sides:
        """Top, left, bottom and right."""
        return sides(self.padding)


@dataclass(frozen=True, eq=False)
class Conv2d(Padded):
    """Cross-correlation; weight (C_out, C_in / groups, K_h, K_w), zero padding."""

    weight: Array
    bias: Array | None = None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def output_shape(self, inputs: list[Shape]) -> Shape:
        shape = _image(self, inputs[0])
        channels, group = shape[0], self.weight.shape[1]
        if channels != group * self.groups or self.weight.shape[0] % self.groups:
            refuse(self, f"weight {self.weight.shape} in {self.groups} groups on {shape}")
        kernel = (self.weight.shape[2], self.weight.shape[3])
        spatial = _window_shape(self, shape, kernel, self.stride, self.pads, self.dilation)
        return (self.weight.shape[0], *spatial)


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """Dense synapses; weight (F_out, F_in) on a flat input."""

    weight: Array
    bias: Array | None = None

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if inputs[0] != (self.weight.shape[1],):
            refuse(self, f"weight {self.weight.shape} on an input of shape {inputs[0]}")
        return (self.weight.shape[0],)


@dataclass(frozen=True, eq=False)
class Scale(Node):
    """An identity branch with one integer weight a channel."""

    weight: Array

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if self.weight.shape != inputs[0][:1]:
            refuse(self, f"{self.weight.shape} weights on an input of shape {inputs[0]}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class BatchNorm(Node):
    """`(x - mean) / sqrt(variance + epsilon) * gamma + beta`, per channel, frozen."""

    mean: Array
    variance: Array
    gamma: Array
    beta: Array
    epsilon: float

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if self.mean.shape != inputs[0][:1]:
            refuse(self, f"{self.mean.shape} channels on an input of shape {inputs[0]}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class _Pool2d(Padded):
    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0)

    def output_shape(self, inputs: list[Shape]) -> Shape:
        shape = _image(self, inputs[0])
        spatial = _window_shape(self, shape, self.kernel, self.stride, self.pads, (1, 1))
        along = zip(shape[1:], self.kernel, self.stride, self.pads, spatial, strict=False)
        if any(p >= k or (out - 1) * s - p >= n for n, k, s, p, out in along):
            refuse(self, f"a window {self.kernel} holds nothing but padding {self.padding}")
        return (shape[0], *spatial)


class MaxPool2d(_Pool2d):
    """Maximum over windows: of values in a float network, of spike counts in an integer one."""


class AvgPool2d(_Pool2d):
    """Mean over windows; padding counts as zeros."""


class SumPool2d(_Pool2d):
    """Sum over windows: what remains of an average pool in an integer network."""


@dataclass(frozen=True, eq=False)
class Add(Node):
    """Sum of two or more branches of one shape."""

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if len(set(inputs)) != 1:
            refuse(self, f"adds unlike shapes {inputs}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Branches one behind the other, along channels (C, H, W) or features (F,)."""

    def output_shape(self, inputs: list[Shape]) -> Shape:
        if len({shape[1:] for shape in inputs}) != 1:
            refuse(self, f"joins unlike shapes {inputs}")
        return (sum(shape[0] for shape in inputs), *inputs[0][1:])


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """All dimensions but the batch into one, row-major."""

    def output_shape(self, inputs: list[Shape]) -> Shape:
        return (prod(inputs[0]),)


@dataclass(frozen=True, eq=False)
class Activation(Node):
    """A uniform staircase: `offset + s * clip(floor(x / s + shift), 0, levels)`.

    One step is `s = ceiling / levels`. The defaults are the quantized ReLU (QCFS). An activation on
    a grid `low .. high` with negative integers has `levels = high - low`, `shift = 1/2 - low` and
    `offset = s * low`; a sign function has one level of size 2, shift 1 and offset -1.
    """

    ceiling: float
    levels: int
    shift: float = 0.5
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Relu(Node):
    """`max(x, 0)`, or `min(max(x, 0), cap)`: real-valued until it is calibrated to levels.

    `cap` is one number, or one per channel (C,) where a pass has scaled the channels.
    """

    cap: float | Array | None = None


@dataclass(frozen=True, eq=False)
class Neuron(Node):
    """Integrate-and-fire, all integer; the network says what a spike leaves of the membrane.

    Attributes:
        threshold, v0, bias: int64, one per channel (first axis of the layer). The bias is
            the total over the window.
        levels: the largest net count, L.
        scale: what one spike is worth in the model's units.
    """

    threshold: Array
    v0: Array
    bias: Array
    levels: int
    scale: float

    def output_shape(self, inputs: list[Shape]) -> Shape:
        for label in ("threshold", "v0", "bias"):
            if getattr(self, label).shape != inputs[0][:1]:
                refuse(self, f"{label} {getattr(self, label).shape} on a layer of {inputs[0]}")
        return inputs[0]


@dataclass(frozen=True, eq=False)
class Output(Node):
    """The readout: neurons that integrate and never fire.

    In an integer network `bias` is the total over the window, and one unit of membrane is
    worth `scale` in the model's units.
    """

    bias: Array | None = None
    scale: float = 1.0


WEIGHTED: tuple[type[Node], ...] = (Conv2d, Linear, Scale)
"""Nodes that hold synaptic weights."""

FLOAT_ONLY: tuple[type[Node], ...] = (BatchNorm, AvgPool2d, Activation, Relu, Concat)
INTEGER_ONLY: tuple[type[Node], ...] = (Neuron, SumPool2d, Scale)


def sides(padding: Padding) -> Sides:
    """Top, left, bottom and right."""
    return (*padding, *padding) if len(padding) == 2 else padding


def refuse(node: Node, problem: str) -> NoReturn:
    """Raise `UnsupportedModelError` about one node."""
    raise UnsupportedModelError(problem, where=f"{type(node).__name__} '{node.name}'")


def _image(node: Node, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        refuse(node, f"expects an input of shape (C, H, W), found {shape}")
    return shape[0], shape[1], shape[2]


def _window_shape(
    node: Node, shape: tuple[int, int, int], kernel: Pair, stride: Pair, pads: Sides, dil: Pair
) -> Pair:
    if min(*kernel, *stride, *dil) < 1 or min(pads) < 0:
        refuse(node, f"kernel {kernel}, stride {stride}, padding {pads}, dilation {dil}")
    added = (pads[0] + pads[2], pads[1] + pads[3])
    size = [
        (n + p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(shape[1:], kernel, stride, added, dil, strict=True)
    ]
    if min(size) < 1:
        refuse(node, f"kernel {kernel} is larger than the padded input {shape[1:]}")
    return size[0], size[1]
