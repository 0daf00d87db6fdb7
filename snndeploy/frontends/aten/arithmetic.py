"""Sums, ReLUs and concats; operators that overwrite their operand."""

from __future__ import annotations

from typing import Any

import torch

from snndeploy.frontends.aten.builder import Builder
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Add, Concat, Relu


def add(b: Builder, fx: torch.fx.Node, x: Any, y: Any, alpha: float = 1) -> None:
    """The sum of two branches."""
    if y == 0 and not isinstance(y, torch.fx.Node):
        b.alias(fx, x)  # as `sum` starts
        return
    if not isinstance(y, torch.fx.Node) or alpha != 1:
        raise Unsupported("only the plain sum of two branches is supported")
    if b.source(x) == b.source(y):
        raise Unsupported("adds a value to itself: scale the weights instead")
    b.add(fx, Add, x, y)


def add_in_place(b: Builder, fx: torch.fx.Node, x: Any, y: Any, alpha: float = 1) -> None:
    """`x += y`: a plain sum, unless the old value of x is seen again."""
    if _is_seen_again(fx, x):
        raise Unsupported("its left side is used again after `+=`: write `x = x + y`")
    add(b, fx, x, y, alpha)


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


def relu(b: Builder, fx: torch.fx.Node, x: Any) -> None:
    """A ReLU."""
    clamp(b, fx, x, 0)


def relu6(b: Builder, fx: torch.fx.Node, x: Any) -> None:
    """A ReLU with a cap of 6."""
    clamp(b, fx, x, 0, 6)


def hardtanh(b: Builder, fx: torch.fx.Node, x: Any, low: float = -1, high: float = 1) -> None:
    """A ReLU with a cap, if it clips at 0."""
    clamp(b, fx, x, low, high)


def clamp(b: Builder, fx: torch.fx.Node, x: Any, low: Any = None, high: Any = None) -> None:
    """A ReLU, with or without a cap, if it clips at 0."""
    if low != 0:
        raise Unsupported(f"clips at {low}: only a ReLU, which clips at 0, can be spiking")
    if high is not None and not 0 < high < float("inf"):
        raise Unsupported(f"clips at {high}, expected a number above 0")
    if fx.target.__name__.split(".")[0].endswith("_") and _is_seen_again(fx, x):  # type: ignore[union-attr]
        raise Unsupported("its operand is used again after it was overwritten in place")
    b.put(fx, lambda name: Relu(name, None if high is None else float(high)), b.value(x))
    if x in b.pads:
        b.pads[fx] = b.pads[x]


def cat(b: Builder, fx: torch.fx.Node, branches: Any, dim: int = 0) -> None:
    """Branches one behind the other."""
    if dim % len(b.shape(branches[0])) != 1:
        raise Unsupported("only concatenation along channels or features, dim 1, is supported")
    if len(branches) == 1:
        b.alias(fx, branches[0])
    else:
        b.add(fx, Concat, *branches)


def hstack(b: Builder, fx: torch.fx.Node, branches: Any) -> None:
    """Branches one behind the other."""
    cat(b, fx, branches, 1)


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
