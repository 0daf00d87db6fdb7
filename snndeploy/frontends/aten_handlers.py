"""One handler for each ATen operator that can become a node of a float `Network`.

A handler `f(builder, fx, *arguments)` takes the operator's own arguments, adds what it stands for
to the builder, and raises `Unsupported` where an argument has no spiking form. A signal (N, C, W)
is an image of height one: operators on signals become those on images, kernels of height one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snndeploy.frontends.quantizers import staircase
from snndeploy.frontends.reading import MAX_LEVELS, Unsupported, identifier, network_shape
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm,
    Concat,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Padding,
    Pair,
    Relu,
    Sides,
    sides,
)

REMEDIES = {
    "sigmoid": "use snndeploy.training.QCFS",
    "tanh": "use snndeploy.training.QCFS",
    "gelu": "use snndeploy.training.QCFS",
    "silu": "use snndeploy.training.QCFS",
    "softmax": "leave it out: the largest logit stays the largest",
    "log_softmax": "leave it out: the largest logit stays the largest",
    "mul": "only quantized activations, sums and fixed weights can be spiking",
    "stack": "use torch.cat along the channels",
}
"""What to do instead, by the name of an operator that has no handler."""


@dataclass
class Builder:
    """The network under construction.

    Attributes:
        parameters: what is stored, and what is computed of it alone, by the name in the graph.
        grids: of the activations that stand for quantizers.
        names: the node that computes what a place in the graph holds.
        pads: zeros around that, which a convolution or pool behind it merges.
    """

    parameters: dict[str, Tensor]
    grids: dict[str, Grid] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    names: dict[torch.fx.Node, str] = field(default_factory=dict)
    pads: dict[torch.fx.Node, Sides] = field(default_factory=dict)

    def add(self, fx: torch.fx.Node, make: Callable[[str], Node], *sources: Any) -> None:
        """Add the node that `fx` becomes, `make(name)`, behind its sources."""
        self.put(fx, make, *(self.source(source) for source in sources))

    def put(self, fx: torch.fx.Node, make: Callable[[str], Node], *sources: str) -> None:
        """Add the node that `fx` becomes, `make(name)`, behind nodes."""
        node = make(self._name(fx))
        self.nodes.append(node)
        self.edges.extend((source, node.name) for source in sources)
        self.names[fx] = node.name

    def around(self, x: Any, padding: Padding) -> Padding:
        """The padding of a convolution or pool, and what is around its operand already."""
        outer, (top, left, bottom, right) = sides(padding), self.pads.get(x, (0, 0, 0, 0))
        return outer[0] + top, outer[1] + left, outer[2] + bottom, outer[3] + right

    def alias(self, fx: torch.fx.Node, source: torch.fx.Node) -> None:
        """`fx` changes nothing: let it stand for its source."""
        self.names[fx] = self.value(source)
        if source in self.pads:
            self.pads[fx] = self.pads[source]

    def value(self, fx: Any) -> str:
        """The name of the node that computes an operand, but for zeros around it."""
        if fx not in self.names:
            raise Unsupported("an operand is not computed from the model's input")
        return self.names[fx]

    def source(self, fx: Any) -> str:
        """The name of the node that computes an operand."""
        if fx in self.pads:
            raise Unsupported("reads a padded value: only convolutions and average pools can")
        return self.value(fx)

    def tensor(self, argument: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """A parameter or buffer as float64, or None where the argument is None."""
        if argument is None:
            return None
        if not isinstance(argument, torch.fx.Node) or argument.name not in self.parameters:
            raise Unsupported("its weights are computed, not stored")
        return self.parameters[argument.name].detach().double().numpy()

    def stored(self, argument: Any) -> Tensor | None:
        """A parameter, a buffer, or what is computed of them alone; None for other operands."""
        known = isinstance(argument, torch.fx.Node) and argument.name in self.parameters
        return self.parameters[argument.name] if known else None

    def number(self, argument: Any) -> float:
        """A number that is stated, or stored as a tensor of one element."""
        stored = self.stored(argument)
        if stored is not None and stored.numel() == 1:
            return float(stored.item())
        if not isinstance(argument, int | float):
            raise Unsupported("its scale or zero point is not one stored number")
        return float(argument)

    def shape(self, fx: torch.fx.Node) -> tuple[int, ...]:
        """The shape of its value in the model, batch included."""
        return tuple(int(n) for n in fx.meta["val"].shape)

    def spatial(self, fx: torch.fx.Node, x: Any) -> int:
        """1 or 2, the spatial dimensions of an operator on signals or images and of its operand."""
        dims = 1 if "1d" in str(fx.target) else 2
        if len(self.shape(x)) != dims + 2:
            kind = "signals (N, C, W)" if dims == 1 else "images (N, C, H, W)"
            raise Unsupported(f"works on {kind}, not on {self.shape(x)}")
        return dims

    def _name(self, fx: torch.fx.Node) -> str:
        """The module's path in the model if it is free, else the operator's name."""
        stack = fx.meta.get("nn_module_stack") or {}
        path = str(list(stack.values())[-1][0]) if stack else ""
        return self.free(path, fx.name, f"{path}_{fx.name}")

    def free(self, *candidates: str) -> str:
        """The first that is a free name once it is spelled as an identifier, or a numbered one."""
        taken = {node.name for node in self.nodes}
        return identifier((*candidates, f"{candidates[-1]}_{len(taken)}"), taken)


def _pair(value: int | Sequence[int], dims: int, height: int) -> Pair:
    """Along height and width; `height` where there is only a width."""
    first, last = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return (first if dims == 2 else height), last


def _conv(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> None:
    dims, w = b.spatial(fx, x), b.tensor(weight)
    assert w is not None
    w = w.reshape(*w.shape[:2], *(1,) * (2 - dims), *w.shape[2:])
    strides, dilations = _pair(stride, dims, 1), _pair(dilation, dims, 1)
    if isinstance(padding, str):
        pads: Padding = _named_padding(padding, w.shape[2:], strides, dilations)
    else:
        pads = _pair(padding, dims, 0)
    pads, offsets = b.around(x, pads), b.tensor(bias)
    b.put(fx, lambda name: Conv2d(name, w, offsets, strides, pads, dilations, groups), b.value(x))


def _named_padding(kind: str, kernel: tuple[int, ...], stride: Pair, dilation: Pair) -> Padding:
    """`same` puts what is odd behind the last pixel."""
    if kind == "valid":
        return 0, 0
    if stride != (1, 1):
        raise Unsupported("padding 'same' goes with a stride of 1")
    down, right = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    return down // 2, right // 2, -(-down // 2), -(-right // 2)


def _linear(b: Builder, fx: torch.fx.Node, x: Any, weight: Any, bias: Any = None) -> None:
    w = b.tensor(weight)
    assert w is not None
    b.add(fx, lambda name: Linear(name, w, b.tensor(bias)), x)


def _batch_norm(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    variance: Any,
    training: bool = False,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
    *_: Any,
) -> None:
    m, v = b.tensor(mean), b.tensor(variance)
    if training or m is None or v is None:
        raise Unsupported("needs frozen statistics: export the model in eval mode")
    g, s = b.tensor(gamma), b.tensor(beta)
    ones, zeros = np.ones_like(m), np.zeros_like(m)
    b.add(
        fx,
        lambda name: BatchNorm(
            name, m, v, ones if g is None else g, zeros if s is None else s, epsilon
        ),
        x,
    )


def _max_pool(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> None:
    dims = b.spatial(fx, x)
    if _pair(dilation, dims, 1) != (1, 1):
        raise Unsupported("a pool with dilation is not supported")
    sizes = _pair(kernel, dims, 1), _pair(stride or kernel, dims, 1)
    pads = _rounded_up(b, fx, sizes[0], sizes[1], _pair(padding, dims, 0), x)
    b.add(fx, lambda name: MaxPool2d(name, *sizes, pads), x)


def _rounded_up(
    b: Builder, fx: torch.fx.Node, kernel: Pair, stride: Pair, padding: Pair, x: Any
) -> Padding:
    """Padding with what the last windows of the result reach beyond it, as with `ceil_mode`."""
    before, after = (network_shape(b.shape(node))[1:] for node in (x, fx))
    over = [
        max((out - 1) * s + k - (n + 2 * p), 0)
        for n, out, k, s, p in zip(before, after, kernel, stride, padding, strict=True)
    ]
    return (*padding, padding[0] + over[0], padding[1] + over[1])


def _avg_pool(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> None:
    dims = b.spatial(fx, x)
    sizes = _pair(kernel, dims, 1), _pair(stride or kernel, dims, 1), _pair(padding, dims, 0)
    if ceil_mode and _rounded_up(b, fx, *sizes, x) != sizes[2] * 2:
        raise Unsupported(
            "with ceil_mode its last windows are cut short and their values weigh more"
        )
    if divisor_override or (not count_include_pad and sizes[2] != (0, 0)):
        raise Unsupported("divisor_override and uncounted padding are not supported")
    if x in b.pads and not count_include_pad:
        raise Unsupported("divides by what it does not pad itself: use count_include_pad=True")
    pads = b.around(x, sizes[2])
    b.put(fx, lambda name: AvgPool2d(name, *sizes[:2], pads), b.value(x))


def _pad(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    amounts: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> None:
    """Zeros around pixels, given from the last dimension on: left, right, top, bottom."""
    if mode != "constant" or value:
        raise Unsupported("pads with other values than zeros")
    left, right, top, bottom = (*amounts, *(0,) * 4)[:4]
    over = 2 * (len(b.shape(x)) - 2)
    if len(b.shape(x)) not in (3, 4) or any(amounts[over:]) or min(amounts, default=0) < 0:
        raise Unsupported("pads other dimensions than height and width, or crops")
    b.alias(fx, x)
    b.pads[fx] = sides(b.around(x, (top, left, bottom, right)))


def _adaptive_avg_pool(b: Builder, fx: torch.fx.Node, x: Any, size: Any) -> None:
    dims = b.spatial(fx, x)
    have, want = network_shape(b.shape(x))[1:], _pair(size, dims, 1)
    if any(h % w for h, w in zip(have, want, strict=True)):
        raise Unsupported(f"output {want} does not divide the input {have}")
    kernel = (have[0] // want[0], have[1] // want[1])
    b.add(fx, lambda name: AvgPool2d(name, kernel, kernel), x)


def _mean(b: Builder, fx: torch.fx.Node, x: Any, dims: Any, *_: Any, **__: Any) -> None:
    """An average pool over whole dimensions; whether they stay is seen from the result."""
    shape = b.shape(x)
    over = {dim % len(shape) for dim in dims or ()}
    if len(shape) not in (3, 4) or not over or min(over) < 2:
        raise Unsupported("only the mean over height, width or both is supported")
    sizes = [size if dim in over else 1 for dim, size in enumerate(shape)]
    kernel = _pair(sizes[2:], len(shape) - 2, 1)
    b.add(fx, lambda name: AvgPool2d(name, kernel, kernel), x)
    pooled, after = b.names[fx], b.shape(fx)
    kept = [1 if dim in over else size for dim, size in enumerate(shape)]
    if len(after) == 2:
        b.nodes.append(Flatten(f"{pooled}_flat"))
        b.edges.append((pooled, f"{pooled}_flat"))
        b.names[fx] = f"{pooled}_flat"
    elif network_shape(after) != network_shape(tuple(kept)):
        raise Unsupported("the mean of each row makes a signal of a column: use keepdim=True")


def _add(b: Builder, fx: torch.fx.Node, x: Any, y: Any, alpha: float = 1) -> None:
    if y == 0 and not isinstance(y, torch.fx.Node):
        b.alias(fx, x)  # as `sum` starts
        return
    if not isinstance(y, torch.fx.Node) or alpha != 1:
        raise Unsupported("only the plain sum of two branches is supported")
    if b.source(x) == b.source(y):
        raise Unsupported("adds a value to itself: scale the weights instead")
    b.add(fx, Add, x, y)


def _add_in_place(b: Builder, fx: torch.fx.Node, x: Any, y: Any, alpha: float = 1) -> None:
    """`x += y`: a plain sum, unless the old value of x is seen again."""
    if _is_seen_again(fx, x):
        raise Unsupported("its left side is used again after `+=`: write `x = x + y`")
    _add(b, fx, x, y, alpha)


def _is_seen_again(fx: torch.fx.Node, x: torch.fx.Node) -> bool:
    """Whether what `fx` overwrites in place is used after it, under whatever name."""
    order = {node: index for index, node in enumerate(fx.graph.nodes)}
    base = x
    while str(base.target) in _VIEWS:
        base = base.args[0]  # type: ignore[assignment]
    seen, pending = {base}, [base]
    while pending:
        node = pending.pop()
        for user in node.users:
            if user is not fx and order[user] > order[fx]:
                return True
            if str(user.target) in _VIEWS and user not in seen:
                seen.add(user)
                pending.append(user)
    return False


def _relu(b: Builder, fx: torch.fx.Node, x: Any) -> None:
    _clamp(b, fx, x, 0)


def _relu6(b: Builder, fx: torch.fx.Node, x: Any) -> None:
    _clamp(b, fx, x, 0, 6)


def _hardtanh(b: Builder, fx: torch.fx.Node, x: Any, low: float = -1, high: float = 1) -> None:
    _clamp(b, fx, x, low, high)


def _clamp(b: Builder, fx: torch.fx.Node, x: Any, low: Any = None, high: Any = None) -> None:
    if low != 0:
        raise Unsupported(f"clips at {low}: only a ReLU, which clips at 0, can be spiking")
    if high is not None and not 0 < high < float("inf"):
        raise Unsupported(f"clips at {high}, expected a number above 0")
    if fx.target.__name__.split(".")[0].endswith("_") and _is_seen_again(fx, x):  # type: ignore[union-attr]
        raise Unsupported("its operand is used again after it was overwritten in place")
    b.put(fx, lambda name: Relu(name, None if high is None else float(high)), b.value(x))
    if x in b.pads:
        b.pads[fx] = b.pads[x]


def _cat(b: Builder, fx: torch.fx.Node, branches: Any, dim: int = 0) -> None:
    if dim % len(b.shape(branches[0])) != 1:
        raise Unsupported("only concatenation along channels or features, dim 1, is supported")
    if len(branches) == 1:
        b.alias(fx, branches[0])
    else:
        b.add(fx, Concat, *branches)


def _hstack(b: Builder, fx: torch.fx.Node, branches: Any) -> None:
    _cat(b, fx, branches, 1)


def _reshape(b: Builder, fx: torch.fx.Node, x: Any, *_: Any, **__: Any) -> None:
    before, after = b.shape(x), b.shape(fx)
    if before[0] == after[0] and network_shape(before) == network_shape(after):
        b.alias(fx, x)
    elif after == (before[0], prod(before[1:])):
        b.add(fx, Flatten, x)
    else:
        raise Unsupported(f"reshapes {before} to {after}; only flattening is supported")


def _qcfs(b: Builder, fx: torch.fx.Node, x: Any, ceiling: Any, levels: int) -> None:
    value = b.tensor(ceiling)
    assert value is not None
    if value.size != 1 or not np.isfinite(value).all() or float(value.item()) <= 0:
        raise Unsupported(f"its ceiling is {value.tolist()}, expected one number above 0")
    if not 1 <= levels <= MAX_LEVELS:
        raise Unsupported(f"it has {levels} levels, expected 1 to {MAX_LEVELS}")
    b.add(fx, lambda name: Activation(name, float(value.item()), levels), x)


def _quantize_input(b: Builder, fx: torch.fx.Node, x: Any, s: float, low: int, high: int) -> None:
    if not (0 < s < float("inf") and low < high and max(-low, high) <= 1 << 32):
        raise Unsupported(f"scale {s}, low {low}, high {high} is not a grid")
    if x.op != "placeholder":
        raise Unsupported("must stand directly on the model's input")
    if any(user.target != fx.target or user.args[1:] != fx.args[1:] for user in x.users):
        raise Unsupported("every use of the input must pass through one and the same grid")
    name = b.source(x)
    for index, node in enumerate(b.nodes):
        if isinstance(node, Input) and node.name == name:
            b.nodes[index] = Input(node.name, node.shape, Grid(s, low, high))
    b.alias(fx, x)


def _grid(b: Builder, scale: Any, zero: Any, low: int, high: int) -> Grid:
    s, z = b.number(scale), int(b.number(zero))
    if not 0 < s < float("inf") or not low <= z <= high or not 0 < high - low <= MAX_LEVELS:
        raise Unsupported(f"scale {s}, zero point {z}, {low} to {high} is not a grid")
    return Grid(s, low - z, high - z)


def _staircase(b: Builder, fx: torch.fx.Node, x: Any, grid: Grid) -> None:
    """The activation that a quantizer and its inverse are."""
    b.put(fx, lambda _: staircase(b.free(f"{b.value(x)}_quantized"), grid), b.value(x))
    b.grids[b.names[fx]] = grid
    if x in b.pads:  # around it zeros are zeros still, since the grid holds zero
        b.pads[fx] = b.pads[x]


def _quantize_per_tensor(
    b: Builder, fx: torch.fx.Node, x: Any, scale: Any, zero: Any, low: int, high: int, *_: Any
) -> None:
    grid, stored = _grid(b, scale, zero, low, high), b.stored(x)
    if stored is not None:
        b.parameters[fx.name] = _integers(stored, grid.scale, low - grid.low, low, high)
        return
    for user in fx.users:
        inverse = str(user.target).startswith("quantized_decomposed.dequantize_per_tensor")
        if not inverse or _grid(b, *user.args[1:5]) != grid:  # type: ignore[arg-type]
            raise Unsupported("its integers are not dequantized with the same scale")
    _staircase(b, fx, x, grid)


def _dequantize_per_tensor(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    scale: Any,
    zero: Any,
    low: int,
    high: int,
    *_: Any,
    **__: Any,
) -> None:
    stored, grid = b.stored(x), _grid(b, scale, zero, low, high)
    if stored is None:
        b.alias(fx, x)
    else:
        b.parameters[fx.name] = (stored.double() - (low - grid.low)) * grid.scale


def _quantize_per_channel(
    b: Builder, fx: torch.fx.Node, x: Any, scales: Any, zeros: Any, axis: int, *rest: Any
) -> None:
    stored, s, z = _per_channel(b, x, scales, zeros, axis)
    b.parameters[fx.name] = _integers(stored, s, z, *rest[:2])


def _dequantize_per_channel(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    scales: Any,
    zeros: Any,
    axis: int,
    *_: Any,
    **__: Any,
) -> None:
    stored, s, z = _per_channel(b, x, scales, zeros, axis)
    b.parameters[fx.name] = (stored.double() - z) * s


def _fake_quantize(
    b: Builder, fx: torch.fx.Node, x: Any, scale: Any, zero: Any, low: int, high: int
) -> None:
    """A quantizer and its inverse in one, as quantization-aware training uses it."""
    grid, stored = _grid(b, scale, zero, low, high), b.stored(x)
    if stored is None:
        _staircase(b, fx, x, grid)
    else:
        z = low - grid.low
        b.parameters[fx.name] = (_integers(stored, grid.scale, z, low, high) - z) * grid.scale


def _fake_quantize_per_channel(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    scales: Any,
    zeros: Any,
    axis: int,
    low: int,
    high: int,
) -> None:
    stored, s, z = _per_channel(b, x, scales, zeros, axis)
    b.parameters[fx.name] = (_integers(stored, s, z, low, high) - z) * s


def _per_channel(
    b: Builder, x: Any, scales: Any, zeros: Any, axis: int
) -> tuple[Tensor, Tensor, Tensor | float]:
    """What is stored, and scales and zero points in a shape that broadcasts to it, float64."""
    stored, s, z = b.stored(x), b.stored(scales), b.stored(zeros)
    if stored is None or s is None or (zeros is not None and z is None):
        raise Unsupported("only weights can have a scale a channel: use one scale for all values")
    shape = [1] * stored.ndim
    shape[axis] = -1
    return stored, s.double().view(shape), 0.0 if z is None else z.double().view(shape)


def _integers(x: Tensor, scale: Any, zero: Any, low: int, high: int) -> Tensor:
    """What a quantizer stores, in float64; it multiplies by the inverse of its float32 scale."""
    inverse = 1.0 / torch.as_tensor(scale, dtype=torch.float32)
    found: Tensor = torch.round(x.float() * inverse).double() + zero
    return found.clamp(low, high)


def _size(*_: Any) -> None:
    """The size of the batch, for a `view` to repeat."""


def _identity(b: Builder, fx: torch.fx.Node, x: Any, *_: Any, **__: Any) -> None:
    b.alias(fx, x)


_VIEWS = {
    "aten.flatten.using_ints",
    "aten.view.default",
    "aten.reshape.default",
    "aten.squeeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.unsqueeze.default",
    "aten.contiguous.default",
    "aten.alias.default",
    "aten.dropout.default",
    "aten.feature_dropout.default",
}
"""Operators whose result may share its memory with their first operand."""

HANDLERS: dict[str, Callable[..., None]] = {
    "aten.conv1d.default": _conv,
    "aten.conv1d.padding": _conv,
    "aten.conv2d.default": _conv,
    "aten.conv2d.padding": _conv,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    "aten.max_pool1d.default": _max_pool,
    "aten.max_pool2d.default": _max_pool,
    "aten.avg_pool1d.default": _avg_pool,
    "aten.avg_pool2d.default": _avg_pool,
    "aten.adaptive_avg_pool1d.default": _adaptive_avg_pool,
    "aten.adaptive_avg_pool2d.default": _adaptive_avg_pool,
    "aten.mean.dim": _mean,
    "aten.add.Tensor": _add,
    "aten.add_.Tensor": _add_in_place,
    "aten.pad.default": _pad,
    "aten.constant_pad_nd.default": lambda b, fx, x, amounts, value=0: _pad(
        b, fx, x, amounts, "constant", value
    ),
    "aten.relu.default": _relu,
    "aten.relu_.default": _relu,
    "aten.relu6.default": _relu6,
    "aten.relu6_.default": _relu6,
    "aten.hardtanh.default": _hardtanh,
    "aten.hardtanh_.default": _hardtanh,
    "aten.clamp.default": _clamp,
    "aten.clamp_.default": _clamp,
    "aten.clip.default": _clamp,
    "aten.clip_.default": _clamp,
    "aten.clamp_min.default": _clamp,
    "aten.clamp_min_.default": _clamp,
    "aten.cat.default": _cat,
    "aten.concat.default": _cat,
    "aten.concatenate.default": _cat,
    "aten.hstack.default": _hstack,
    "aten.flatten.using_ints": _reshape,
    "aten.view.default": _reshape,
    "aten.reshape.default": _reshape,
    "aten.squeeze.default": _reshape,
    "aten.squeeze.dim": _reshape,
    "aten.squeeze.dims": _reshape,
    "aten.unsqueeze.default": _reshape,
    "aten.dropout.default": _identity,
    "aten.feature_dropout.default": _identity,
    "aten.contiguous.default": _identity,
    "aten.clone.default": _identity,
    "aten.alias.default": _identity,
    "aten.sym_size.int": _size,
    "aten.fake_quantize_per_tensor_affine.default": _fake_quantize,
    "aten.fake_quantize_per_tensor_affine.tensor_qparams": _fake_quantize,
    "aten.fake_quantize_per_channel_affine.default": _fake_quantize_per_channel,
    "quantized_decomposed.quantize_per_tensor.default": _quantize_per_tensor,
    "quantized_decomposed.quantize_per_tensor.tensor": _quantize_per_tensor,
    "quantized_decomposed.quantize_per_tensor.tensor2": _quantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.default": _dequantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.tensor": _dequantize_per_tensor,
    "quantized_decomposed.dequantize_per_tensor.tensor2": _dequantize_per_tensor,
    "quantized_decomposed.quantize_per_channel.default": _quantize_per_channel,
    "quantized_decomposed.dequantize_per_channel.default": _dequantize_per_channel,
    "snndeploy.qcfs.default": _qcfs,
    "snndeploy.quantize_input.default": _quantize_input,
}
"""Handlers by the operator's full name."""
