"""`.npz` files of samples: `x` (N, *shape) and, where known, labels `y` (N,). Never a pickle."""

from __future__ import annotations

import hashlib
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snndeploy.errors import DataError, FileFormatError
from snndeploy.numerics import Int64Array

MAX_ARRAY_BYTES = 8 << 30
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    TypeError,
    EOFError,
    MemoryError,
    RecursionError,
    RuntimeError,  # an encrypted member; NotImplementedError, an unknown compression
)
"""What zipfile and NumPy raise on a damaged or hostile file."""

REMEDY = "write it with numpy.savez(path, x=samples, y=labels)"


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and labels.

    Attributes:
        x: (N, *shape), floats in the model's units or integers on its input grid.
        y: int64 (N,), or None.
    """

    x: NDArray[Any]
    y: Int64Array | None

    def __len__(self) -> int:
        return len(self.x)

    def first(self, count: int | None) -> Samples:
        """The first `count` samples, or all."""
        return Samples(self.x[:count], None if self.y is None else self.y[:count])

    def labels(self, why: str) -> Int64Array:
        """The labels; raises `DataError` saying what they are needed for."""
        if self.y is None:
            raise DataError("holds no labels 'y'", where="data", remedy=f"{why} needs them")
        return self.y

    @property
    def hash(self) -> str:
        """SHA-256 over the inputs."""
        return array_hash(self.x)


def array_hash(x: NDArray[Any]) -> str:
    """SHA-256 over shape, dtype and content."""
    digest = hashlib.sha256(f"{x.dtype.str} {x.shape}".encode())
    digest.update(np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()


def load_samples(path: Path) -> Samples:
    """Read and check an `.npz` file.

    Raises:
        FileFormatError: missing, not an .npz file, too large, or holding Python objects.
        DataError: no samples, or labels that do not match them.
    """
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if "x.npy" not in members:
                raise DataError(f"holds {members}, no array 'x'", where=where, remedy=REMEDY)
            x = _array(archive, "x.npy", where)
            y = _array(archive, "y.npy", where) if "y.npy" in members else None
    except OSError as error:
        raise FileFormatError(f"cannot be read: {error.strerror or error}", where=where) from error
    except UNREADABLE as error:
        raise FileFormatError(
            f"is not a readable .npz file: {error}", where=where, remedy=REMEDY
        ) from error
    return check_samples(x, y, where)


def check_samples(x: NDArray[Any], y: NDArray[Any] | None, where: str = "data") -> Samples:
    """Inputs and labels that belong together. Raises `DataError` if they do not."""
    if x.ndim < 2 or len(x) == 0:
        raise DataError(f"x has shape {x.shape}, expected (N, ...) with N > 0", where=where)
    if x.dtype.kind not in "biuf":
        raise DataError(f"x is {x.dtype}, expected real numbers", where=where)
    if y is None:
        return Samples(x, None)
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise DataError(
            f"y is {y.dtype} {y.shape}, expected integers ({len(x)},)",
            where=where,
            remedy="give one class number a sample",
        )
    return Samples(x, y.astype(np.int64))


def _array(archive: zipfile.ZipFile, member: str, where: str) -> NDArray[Any]:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(
            stream
        )
    if dtype.hasobject:
        raise FileFormatError(f"{member} holds Python objects", where=where, remedy=REMEDY)
    size = prod(shape) * dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        raise FileFormatError(
            f"{member} declares {size} bytes, the limit is {MAX_ARRAY_BYTES}", where=where
        )
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array
