"""NIR files: `save` and `load` integer networks, and refuse hostile or damaged files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import nir

from snndeploy.errors import FileFormatError, InputError
from snndeploy.files import replacing
from snndeploy.network import Network
from snndeploy.nirfile.reader import from_nir
from snndeploy.nirfile.scan import check_bytes, scan
from snndeploy.nirfile.writer import to_nir

MOST_BYTES = 1 << 30
"""The largest file that is read."""

_ZOO = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
)
"""What h5py and nir.read raise on bad files: h5py maps HDF5's errors onto most of the built-in
types, and nir trusts what it reads, so that a damaged file fails wherever Python notices."""


def save(network: Network, path: str | Path) -> None:
    """Write an integer network as a NIR file; an existing file is replaced in one step.

    Raises:
        UnsupportedModelError: the network cannot be held by a NIR file.
        FileFormatError: the file cannot be written.
    """
    graph, target = to_nir(network), Path(path)
    with replacing(target) as temporary:
        try:
            nir.write(temporary, graph)
        except OSError as error:
            raise FileFormatError(
                f"cannot be written: {_first_line(error)}",
                where=str(target),
                remedy="check the free space",
            ) from error


def load(path: str | Path) -> Network:
    """Read a NIR file that `save` wrote.

    The file may be hostile: it is read into memory, looked over with `scan`, and only then
    parsed, so it can neither name other files nor change in between.

    Raises:
        FileFormatError: it is missing, no HDF5 file, damaged, too large, hostile or inconsistent.
        UnsupportedModelError: it is a NIR file that does not come from snndeploy.
    """
    content = _content(Path(path))
    try:
        return from_nir(_parsed(content))
    except InputError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise type(error)(error.problem, where=where, remedy=error.remedy) from error
    except _ZOO as error:
        raise FileFormatError(
            f"is damaged or not a NIR file: {type(error).__name__}: {_first_line(error)}",
            where=str(path),
            remedy="export the network again",
        ) from error


def _content(path: Path) -> bytes:
    """The bytes of a regular file."""
    where = str(path)
    try:
        if not path.exists():
            raise FileFormatError("no such file", where=where)
        if not path.is_file():
            kind = "folder" if path.is_dir() else "device"
            raise FileFormatError(f"is a {kind}, not a file", where=where)
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise FileFormatError(f"{size} bytes, the limit is {MOST_BYTES}", where=where)
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot be read: {_first_line(error)}", where=where) from error
    return content


def _parsed(content: bytes) -> nir.NIRGraph:
    check_bytes(content)
    with h5py.File(io.BytesIO(content), "r") as file:
        scan(file)
        kind = file["node/type"][()]
        data = nir.serialization.hdf2dict(file["node"])
    if kind != b"NIRGraph":
        raise FileFormatError(f"holds a single {kind!r} node, not a NIR graph")
    _leave_types_unchecked(data)
    return nir.dict2NIRNode(data)


def _leave_types_unchecked(graph: Any) -> None:
    """Spare a graph, and those inside it, nir's own type check.

    It gets grouped convolutions and kernels that are not square wrong. `from_nir` checks all.
    """
    graph["type_check"] = False
    for node in graph["nodes"].values():
        if node["type"] == "NIRGraph":
            _leave_types_unchecked(node)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no further information"])[0]
