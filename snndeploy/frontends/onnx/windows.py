"""Windows of convolutions and pools: kernel, stride, dilation, and padding in all its spellings."""

from __future__ import annotations

from dataclasses import dataclass

from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.signal import Signal
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Pair

EXACT_CEIL_OPSET = 22
"""Since then the standard says which windows of `ceil_mode` there are."""

Sides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """Along height and width; a signal has a height of one.

    Attributes:
        padding: zeros at the top, left, bottom and right, a Pad before it among them.
        given: how many of those are the operator's own.
        over: what the last windows of `ceil_mode` reach beyond, at the bottom and the right.
    """

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: Sides
    given: Sides
    over: Pair = (0, 0)

    @property
    def sides(self) -> Pair | Sides:
        """`(h, w)` where both sides are alike, else all four."""
        top, left, bottom, right = self.padding
        return (top, left) if (top, left) == (bottom, right) else self.padding

    @staticmethod
    def of(op: Op, x: Signal, kernel: tuple[int, ...]) -> Window:
        """The window of an operator on a signal (C, W) or an image (C, H, W).

        Raises:
            Unsupported: attributes that contradict each other or the kernel.
        """
        dims = len(kernel)
        if len(x.shape) != dims + 1 or dims not in (1, 2):
            raise Unsupported(f"a kernel {kernel} on {('N', *x.shape)}: use 1-d or 2-d")
        if op.has("kernel_shape") and op.integers("kernel_shape") != tuple(kernel):
            raise Unsupported(f"kernel_shape {op.integers('kernel_shape')}, its kernel is {kernel}")
        ones = (1,) * dims
        strides, dilations = op.integers("strides", ones), op.integers("dilations", ones)
        if len(strides) != dims or len(dilations) != dims:
            raise Unsupported(f"strides {strides}, dilations {dilations} for {dims} dimensions")
        if min(*kernel, *strides, *dilations) < 1 or max(*kernel, *strides, *dilations) > 1 << 20:
            raise Unsupported(f"kernel {kernel}, strides {strides}, dilations {dilations}")
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        own = _own_pads(op, x.shape[1:], reach, strides)
        before = x.pads or ((0, 0),) * (dims + 1)
        if before[0] != (0, 0):
            raise Unsupported("reads a value padded with channels of zeros")
        all_ = [(a + c, b + d) for (a, b), (c, d) in zip(own, before[1:], strict=True)]
        over = (0, 0)
        if op.integer("ceil_mode", 0):
            padded = [n + a + b for n, (a, b) in zip(x.shape[1:], own, strict=True)]
            rest = [
                _overhang(n, s, r, p[0] + size, op.version >= EXACT_CEIL_OPSET)
                for n, s, r, p, size in zip(padded, strides, reach, own, x.shape[1:], strict=True)
            ]
            over = (0 if dims == 1 else rest[0], rest[-1])
        return Window(
            _pair(kernel, 1), _pair(strides, 1), _pair(dilations, 1), _four(all_), _four(own), over
        )


PIXEL = Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0), (0, 0, 0, 0))
"""One pixel at a time."""


def _own_pads(
    op: Op, sizes: tuple[int, ...], reach: list[int], strides: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Zeros before and behind along each dimension, from `pads` or `auto_pad`."""
    dims, auto = len(sizes), op.text("auto_pad", "NOTSET")
    pads = op.integers("pads", (0,) * (2 * dims))
    if len(pads) != 2 * dims or min(pads) < 0 or max(pads) > 1 << 20:
        raise Unsupported(f"pads {pads} for {dims} dimensions")
    if auto in ("", "NOTSET"):
        return list(zip(pads[:dims], pads[dims:], strict=True))
    if auto == "VALID":
        return [(0, 0)] * dims
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad {auto}")
    found = []
    for n, r, s in zip(sizes, reach, strides, strict=True):
        total = max((-(-n // s) - 1) * s + r - n, 0)
        small, large = total // 2, total - total // 2
        found.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return found


def _overhang(padded: int, stride: int, reach: int, end: int, exact: bool) -> int:
    """How far the last window of `ceil_mode` reaches; none starts behind the input's `end`."""
    out = -(-(padded - reach) // stride) + 1
    if (out - 1) * stride >= end:
        if not exact:
            raise Unsupported(
                "with ceil_mode its last window holds nothing but padding, which runtimes read "
                f"in unlike ways before opset {EXACT_CEIL_OPSET}: pad less, or export it newer"
            )
        out -= 1
    return max((out - 1) * stride + reach - padded, 0)


def _pair(values: tuple[int, ...], height: int) -> Pair:
    return (height, values[0]) if len(values) == 1 else (values[0], values[1])


def _four(pads: list[tuple[int, int]]) -> Sides:
    (top, bottom), (left, right) = ((0, 0), pads[0]) if len(pads) == 1 else (pads[0], pads[1])
    return top, left, bottom, right
