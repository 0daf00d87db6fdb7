"""Parts of a value: slices, splits, gathered and added channels.

A part is a signal whose `index` holds some of the places of its node's value. A dense layer or a
convolution behind it takes it as weights that are zero elsewhere. For any other reader it becomes
a convolution whose weights are 0 and 1, which picks the channels and pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snndeploy.frontends.onnx.builder import Builder, zeros
from snndeploy.frontends.onnx.op import Op
from snndeploy.frontends.onnx.pending import settled, unpadded
from snndeploy.frontends.onnx.signal import OtherOrder, Signal
from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Conv2d, Linear, Pair, Shape
from snndeploy.numerics import Int64Array


def cut(b: Builder, op: Op) -> Signal:
    """Slice along any axes but the batch."""
    x = unpadded(b.signal(op, stored=True))
    rank = x.index.ndim + 1
    if op.has("starts"):
        starts, ends, steps = op.integers("starts"), op.integers("ends"), None
        axes = op.integers("axes", tuple(range(len(starts))))
    else:
        starts, ends = b.integers(op, 1) or (), b.integers(op, 2) or ()
        axes, steps = b.integers(op, 3) or tuple(range(len(starts))), b.integers(op, 4)
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Unsupported("its bounds do not fit each other")
    index = x.index
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = axis + rank if axis < 0 else axis
        if place == 0 and (start, step) == (0, 1) and end >= b.batch:
            continue
        if not 1 <= place < rank:
            raise Unsupported(f"slices axis {axis} of {('N', *x.shape)}")
        stop = None if step < 0 and end < -index.shape[place - 1] else end
        index = index[(*(slice(None),) * (place - 1), slice(start, stop, step))]
    return part(x, index)


def split(b: Builder, op: Op) -> list[Signal]:
    """Split along any axis but the batch."""
    x = unpadded(b.signal(op, stored=True))
    axis, count = op.integer("axis", 0), len(op.node.outputs)
    axis = axis + x.index.ndim + 1 if axis < 0 else axis
    if not 1 <= axis <= x.index.ndim:
        raise Unsupported("splits the batch, or an axis that there is not")
    size = x.index.shape[axis - 1]
    sizes = b.integers(op, 1) if len(op.node.inputs) > 1 else None
    if sizes is None:
        each = -(-size // count)
        sizes = op.integers("split", (*(each,) * (count - 1), size - each * (count - 1)))
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != size:
        raise Unsupported(f"splits {size} into {sizes}")
    ends = np.cumsum(sizes)[:-1]
    pieces = [part(x, index) for index in np.split(x.index, ends, axis - 1)]
    return [replace(piece, alone=False) for piece in pieces]


def gather(b: Builder, op: Op) -> Signal:
    """Gather with stored places along any axis but the batch."""
    x, places = unpadded(b.signal(op, stored=True)), b.constant(op, 1)
    axis = op.integer("axis", 0)
    axis = axis + x.index.ndim + 1 if axis < 0 else axis
    if not 1 <= axis <= x.index.ndim or places.dtype.kind not in "iu" or places.ndim > 1:
        raise Unsupported("gathers samples, or with places that are no list of integers")
    size = x.index.shape[axis - 1]
    if places.size > size or not ((places >= -size) & (places < size)).all():
        raise Unsupported(f"gathers {places.size} of {size} places, or places that there are not")
    return part(x, np.take(x.index, places.astype(np.int64), axis - 1))


def part(x: Signal, index: Int64Array) -> Signal:
    """A signal with fewer elements, or with all of them in another order."""
    if not index.size:
        raise Unsupported("leaves nothing of a value")
    whole = index.size == x.index.size
    return replace(x, index=index, alone=x.alone and whole)


def whole(b: Builder, op: Op, x: Signal) -> Signal:
    """A signal that is all of its node's value; a part of one is picked by a convolution."""
    places = b.places(x)
    seen = np.zeros(int(np.prod(b.shapes[x.node])), np.bool_)
    seen[places.ravel()] = True
    if places.size == seen.size and seen.all():
        return x
    if len(b.shapes[x.node]) == 1:
        return _picked_features(b, op, x)
    if places.ndim == 3 and not _is_regular(places, b.shapes[x.node]):
        last = replace(x, index=x.index.transpose(2, 0, 1))  # its channels may be its last axis
        made = padded_channels(b, op, last, (0, 0))
        return replace(made, index=made.index.transpose(1, 2, 0))
    return padded_channels(b, op, x, (0, 0))


def _is_regular(image: Int64Array, shape: Shape) -> bool:
    try:
        _picked(image, shape)
    except Unsupported:
        return False
    return True


def _picked_features(b: Builder, op: Op, x: Signal) -> Signal:
    """A part of a flat value, as a dense layer of ones and zeros."""
    x = settled(b, op, x)
    places = b.places(x)
    weight = zeros(places.size, b.shapes[x.node][0])
    weight[np.arange(places.size), places.ravel()] = 1
    made = b.add(op, lambda n: Linear(n, weight), x.node)
    return Signal(made.node, made.index.reshape(places.shape), x.grid, stored=x.stored)


def padded_channels(b: Builder, op: Op, x: Signal, added: Pair) -> Signal:
    """A part of a value with channels of zeros before and behind it, as a convolution."""
    x = settled(b, op, x)
    places, shape = b.places(x), b.shapes[x.node]
    image = places[:, None] if places.ndim == 2 else places
    if len(shape) != 3 or image.ndim != 3:
        raise Unsupported("takes a part of a value that is no image")
    channels, first, stride = _picked(image, shape)
    weight = zeros(len(image) + sum(added), shape[0], first[0] + 1, first[1] + 1)
    weight[np.arange(len(image)) + added[0], channels, -1, -1] = 1
    made = b.add(op, lambda n: Conv2d(n, weight, stride=stride), x.node)
    if b.shapes[made.node][1:] != image.shape[1:]:
        raise Unsupported("crops an image at its end")
    index = made.index if places.ndim == 3 else made.index[:, 0]
    return Signal(made.node, index, x.grid, stored=x.stored)


def channels(places: Int64Array, shape: Shape) -> Int64Array | None:
    """Which channels an image (C, H, W) of places consists of; None if pixels differ too."""
    if len(shape) != 3 or places.ndim != 3 or places.shape[1:] != shape[1:]:
        return None
    size = shape[1] * shape[2]
    found: Int64Array = places[:, 0, 0] // size
    expected = found[:, None] * size + np.arange(size)
    return found if np.array_equal(places.reshape(len(places), -1), expected) else None


def _picked(image: Int64Array, shape: Shape) -> tuple[Int64Array, Pair, Pair]:
    """Channels, first pixel and stride of places in an image."""
    if len(shape) != 3:
        raise Unsupported("takes a part of a value that is no image")
    channel, row, column = np.unravel_index(image, shape)
    first = int(row[0, 0, 0]), int(column[0, 0, 0])
    down = int(row[0, 1, 0]) - first[0] if image.shape[1] > 1 else max(1, shape[1])
    right = int(column[0, 0, 1]) - first[1] if image.shape[2] > 1 else max(1, shape[2])
    rows = first[0] + down * np.arange(image.shape[1])
    columns = first[1] + right * np.arange(image.shape[2])
    regular = (
        down > 0
        and right > 0
        and (channel == channel[:, :1, :1]).all()
        and (row == rows[:, None]).all()
        and (column == columns).all()
    )
    if not regular:
        raise OtherOrder("takes pixels of an image that are in no regular rows and columns")
    return channel[:, 0, 0], first, (down, right)
