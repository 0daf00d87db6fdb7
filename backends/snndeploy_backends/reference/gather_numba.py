"""Compiled loops that visit spikes only: lists of the neurons that fired, and sums over them.

An output neuron's current is the sum of the weight rows of the presynaptic neurons that fired.
A list entry is the offset of a weight row from that of the first tap, pixel and channel. For
another output place that offset is the same plus a constant, so one list serves all outputs, and
the taps of one kernel row form one stretch of it.

Weight rows are int8, one weight an output channel. A block of channels is added in int16 lanes,
which are emptied into the int32 membranes before they can overflow; then the block fires, and only
its spikes reach the memory. That part is generated for LLVM, which splits the vectors to fit the
registers that the machine has. It shares this file with the loops, since numba's cache of compiled
loops notices changes of their own file only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTHS = (128, 64, 32, 16, 8, 1)
"""Channels that a block can have."""

_UNROLLED = 4
_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()


@contextmanager
def _loop(b: Any, condition: Callable[[], Any]) -> Iterator[None]:
    head, body, end = (b.append_basic_block(f"loop.{x}") for x in ("head", "body", "end"))
    b.branch(head)
    b.position_at_end(head)
    b.cbranch(condition(), body, end)
    b.position_at_end(body)
    yield
    b.branch(head)
    b.position_at_end(end)


def _int(value: int) -> Any:
    return ir.Constant(_I64, value)


class Place(NamedTuple):
    """One block of channels at one place, and what reaches it. Addresses and sizes, all intp.

    Attributes:
        width: channels in the block, one of `WIDTHS`; a weight row has as many bytes.
        silence: the address of a weight row of zeros.
        steps: how many.
        segments: int64 (steps, most, 3): first entry, one past the last, address of the weights.
        entries: int32 offsets.
        exponent: what the sums of weights are shifted left by.
        limit: rows whose sum fits int16.
        membrane, count, theta: int32 (width,).
        cap: the largest count.
        bias: int32, or 0 for none; `bias_stride` numbers from step to step.
        extra: float32, more current, or 0 for none; `extra_stride` numbers from step to step.
        out: bytes, `out_stride` from step to step.
        events: int64 (steps,), to add to.
    """

    width: Any
    silence: Any
    steps: Any
    segments: Any
    most: Any
    entries: Any
    exponent: Any
    limit: Any
    membrane: Any
    count: Any
    theta: Any
    cap: Any
    bias: Any
    bias_stride: Any
    extra: Any
    extra_stride: Any
    out: Any
    out_stride: Any
    events: Any


class _Block:
    """Code that takes a block of `size` channels through all steps."""

    def __init__(self, b: Any, size: int, exact: bool, values: Place) -> None:
        self.b, self.size, self.exact, self.values = b, size, exact, values
        self.v8, self.v16, self.v32, self.vf = (
            ir.VectorType(kind, size) for kind in (_I8, ir.IntType(16), _I32, _F32)
        )
        self.none16, self.none32 = ir.Constant(self.v16, None), ir.Constant(self.v32, None)
        self.acc, self.v, self.n = (
            cgutils.alloca_once(b, kind) for kind in (self.v16, self.v32, self.v32)
        )
        self.used, self.position = (cgutils.alloca_once(b, _I64) for _ in range(2))

    def generate(self) -> None:
        b, values = self.b, self.values
        self.theta = b.load(self.at(values.theta, self.v32), align=4)
        self.exponent = self.spread(b.trunc(values.exponent, _I32), self.v32)
        b.store(self.none16, self.acc)
        b.store(_int(0), self.used)
        b.store(b.load(self.at(values.membrane, self.v32), align=4), self.v)
        if self.exact:
            b.store(b.load(self.at(values.count, self.v32), align=4), self.n)
        with cgutils.for_range(b, values.steps) as time:
            row = b.mul(time.index, values.most)
            with cgutils.for_range(b, values.most) as which:
                place = b.mul(b.add(row, which.index), _int(24))
                self.add_segment(b.add(values.segments, place))
            self.empty()
            self.add_rest(time.index)
            self.fire(time.index)
        b.store(b.load(self.v), self.at(values.membrane, self.v32), align=4)
        if self.exact:
            b.store(b.load(self.n), self.at(values.count, self.v32), align=4)

    def at(self, address: Any, kind: Any, index: Any = None) -> Any:
        pointer = self.b.inttoptr(address, kind.as_pointer())
        return pointer if index is None else self.b.gep(pointer, [index])

    def add_segment(self, segment: Any) -> None:
        """Add one stretch of the list, emptying the lanes before they could overflow."""
        b = self.b
        first, last = b.load(self.at(segment, _I64)), b.load(self.at(segment, _I64, _int(1)))
        weights = b.load(self.at(segment, _I64, _int(2)))
        b.store(first, self.position)
        with _loop(b, lambda: b.icmp_signed("<", b.load(self.position), last)):
            here, room = b.load(self.position), b.sub(self.values.limit, b.load(self.used))
            left = b.sub(last, here)
            rows = b.select(b.icmp_signed("<", left, room), left, room)
            self.add_rows(b.add(here, rows), weights)
            b.store(b.add(b.load(self.used), rows), self.used)
            with b.if_then(b.icmp_signed(">=", b.load(self.used), self.values.limit)):
                self.empty()

    def add_rows(self, last: Any, weights: Any) -> None:
        """Add the rows up to entry `last`, several at a time; zeros fill up the last time.

        A second loop for the rest would cost a mispredicted branch, more than a few rows do.
        """
        b = self.b
        end = b.sub(last, _int(_UNROLLED - 1))
        with _loop(b, lambda: b.icmp_signed("<", b.load(self.position), end)):
            here = b.load(self.position)
            for step in range(_UNROLLED):
                self.add_row(b.add(weights, self.offset(b.add(here, _int(step)))))
            b.store(b.add(here, _int(_UNROLLED)), self.position)
        here = b.load(self.position)
        for step in range(_UNROLLED - 1):
            index = b.add(here, _int(step))
            row = b.add(weights, self.offset(index))
            inside = b.icmp_signed("<", index, last)
            self.add_row(b.select(inside, row, self.values.silence))
        b.store(last, self.position)

    def offset(self, index: Any) -> Any:
        return self.b.sext(self.b.load(self.at(self.values.entries, _I32, index)), _I64)

    def add_row(self, address: Any) -> None:
        b = self.b
        row = b.sext(b.load(self.at(address, self.v8), align=1), self.v16)
        b.store(b.add(b.load(self.acc), row), self.acc)

    def empty(self) -> None:
        """Move what the int16 lanes hold to the membrane."""
        b = self.b
        sums = b.shl(b.sext(b.load(self.acc), self.v32), self.exponent)
        b.store(b.add(b.load(self.v), sums), self.v)
        b.store(self.none16, self.acc)
        b.store(_int(0), self.used)

    def add_rest(self, step: Any) -> None:
        """Bias, and current from elsewhere."""
        b, values = self.b, self.values
        with b.if_then(b.icmp_signed("!=", values.bias, _int(0))):
            row = b.mul(b.mul(step, values.bias_stride), _int(4))
            share = self.at(b.add(values.bias, row), self.v32)
            b.store(b.add(b.load(self.v), b.load(share, align=4)), self.v)
        with b.if_then(b.icmp_signed("!=", values.extra, _int(0))):
            row = b.mul(b.mul(step, values.extra_stride), _int(4))
            extra = b.load(self.at(b.add(values.extra, row), self.vf), align=4)
            b.store(b.add(b.load(self.v), b.fptosi(extra, self.v32)), self.v)

    def fire(self, step: Any) -> None:
        """`snndeploy.numerics.fire`, in vectors."""
        b, values, v = self.b, self.values, self.b.load(self.v)
        up = b.icmp_signed(">=", v, self.theta)
        fired, spikes = up, b.zext(up, self.v8)
        if self.exact:
            n = b.load(self.n)
            up = b.and_(up, b.icmp_signed("<", n, self.spread(b.trunc(values.cap, _I32), self.v32)))
            down = b.and_(*(b.icmp_signed("<", *p) for p in ((v, self.none32), (self.none32, n))))
            fired = b.or_(up, down)
            signs = b.sub(b.zext(up, self.v32), b.zext(down, self.v32))
            b.store(b.add(n, signs), self.n)
            v = b.add(v, b.select(down, self.theta, self.none32))
            one = self.spread(ir.Constant(_I8, 1), self.v8)
            spikes = b.add(one, b.sub(b.zext(up, self.v8), b.zext(down, self.v8)))
        b.store(b.sub(v, b.select(up, self.theta, self.none32)), self.v)
        place = b.add(values.out, b.mul(step, values.out_stride))
        b.store(spikes, self.at(place, self.v8), align=1)
        events = self.at(values.events, _I64, step)
        found = b.ctpop(b.bitcast(fired, ir.IntType(self.size)))
        if self.size != 64:
            found = (b.zext if self.size < 64 else b.trunc)(found, _I64)
        b.store(b.add(b.load(events), found), events)

    def spread(self, number: Any, kind: Any) -> Any:
        return _spread(self.b, number, kind)


def _spread(b: Any, number: Any, kind: Any) -> Any:
    """A vector that holds `number` in every lane."""
    single = b.insert_element(ir.Constant(kind, None), number, ir.Constant(_I32, 0))
    lanes = ir.Constant(ir.VectorType(_I32, kind.count), None)
    return b.shuffle_vector(single, single, lanes)


def _advance_place(_: Any, signed: Any, place: Any) -> Any:
    """Advance a `Place` by its steps; `signed` in exact mode."""

    def generate(context: Any, b: Any, __: Any, arguments: Any) -> Any:
        values = Place(*cgutils.unpack_tuple(b, arguments[1]))

        def advance(exact: bool) -> None:
            for size in WIDTHS:
                with b.if_then(b.icmp_signed("==", values.width, _int(size))):
                    _Block(b, size, exact, values).generate()

        with b.if_else(cgutils.as_bool_bit(b, arguments[0])) as (yes, no):
            with yes:
                advance(exact=True)
            with no:
                advance(exact=False)
        return context.get_dummy_value()

    return types.void(signed, place), generate


def _fired(_: Any, address: Any, zero: Any) -> Any:
    """Two masks of the 64 bytes at `address`: those above `zero`, and those below."""

    def generate(_: Any, b: Any, __: Any, arguments: Any) -> Any:
        kind = ir.VectorType(_I8, 64)
        bytes_ = b.load(b.inttoptr(arguments[0], kind.as_pointer()), align=1)
        zeros = _spread(b, b.trunc(arguments[1], _I8), kind)
        masks = [b.bitcast(b.icmp_unsigned(way, bytes_, zeros), _I64) for way in (">", "<")]
        return cgutils.pack_array(b, masks)

    return types.UniTuple(types.uint64, 2)(address, zero), generate


def _lowest(_: Any, mask: Any) -> Any:
    """The position of the lowest bit that is set."""

    def generate(_: Any, b: Any, __: Any, arguments: Any) -> Any:
        return b.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return mask(mask), generate


advance_place: Any = intrinsic(_advance_place)
fired: Any = intrinsic(_fired)
lowest: Any = intrinsic(_lowest)

NOTHING = np.uintp(0)
"""The address of what is absent."""


@njit(nogil=True, cache=True)
def _list_image(
    x: Any, zero: int, width: int, negative: int, starts: Any, entries: Any, n: int
) -> int:
    """Append the entries of one image (pixels, C); returns their number so far.

    Args:
        width: bytes of a weight row.
        negative: offset of the rows of the negated weights.
        starts: int32 (pixels + 1,), receives where each pixel's entries begin.
    """
    pixels, channels = x.shape
    origin, end = x.ctypes.data, x.ctypes.data + x.size
    for pixel in range(pixels):
        starts[pixel] = n
        for first in range(0, channels, 64):
            place = pixel * channels + first
            if origin + place + 64 <= end:
                up, down = fired(origin + place, zero)
            else:
                up, down = np.uint64(0), np.uint64(0)
                for i in range(min(64, channels - first)):
                    up |= np.uint64(x[pixel, first + i] > zero) << np.uint64(i)
                    down |= np.uint64(x[pixel, first + i] < zero) << np.uint64(i)
            if channels - first < 64:
                inside = (np.uint64(1) << np.uint64(channels - first)) - np.uint64(1)
                up, down = up & inside, down & inside
            while up:
                entries[n] = (place + np.int64(lowest(up))) * width
                up &= up - np.uint64(1)
                n += 1
            while down:
                entries[n] = (place + np.int64(lowest(down))) * width + negative
                down &= down - np.uint64(1)
                n += 1
    starts[pixels] = n
    return n


@njit(nogil=True, cache=True)
def list_spikes(
    spikes: Any,
    zero: int,
    width: int,
    negative: int,
    base: int,
    offsets: Any,
    starts: Any,
    entries: Any,
    first: int,
    last: int,
) -> None:
    """List what fires in the images `first .. last-1`, image `sample * T + t`.

    Args:
        spikes: uint8 (T, n, pixels, C).
        base: the sample at which the lists begin.
        offsets: int64 (n', T), where each image's entries begin.
        starts: int32 (n', T, pixels + 1).
    """
    for image in range(first, last):
        sample, t = divmod(image, len(spikes))
        row = sample - base
        x, at = spikes[t, sample], offsets[row, t]
        _list_image(x, zero, width, negative, starts[row, t], entries, at)


@njit(nogil=True, cache=True)
def advance(
    signed: bool,
    size: Any,
    where: Any,
    weight: Any,
    exponent: int,
    silence: Any,
    limit: int,
    base: int,
    starts: Any,
    entries: Any,
    membrane: Any,
    count: Any,
    theta: Any,
    cap: int,
    bias: Any,
    extra: Any,
    out: Any,
    events: Any,
    first: int,
    last: int,
) -> None:
    """Advance lines `first .. last-1` of the output by all steps, line `sample * H_out + y`.

    Args:
        signed: exact mode.
        size: H and W of the source.
        where: stride, each down and right, and padding at the top and at the left.
        weight: int8 (blocks, 1 or 2, K_h, K_w, C_in, width), the second negated.
        exponent: what sums of weights are shifted left by.
        silence: int8 (width,), zeros.
        base, starts, entries: as `list_spikes` left them.
        membrane, count: int32 (n, H_out, W_out, C_out); no count unless signed.
        theta: int32 (C_out,).
        bias: int32 (T, C_out), or (0, C_out).
        extra: float32 (T, n, H_out, W_out, C_out), (1, ..) if constant, (0, ..) if none.
        out: uint8 (T, n, H_out, W_out, C_out).
        events: int64 (n * H_out, T), to add to.
    """
    (height, width), (steps, _, down, right, _) = size, out.shape
    blocks, _, tall, wide, inputs, block = weight.shape
    segments = np.zeros((steps, tall, 3), np.int64)
    stride = extra[0].size if len(extra) > 1 else 0
    # Block by block, so that the weights in use stay in the cache.
    for number in range(blocks):
        c = number * block
        rows = weight[number].ctypes.data
        for line in range(first, last):
            sample, a = divmod(line, down)
            for b in range(right):
                left = b * where[1] - where[3]
                low, high = max(left, 0), min(left + wide, width)
                for i in range(tall):
                    y = a * where[0] - where[2] + i
                    inside = 0 <= y < height and low < high
                    shift = ((i * wide - left) - y * width) * inputs * block
                    for t in range(steps):
                        begins = starts[sample - base, t]
                        segments[t, i, 0] = begins[y * width + low] if inside else 0
                        segments[t, i, 1] = begins[y * width + high] if inside else 0
                        segments[t, i, 2] = rows + shift
                place = (
                    block,
                    silence.ctypes.data,
                    steps,
                    segments.ctypes.data,
                    tall,
                    entries.ctypes.data,
                    exponent,
                    limit,
                    membrane[sample, a, b, c:].ctypes.data,
                    count[sample, a, b, c:].ctypes.data if signed else NOTHING,
                    theta[c:].ctypes.data,
                    cap,
                    bias[0, c:].ctypes.data if len(bias) else NOTHING,
                    bias.shape[1],
                    extra[0, sample, a, b, c:].ctypes.data if len(extra) else NOTHING,
                    stride,
                    out[0, sample, a, b, c:].ctypes.data,
                    out[0].size,
                    events[line].ctypes.data,
                )
                advance_place(signed, place)
