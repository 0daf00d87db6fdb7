"""NIR files: `save` and `load` integer networks, and refuse hostile or damaged files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
from nir.serialization import hdf2dict

from snndeploy.errors import FileFormatError, InputError
from snndeploy.files import replacing
from snndeploy.network import Network
from snndeploy.nirfile.reader import from_nir
from snndeploy.nirfile.records import KEY
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
    with blamed(path):
        return from_nir(_parsed(content))


def tree(path: str | Path) -> dict[str, Any]:
    """The graph of any NIR file as nested dictionaries of arrays and strings.

    Nothing of nir is asked, which refuses some files that other tools wrote.

    Raises:
        FileFormatError: as `load`.
    """
    content = _content(Path(path))
    with blamed(path):
        check_bytes(content)
        with h5py.File(io.BytesIO(content), "r") as file:
            scan(file)
            root = _plain(file["node"])
            if not isinstance(root, dict) or root.get("type") != "NIRGraph":
                raise FileFormatError("holds no NIR graph")
            return root


def is_foreign(path: str | Path) -> bool:
    """Whether another tool wrote this NIR file. Raises as `load`."""
    content = _content(Path(path))
    with blamed(path):
        check_bytes(content)
        with h5py.File(io.BytesIO(content), "r") as file:
            scan(file)
            return f"node/metadata/{KEY}" not in file


@contextmanager
def blamed(path: str | Path) -> Iterator[None]:
    """Errors about a file: they name it, and what h5py and nir raise is a `FileFormatError`."""
    try:
        yield
    except InputError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise type(error)(error.problem, where=where, remedy=error.remedy) from error
    except _ZOO as error:
        raise FileFormatError(
            f"is damaged or not a NIR file: {type(error).__name__}: {_first_line(error)}",
            where=str(path),
            remedy="export the network again",
        ) from error


def _plain(item: Any) -> Any:
    """A group as a dictionary, a dataset as an array or a string."""
    if isinstance(item, h5py.Group):
        return {name: _plain(member) for name, member in item.items()}
    value = item[()]
    return value.decode() if isinstance(value, bytes) else value


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
        data = hdf2dict(file["node"])
    if data["type"] != "NIRGraph":
        raise FileFormatError(f"holds a single {data['type']!r} node, not a NIR graph")
    with np.errstate(all="raise"):  # types are guessed on the way, with the sizes as they are
        return nir.dict2NIRNode(_unchecked(data))


def _unchecked(graph: dict[str, Any]) -> dict[str, Any]:
    """Without nir's own type check, which refuses some convolutions; `from_nir` checks everything.

    `nir.read` can leave it out for the graph itself, not for those in it.
    """
    if graph.get("type") != "NIRGraph":
        return graph
    nodes = {name: _unchecked(node) for name, node in graph["nodes"].items()}
    return {**graph, "nodes": nodes, "type_check": False}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["no further information"])[0]
