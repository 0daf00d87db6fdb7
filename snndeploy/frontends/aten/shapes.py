"""Operators that move or keep elements: reshapes, zeros around images, identities."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from snndeploy.frontends.aten.builder import Builder
from snndeploy.frontends.reading import Unsupported, network_shape
from snndeploy.nodes import Flatten, sides


def pad(
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


def reshape(b: Builder, fx: torch.fx.Node, x: Any, *_: Any, **__: Any) -> None:
    """Flattening, or nothing but another view of the same elements."""
    before, after = b.shape(x), b.shape(fx)
    if before[0] == after[0] and network_shape(before) == network_shape(after):
        b.alias(fx, x)
    elif after == (before[0], prod(before[1:])):
        b.add(fx, Flatten, x)
    else:
        raise Unsupported(f"reshapes {before} to {after}; only flattening is supported")


def size(*_: Any) -> None:
    """The size of the batch, for a `view` to repeat."""


def identity(b: Builder, fx: torch.fx.Node, x: Any, *_: Any, **__: Any) -> None:
    """What changes nothing once a model is trained."""
    b.alias(fx, x)
