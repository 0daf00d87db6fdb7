"""`.onnx` files, read without trusting them.

A protobuf message cannot run code, but it can lie: about sizes, about names, and about other
files that its tensors lie in. Everything is checked before a tensor is touched.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError

from snndeploy.errors import FileFormatError
from snndeploy.frontends.onnx.graph import Model
from snndeploy.frontends.onnx.scan import scan, tensors
from snndeploy.frontends.onnx.walk import read
from snndeploy.network import Network

MAX_FILE_BYTES = 2 << 30
"""Protobuf's own limit."""

MAX_EXTERNAL_BYTES = 4 << 30


def load_onnx(path: Path) -> Network:
    """Read an ONNX model into a float network.

    Raises:
        FileFormatError: the file is missing, malformed, too large, or names files elsewhere.
        UnsupportedModelError: the model holds operators that cannot become spiking.
    """
    where = str(path)
    content = _content(path, MAX_FILE_BYTES)
    try:
        return from_bytes(content, re.sub(r"\W", "_", path.stem), path.parent)
    except FileFormatError as error:
        raise FileFormatError(error.problem, where=where, remedy=error.remedy) from error


def from_bytes(content: bytes, name: str = "model", folder: Path | None = None) -> Network:
    """Read an ONNX message as bytes; tensors outside it lie in `folder`.

    Raises:
        FileFormatError, UnsupportedModelError: as `load_onnx`.
    """
    proto = _parsed(content)
    _fetch_external(proto, folder)
    return from_proto(proto, name)


def from_proto(proto: onnx.ModelProto, name: str = "model") -> Network:
    """Read an ONNX message, its tensors inside it, into a float network.

    Raises:
        FileFormatError: it is no sound graph.
        UnsupportedModelError: it holds operators that cannot become spiking.
    """
    scan(proto)
    return read(Model.of(proto), name)


def _content(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise FileFormatError(f"{size} bytes, the limit is {limit}", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _parsed(content: bytes) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except (DecodeError, ValueError, RecursionError) as error:
        raise FileFormatError(
            "is not an ONNX model, or is cut off",
            remedy="export it again, and copy the whole file",
        ) from error
    if not proto.HasField("graph"):
        raise FileFormatError("is not an ONNX model: it holds no graph")
    return proto


def _fetch_external(proto: onnx.ModelProto, folder: Path | None) -> None:
    """Put tensors that lie in files beside the model into the model."""
    budget = MAX_EXTERNAL_BYTES
    for tensor in tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            if folder is None:
                raise FileFormatError(f"tensor {tensor.name[:80]!r} lies outside the message")
            tensor.raw_data = _external(tensor, folder, budget)
            budget -= len(tensor.raw_data)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def _external(tensor: onnx.TensorProto, folder: Path, budget: int) -> bytes:
    """The bytes of a tensor in a file that lies in the model's own folder, or below it."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location, label = entries.get("location", ""), f"tensor {tensor.name[:80]!r}"
    parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
    outside = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
    path = folder / location
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        if not location or "\0" in location or outside or ".." in parts or not inside:
            raise FileFormatError(
                f"{label} lies in {location[:80]!r}, outside the model's folder",
                remedy="refused as unsafe: keep the tensors' file beside the model",
            )
        start, size = int(entries.get("offset", 0)), path.stat().st_size
        count = int(entries.get("length", size - start))
        if start < 0 or count < 0 or start + count > size:
            raise FileFormatError(f"{label}: '{location[:80]}' ends before its data")
        if count > budget:
            raise FileFormatError(f"holds more than {MAX_EXTERNAL_BYTES} bytes of external data")
        with path.open("rb") as stream:
            stream.seek(start)
            data: bytes = stream.read(count)
        return data
    except (OSError, ValueError, OverflowError) as error:
        raise FileFormatError(
            f"{label}: its data in {location[:80]!r} cannot be read",
            remedy="copy the tensors' file beside the model",
        ) from error
