"""Look over an HDF5 file before anything in it is read: files come from strangers.

A NIR file needs groups, numeric arrays and strings, and nothing else that HDF5 can do. External
storage and external links would read other files, shared objects may form cycles, and a file of
some kilobytes can declare terabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

import h5py

from snndeploy.errors import FileFormatError


@dataclass(frozen=True)
class Limits:
    """What a file may hold: bytes when unpacked, objects, levels of groups, bytes of strings."""

    unpacked: int = 1 << 30
    objects: int = 100_000
    depth: int = 12
    text: int = 1 << 26


SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
"""How every HDF5 file begins."""

_HEAP: Final = b"GCOL\x01"
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_LAYOUTS = {h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED}
_LIMITS = Limits()


@dataclass
class _Totals:
    unpacked: int = 0
    text: int = 0
    seen: set[Any] = field(default_factory=set)


def check_bytes(content: bytes) -> None:
    """Refuse what must not even be opened; run this before `scan`.

    Strings lie in global heaps: objects one after another, each with an index, a size and the
    bytes. HDF5 2.0.0 does not notice an object that takes no room, and loops for ever.

    Raises:
        FileFormatError: no HDF5 file, an unusual word size, or such an object.
    """
    if not content.startswith(SIGNATURE):
        raise FileFormatError(
            f"is not an HDF5 file: it starts with {content[:8]!r}",
            remedy="NIR files are HDF5 files; was it cut short or saved as text?",
        )
    words = content[13:15] if content[8:9] < b"\x02" else content[9:11]
    if words != b"\x08\x08":
        _refuse("/", f"uses words of {list(words)} bytes, not 8")
    heap = content.find(_HEAP)
    while heap >= 0:
        end = heap + int.from_bytes(content[heap + 8 : heap + 16], "little")
        place = heap + 16
        while place + 16 <= min(end, len(content)):
            index = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            if (index == 0 and size == 0) or size >= 1 << 63:
                _refuse("/", f"the heap at byte {heap} holds an object of size {size}")
            place += 16 + (size + 7) // 8 * 8 if index else size
        heap = content.find(_HEAP, heap + 1)


def scan(root: h5py.Group, limits: Limits = _LIMITS) -> None:
    """Raise `FileFormatError` unless the file is a plain tree of groups, numbers and strings."""
    totals = _Totals()
    pending: list[tuple[h5py.Group, int]] = [(root, 0)]
    totals.seen.add(_address(root))
    while pending:
        group, depth = pending.pop()
        if depth > limits.depth:
            _refuse(group.name, f"groups are nested more than {limits.depth} deep")
        for place, item in _members(group):
            address = _address(item)
            if address in totals.seen:
                _refuse(place, "is a second link to an object, so the file is not a tree")
            totals.seen.add(address)
            if len(totals.seen) > limits.objects:
                _refuse(place, f"the file holds more than {limits.objects} objects")
            if isinstance(item, h5py.Group):
                pending.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                _check_dataset(place, item, totals, limits)
            else:
                _refuse(place, f"is a {type(item).__name__}, not a group or a dataset")


def _members(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """The members of a group with their paths; only hard links are followed."""
    for name in group:
        place = f"{group.name.rstrip('/')}/{name}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "broken link" if link is None else type(link).__name__
            target = getattr(link, "filename", None) or getattr(link, "path", "")
            _refuse(place, f"is a {kind} to '{target}'")
        yield place, group[name]


def _check_dataset(place: str, data: h5py.Dataset, totals: _Totals, limits: Limits) -> None:
    created = data.id.get_create_plist()
    if created.get_external_count():
        _refuse(place, f"keeps its data in another file: {data.external[0][0]!r}")
    if data.is_virtual or created.get_layout() not in _LAYOUTS:
        _refuse(place, "is a virtual dataset, made of other files' data")
    filters = {created.get_filter(i)[0] for i in range(created.get_nfilters())}
    if not filters <= _FILTERS:
        _refuse(place, f"uses HDF5 filters {sorted(filters - _FILTERS)}; only gzip is accepted")
    if data.shape is None:
        _refuse(place, "holds nothing")
    chunk = prod(data.chunks) if data.chunks else 0
    totals.unpacked += max(prod(data.shape), chunk) * data.dtype.itemsize
    if totals.unpacked > limits.unpacked:
        _refuse(
            place,
            f"with shape {data.shape} the file would unpack to at least {totals.unpacked} bytes, "
            f"the limit is {limits.unpacked}",
        )
    if h5py.check_string_dtype(data.dtype) is not None:
        _check_strings(place, data, totals, limits)
    elif data.dtype.kind not in "iuf" or data.dtype.subdtype is not None:
        _refuse(place, f"holds elements of type {data.dtype}, not numbers or strings")


def _check_strings(place: str, data: h5py.Dataset, totals: _Totals, limits: Limits) -> None:
    """Add up the strings one by one: a small file can name one long string very often."""
    if len(data.shape) > 2:
        _refuse(place, f"holds strings of shape {data.shape}")
    rows = [data[()]] if not data.shape else (data[i] for i in range(data.shape[0]))
    for row in rows:
        texts = [row] if isinstance(row, bytes) else row
        totals.text += sum(len(text) for text in texts)
        if totals.text > limits.text:
            _refuse(place, f"the file holds more than {limits.text} bytes of strings")


def _address(item: Any) -> Any:
    return h5py.h5o.get_info(item.id).addr


def _refuse(place: str, problem: str) -> None:
    raise FileFormatError(
        problem, where=f"'{place}'", remedy="get the file again from a source that you trust"
    )
