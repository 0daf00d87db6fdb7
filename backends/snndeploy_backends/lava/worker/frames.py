"""The protocol of the Lava worker: frames of JSON and plain arrays over a pair of pipes.

    frame = magic "snnL", version, bytes of the head, bytes of the arrays | head | arrays
    head  = JSON {"kind": .., "arrays": [[name, dtype, shape], ..], ..}, what else the kind carries

The arrays follow in the order of the head, row-major, in the machine's byte order: both ends run
on one machine. Nothing is pickled. Either side refuses another magic or version, and a frame
beyond the caps.

To the worker:
    open    a `Job`; answered by `ready` when Lava runs, with its "processes" and the number of
            "channels" between layers
    begin   "first", the number of the first sample, and `inputs`, int32, at most `Job.slots` of
            them; starts them anew, whatever ran before
    step    one logical step; with `keep`, a mask, first drops the samples that it leaves out.
            Answered by `step`: `logits` int64 (n, classes), `events` int64 (layers, n) and, if
            "spikes" was true, int8 (n, *shape) of each layer. A layer that is probed comes with
            `probe.current`, `probe.before` and `probe.after`, int64 (n, *shape)
    spikes  those of the last step; answered by `spikes`
    close   end
From the worker, besides:
    alive   five times a second, with the physical steps done
    failed  "failure": kind, problem, where, remedy
    died    "layer" whose process is gone (empty: another process), with its "status"
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.errors import WorkerError

MAGIC, VERSION = b"snnL", 2
MOST_HEAD_BYTES = 1 << 24
MOST_ARRAY_BYTES = 1 << 34
DTYPES = ("int8", "int32", "int64", "float64", "bool")

_PREFIX = struct.Struct("!4sHIQ")


@dataclass(frozen=True)
class Frame:
    """One message."""

    kind: str
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def encoded(self) -> list[memoryview]:
        """The frame as it goes over the pipe, in pieces. Large arrays are not copied.

        Raises:
            WorkerError: it is larger than the caps.
        """
        shapes = [[name, a.dtype.name, a.shape] for name, a in self.arrays.items()]
        head = json.dumps({**self.details, "kind": self.kind, "arrays": shapes}).encode()
        arrays = [np.ascontiguousarray(a) for a in self.arrays.values() if a.size]
        size = sum(array.nbytes for array in arrays)
        _check_caps(len(head), size)
        first = _PREFIX.pack(MAGIC, VERSION, len(head), size) + head
        return [memoryview(first), *(array.data.cast("B") for array in arrays)]


class Decoder:
    """Puts together the frames of one side from what a pipe delivers."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.missing = _PREFIX.size

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.

        Raises:
            WorkerError: another protocol, or a frame beyond the caps.
        """
        self.buffer += data
        while len(self.buffer) >= self.missing:
            frame = self._next()
            if frame is not None:
                yield frame

    def _next(self) -> Frame | None:
        magic, version, head_size, size = _PREFIX.unpack_from(self.buffer)
        if magic != MAGIC or version != VERSION:
            found = f"protocol {version}" if magic == MAGIC else "something else"
            raise WorkerError(
                f"the other side speaks {found}, expected {VERSION}",
                where="lava protocol",
                remedy="run the worker that belongs to this snndeploy",
            )
        _check_caps(head_size, size)
        whole = _PREFIX.size + head_size + size
        if len(self.buffer) < whole:
            self.missing = whole
            return None
        content, self.buffer = self.buffer, self.buffer[whole:]
        self.missing = _PREFIX.size
        return _decoded(memoryview(content)[_PREFIX.size : whole], head_size)


def _decoded(content: memoryview, head_size: int) -> Frame:
    try:
        details = json.loads(bytes(content[:head_size]))
        arrays, at = {}, head_size
        for name, dtype, shape in details.pop("arrays"):
            if dtype not in DTYPES or min(shape, default=0) < 0:
                raise ValueError(f"dtype {dtype!r}, shape {shape}")
            array = np.frombuffer(content, dtype, count=prod(shape), offset=at).reshape(shape)
            arrays[name], at = array, at + array.nbytes
        if at != len(content):
            raise ValueError(f"{len(content) - at} bytes too many")
        return Frame(details.pop("kind"), details, arrays)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkerError(f"a malformed frame: {error}", where="lava protocol") from error


def _check_caps(head: int, arrays: int) -> None:
    for what, size, most in (
        ("head", head, MOST_HEAD_BYTES),
        ("arrays", arrays, MOST_ARRAY_BYTES),
    ):
        if size > most:
            raise WorkerError(
                f"a frame with {size:,} bytes of {what}, at most {most:,} are allowed",
                where="lava protocol",
                remedy="run fewer samples at a time",
            )
