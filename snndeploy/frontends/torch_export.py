"""PyTorch modules with quantized activations, by way of `torch.export`, to a float `Network`.

Each ATen operator has one handler below. Whatever has none is refused, all at once, each with
the change that would help.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from snndeploy import quantized_ops
from snndeploy.errors import UnsupportedModelError
from snndeploy.network import Network
from snndeploy.nodes import (
    Activation,
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    Grid,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Output,
    Pair,
)

_ = quantized_ops  # registers the operators that exports refer to

REMEDIES = {
    "relu": "use snndeploy.training.QCFS",
    "relu_": "use snndeploy.training.QCFS",
    "clamp": "use snndeploy.training.QCFS",
    "hardtanh": "use snndeploy.training.QCFS",
    "sigmoid": "use snndeploy.training.QCFS",
    "tanh": "use snndeploy.training.QCFS",
    "gelu": "use snndeploy.training.QCFS",
    "silu": "use snndeploy.training.QCFS",
    "softmax": "leave it out: the largest logit stays the largest",
    "log_softmax": "leave it out: the largest logit stays the largest",
    "conv1d": "write it as a Conv2d with a kernel of height 1",
    "mul": "only quantized activations, sums and fixed weights can be spiking",
    "cat": "concatenation is not supported yet: add the branches instead",
}


class _Unsupported(Exception):  # noqa: N818  (a signal inside this module, never seen outside)
    """What one graph node holds that cannot be converted."""


@dataclass
class _Builder:
    """The network under construction."""

    parameters: dict[str, Tensor]
    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    names: dict[torch.fx.Node, str] = field(default_factory=dict)

    def add(self, fx: torch.fx.Node, make: Callable[[str], Node], *sources: Any) -> None:
        name = self._name(fx)
        self.nodes.append(make(name))
        self.edges.extend((self.names[source], name) for source in sources)
        self.names[fx] = name

    def alias(self, fx: torch.fx.Node, source: torch.fx.Node) -> None:
        """`fx` changes nothing: let it stand for its source."""
        self.names[fx] = self.names[source]

    def tensor(self, argument: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """A parameter or buffer as float64, or None where the argument is None."""
        if argument is None:
            return None
        if not isinstance(argument, torch.fx.Node) or argument.name not in self.parameters:
            raise _Unsupported("its weights are computed, not stored")
        return self.parameters[argument.name].detach().double().numpy()

    def shape(self, fx: torch.fx.Node) -> tuple[int, ...]:
        return tuple(int(n) for n in fx.meta["val"].shape)

    def _name(self, fx: torch.fx.Node) -> str:
        """The module's path in the model if it is free, else the operator's name."""
        stack = fx.meta.get("nn_module_stack") or {}
        path = str(list(stack.values())[-1][0]) if stack else ""
        taken = {node.name for node in self.nodes}
        for candidate in (path, fx.name, f"{path}_{fx.name}", f"{fx.name}_{len(taken)}"):
            name = re.sub(r"\W", "_", candidate)
            if name and not name[0].isdigit() and name not in taken:
                return name
        raise _Unsupported("no name is left for it")


def from_torch(module: nn.Module, example: Tensor, name: str = "model") -> Network:
    """Export a module in eval mode and read it.

    Args:
        module: maps (N, *shape) to logits (N, classes); QCFS activations between the weighted
            layers.
        example: one or more samples, (N, *shape); N = 2 or more is best.
        name: of the network.

    Raises:
        UnsupportedModelError: lists every operator that cannot be converted.
    """
    training = module.training
    module.eval()
    try:
        exported = torch.export.export(module, (example,))
    except Exception as error:
        raise UnsupportedModelError(
            f"torch.export failed: {str(error).strip().splitlines()[0]}",
            where=f"model '{name}'",
            remedy="make `torch.export.export(model, (example,))` work first",
        ) from error
    finally:
        module.train(training)
    return from_exported(exported, name)


def from_exported(exported: ExportedProgram, name: str = "model") -> Network:
    """Read an exported program into a float network."""
    signature = exported.graph_signature
    state = {**exported.state_dict, **exported.constants}
    placeholders = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    builder = _Builder({name: state[target] for name, target in placeholders.items()})
    problems: list[str] = []
    for fx in exported.graph.nodes:
        problem = _try_convert(builder, fx, set(signature.user_inputs))
        if problem:
            problems.append(f"{fx.name} ({_operator(fx)}): {problem}")
    if problems:
        raise UnsupportedModelError(
            f"{len(problems)} operators cannot become spiking: " + "; ".join(problems),
            where=f"model '{name}'",
        )
    return Network(name, tuple(builder.nodes), tuple(builder.edges))


def _try_convert(builder: _Builder, fx: torch.fx.Node, user_inputs: set[str]) -> str:
    """Convert one graph node; what is wrong with it, or nothing."""
    try:
        _convert(builder, fx, user_inputs)
    except _Unsupported as problem:
        if fx.all_input_nodes and fx.all_input_nodes[0] in builder.names:
            builder.alias(fx, fx.all_input_nodes[0])  # go on, to find the others too
        return str(problem)
    return ""


def _operator(fx: torch.fx.Node) -> str:
    return re.sub(r"^_?", "", str(fx.target).split(".")[1]) if "." in str(fx.target) else fx.op


def _convert(builder: _Builder, fx: torch.fx.Node, user_inputs: set[str]) -> None:
    if fx.op == "placeholder":
        if fx.name in user_inputs:
            builder.add(fx, lambda name: Input(name, builder.shape(fx)[1:]))
    elif fx.op == "output":
        results = fx.args[0]
        if not isinstance(results, list | tuple) or len(results) != 1:
            raise _Unsupported("the model must return one tensor of logits")
        builder.add(fx, Output, results[0])
    elif fx.op == "call_function":
        handler = _HANDLERS.get(str(fx.target))
        if handler is None:
            kind = _operator(fx)
            raise _Unsupported(REMEDIES.get(kind, "no spiking form is known"))
        handler(builder, fx, *fx.args, **fx.kwargs)
    else:
        raise _Unsupported("only functional graphs are read")


def _pair(value: int | list[int] | tuple[int, ...]) -> Pair:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1]) if value else (0, 0)


def _conv2d(
    b: _Builder,
    fx: torch.fx.Node,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> None:
    w = b.tensor(weight)
    assert w is not None
    if isinstance(padding, str):
        padding = _named_padding(padding, w.shape[2:], _pair(stride), _pair(dilation))
    b.add(
        fx,
        lambda name: Conv2d(
            name, w, b.tensor(bias), _pair(stride), _pair(padding), _pair(dilation), groups
        ),
        x,
    )


def _named_padding(kind: str, kernel: tuple[int, ...], stride: Pair, dilation: Pair) -> Pair:
    if kind == "valid":
        return 0, 0
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if stride != (1, 1) or any(t % 2 for t in total):
        raise _Unsupported("padding 'same' is not symmetric here: state it in numbers")
    return total[0] // 2, total[1] // 2


def _linear(b: _Builder, fx: torch.fx.Node, x: Any, weight: Any, bias: Any = None) -> None:
    w = b.tensor(weight)
    assert w is not None
    b.add(fx, lambda name: Linear(name, w, b.tensor(bias)), x)


def _batch_norm(
    b: _Builder,
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
        raise _Unsupported("needs frozen statistics: export the model in eval mode")
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
    b: _Builder,
    fx: torch.fx.Node,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> None:
    if _pair(dilation) != (1, 1) or ceil_mode:
        raise _Unsupported("dilation and ceil_mode are not supported")
    size = _pair(kernel)
    b.add(fx, lambda name: MaxPool2d(name, size, _pair(stride or kernel), _pair(padding)), x)


def _avg_pool(
    b: _Builder,
    fx: torch.fx.Node,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> None:
    if ceil_mode or divisor_override or (not count_include_pad and _pair(padding) != (0, 0)):
        raise _Unsupported("ceil_mode, divisor_override and uncounted padding are not supported")
    size = _pair(kernel)
    b.add(fx, lambda name: AvgPool2d(name, size, _pair(stride or kernel), _pair(padding)), x)


def _adaptive_avg_pool(b: _Builder, fx: torch.fx.Node, x: Any, size: Any) -> None:
    have, want = b.shape(x)[2:], _pair(size)
    if any(h % w for h, w in zip(have, want, strict=True)):
        raise _Unsupported(f"output {want} does not divide the input {have}")
    kernel = (have[0] // want[0], have[1] // want[1])
    b.add(fx, lambda name: AvgPool2d(name, kernel, kernel), x)


def _mean(b: _Builder, fx: torch.fx.Node, x: Any, dims: Any, keepdim: bool = False) -> None:
    shape = b.shape(x)
    if len(shape) != 4 or sorted(d % 4 for d in dims) != [2, 3]:
        raise _Unsupported("only the mean over height and width is supported")
    b.add(fx, lambda name: AvgPool2d(name, (shape[2], shape[3]), (1, 1)), x)
    if not keepdim:
        pooled = b.names[fx]
        b.nodes.append(Flatten(f"{pooled}_flat"))
        b.edges.append((pooled, f"{pooled}_flat"))
        b.names[fx] = f"{pooled}_flat"


def _add(b: _Builder, fx: torch.fx.Node, x: Any, y: Any, alpha: float = 1) -> None:
    if not isinstance(y, torch.fx.Node) or y not in b.names or alpha != 1:
        raise _Unsupported("only the plain sum of two branches is supported")
    if b.names[x] == b.names[y]:
        raise _Unsupported("adds a value to itself: scale the weights instead")
    b.add(fx, Add, x, y)


def _flatten(b: _Builder, fx: torch.fx.Node, x: Any, *_: Any, **__: Any) -> None:
    before, after = b.shape(x), b.shape(fx)
    if before == after:
        b.alias(fx, x)
    elif after == (before[0], prod(before[1:])):
        b.add(fx, Flatten, x)
    else:
        raise _Unsupported(f"reshapes {before} to {after}; only flattening is supported")


def _qcfs(b: _Builder, fx: torch.fx.Node, x: Any, ceiling: Any, levels: int) -> None:
    value = b.tensor(ceiling)
    assert value is not None
    if value.size != 1 or not np.isfinite(value).all() or float(value.item()) <= 0:
        raise _Unsupported(f"its ceiling is {value.tolist()}, expected one number above 0")
    b.add(fx, lambda name: Activation(name, float(value.item()), levels), x)


def _quantize_input(b: _Builder, fx: torch.fx.Node, x: Any, s: float, low: int, high: int) -> None:
    for index, node in enumerate(b.nodes):
        if isinstance(node, Input) and node.name == b.names[x]:
            b.nodes[index] = Input(node.name, node.shape, Grid(s, low, high))
            return b.alias(fx, x)
    raise _Unsupported("must stand directly on the model's input")


def _identity(b: _Builder, fx: torch.fx.Node, x: Any, *_: Any, **__: Any) -> None:
    b.alias(fx, x)


_HANDLERS: dict[str, Callable[..., None]] = {
    "aten.conv2d.default": _conv2d,
    "aten.conv2d.padding": _conv2d,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    "aten.max_pool2d.default": _max_pool,
    "aten.avg_pool2d.default": _avg_pool,
    "aten.adaptive_avg_pool2d.default": _adaptive_avg_pool,
    "aten.mean.dim": _mean,
    "aten.add.Tensor": _add,
    "aten.add_.Tensor": _add,
    "aten.flatten.using_ints": _flatten,
    "aten.view.default": _flatten,
    "aten.reshape.default": _flatten,
    "aten.squeeze.dims": _flatten,
    "aten.dropout.default": _identity,
    "aten.contiguous.default": _identity,
    "aten.clone.default": _identity,
    "aten.alias.default": _identity,
    "snndeploy.qcfs.default": _qcfs,
    "snndeploy.quantize_input.default": _quantize_input,
}
