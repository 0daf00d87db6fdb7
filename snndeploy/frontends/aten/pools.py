"""Max and average pools, and means over whole images."""

from __future__ import annotations

from typing import Any

import torch

from snndeploy.frontends.aten.builder import Builder, pair
from snndeploy.frontends.reading import Unsupported, network_shape
from snndeploy.nodes import AvgPool2d, Flatten, MaxPool2d, Padding, Pair


def max_pool(
    b: Builder,
    fx: torch.fx.Node,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> None:
    """Max-pools; their padding is never the maximum."""
    dims = b.spatial(fx, x)
    if pair(dilation, dims, 1) != (1, 1):
        raise Unsupported("a pool with dilation is not supported")
    sizes = pair(kernel, dims, 1), pair(stride or kernel, dims, 1)
    pads = _rounded_up(b, fx, sizes[0], sizes[1], pair(padding, dims, 0), x)
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


def avg_pool(
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
    """Average pools; zeros around the image count."""
    dims = b.spatial(fx, x)
    sizes = pair(kernel, dims, 1), pair(stride or kernel, dims, 1), pair(padding, dims, 0)
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


def adaptive_avg_pool(b: Builder, fx: torch.fx.Node, x: Any, size: Any) -> None:
    """Average pools that say how large their result is."""
    dims = b.spatial(fx, x)
    have, want = network_shape(b.shape(x))[1:], pair(size, dims, 1)
    if any(h % w for h, w in zip(have, want, strict=True)):
        raise Unsupported(f"output {want} does not divide the input {have}")
    kernel = (have[0] // want[0], have[1] // want[1])
    b.add(fx, lambda name: AvgPool2d(name, kernel, kernel), x)


def mean(b: Builder, fx: torch.fx.Node, x: Any, dims: Any, *_: Any, **__: Any) -> None:
    """An average pool over whole dimensions; whether they stay is seen from the result."""
    shape = b.shape(x)
    over = {dim % len(shape) for dim in dims or ()}
    if len(shape) not in (3, 4) or not over or min(over) < 2:
        raise Unsupported("only the mean over height, width or both is supported")
    sizes = [size if dim in over else 1 for dim, size in enumerate(shape)]
    kernel = pair(sizes[2:], len(shape) - 2, 1)
    b.add(fx, lambda name: AvgPool2d(name, kernel, kernel), x)
    pooled, after = b.names[fx], b.shape(fx)
    kept = [1 if dim in over else size for dim, size in enumerate(shape)]
    if len(after) == 2:
        b.nodes.append(Flatten(f"{pooled}_flat"))
        b.edges.append((pooled, f"{pooled}_flat"))
        b.names[fx] = f"{pooled}_flat"
    elif network_shape(after) != network_shape(tuple(kept)):
        raise Unsupported("the mean of each row makes a signal of a column: use keepdim=True")
