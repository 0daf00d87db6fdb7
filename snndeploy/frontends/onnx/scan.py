"""The structure of an ONNX message, checked before anything is built from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

import onnx
from onnx import TensorProto

from snndeploy.errors import FileFormatError

MAX_OPERATORS = 20_000
MAX_TENSOR_ELEMENTS = 1 << 30
MAX_RANK = 8
OLDEST_OPSET = 7
"""Broadcasting as in NumPy, and batch-norm without training, start there."""

_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32, TensorProto.UINT8: 8, TensorProto.INT8: 8, TensorProto.UINT16: 16,
    TensorProto.INT16: 16, TensorProto.INT32: 32, TensorProto.INT64: 64, TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16, TensorProto.DOUBLE: 64, TensorProto.UINT32: 32,
    TensorProto.UINT64: 64, TensorProto.BFLOAT16: 16, TensorProto.UINT4: 4, TensorProto.INT4: 4,
    TensorProto.INT2: 2, TensorProto.UINT2: 2,
}  # fmt: skip
"""The types that are read, and the size of an element."""

_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}
"""Where elements are kept that are not raw; all other types use `int32_data`."""


def tensors(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every dense tensor that a model stores."""
    yield from proto.graph.initializer
    for node in _nodes(proto):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The operators of the graph and of all functions."""
    yield from proto.graph.node
    for function in proto.functions:
        yield from function.node


def scan(proto: onnx.ModelProto) -> None:
    """Check versions, tensors, names and functions.

    Raises:
        FileFormatError: the first thing that is wrong.
    """
    graph = proto.graph
    _check_text(_names(proto))
    _check_opset(proto)
    count = _expanded(proto)
    if not 0 < count <= MAX_OPERATORS:
        raise FileFormatError(f"holds {count} operators, expected 1 to {MAX_OPERATORS}")
    if graph.sparse_initializer:
        raise FileFormatError("stores sparse tensors", remedy="store them densely")
    for tensor in tensors(proto):
        _check_tensor(tensor)
    for node in _nodes(proto):
        _check_attributes(node)
    given = [value.name for value in graph.input]
    stored = [tensor.name for tensor in graph.initializer]
    _check_once(given, "input")
    _check_once(stored, "stored tensor")
    _check_names(graph.node, {*given, *stored}, [value.name for value in graph.output])
    for function in proto.functions:
        _check_once(function.input, "input")
        _check_names(function.node, set(function.input), function.output)


def _check_opset(proto: onnx.ModelProto) -> None:
    """The standard operators' version is stated and known; other domains may be missing."""
    newest = onnx.defs.onnx_opset_version()
    for imports in (proto.opset_import, *(f.opset_import for f in proto.functions)):
        versions = [entry.version for entry in imports if entry.domain in ("", "ai.onnx")]
        if versions and not OLDEST_OPSET <= versions[0] <= newest:
            raise FileFormatError(
                f"uses operators of opset {versions[0]}, read are {OLDEST_OPSET} to {newest}",
                remedy="convert it with onnx.version_converter",
            )
        if len(versions) > 1 or (not versions and imports is proto.opset_import):
            raise FileFormatError(
                f"states {len(versions)} versions of the standard operators, expected one"
            )


def _expanded(proto: onnx.ModelProto) -> int:
    """How many operators there are once functions are written out."""
    functions = {(f.domain, f.name): f for f in proto.functions}
    if len(functions) != len(proto.functions):
        raise FileFormatError("holds two functions of one name")
    sizes: dict[tuple[str, str], int] = {}
    open_: list[tuple[str, str]] = []

    def size(nodes: Iterable[onnx.NodeProto]) -> int:
        return sum(call((node.domain, node.op_type)) for node in nodes)

    def call(key: tuple[str, str]) -> int:
        if key not in functions:
            return 1
        if key in open_ or len(open_) > MAX_FUNCTION_DEPTH:
            raise FileFormatError(f"the function '{key[1][:80]}' calls itself, or too deep")
        if key not in sizes:
            open_.append(key)
            sizes[key] = 1 + size(functions[key].node)
            open_.pop()
        return sizes[key]

    return size(proto.graph.node)


MAX_FUNCTION_DEPTH = 32


def _check_tensor(tensor: TensorProto) -> None:
    """The type is read, the shape is small enough, and there is as much data as it says."""
    label = f"tensor '{tensor.name[:80]}'"
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        kinds = TensorProto.DataType
        known = tensor.data_type in kinds.values()
        kind = kinds.Name(tensor.data_type) if known else f"type {tensor.data_type}"
        raise FileFormatError(f"{label} is {kind}", remedy="store real numbers or integers")
    dims = list(tensor.dims)
    count = prod(dims)
    if any(n < 0 for n in dims) or len(dims) > MAX_RANK or count > MAX_TENSOR_ELEMENTS:
        raise FileFormatError(f"{label} has the shape {dims[:MAX_RANK]}")
    if tensor.HasField("segment"):
        raise FileFormatError(f"{label} is stored in segments")
    if tensor.HasField("raw_data"):
        found, expected = len(tensor.raw_data), -(-count * bits // 8)
    else:
        found = len(getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data")))
        expected = -(-count * bits // 8) if bits < 8 else count
    if found != expected:
        raise FileFormatError(f"{label} of shape {dims} has {found} values or bytes of {expected}")


def _names(proto: onnx.ModelProto) -> Iterator[str]:
    for node in _nodes(proto):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for value in (*proto.graph.input, *proto.graph.output):
        yield value.name
    for tensor in tensors(proto):
        yield tensor.name
    for function in proto.functions:
        yield from (function.name, function.domain, *function.input, *function.output)


def _check_text(names: Iterable[object]) -> None:
    for name in names:
        # Protobuf gives what is not UTF-8 as bytes. A line break would break an error's line.
        if not isinstance(name, str) or not name.isprintable():
            raise FileFormatError(f"the name {name!r:.80} is no text")


def _check_attributes(node: onnx.NodeProto) -> None:
    """Attributes have one name each, and their texts are texts."""
    label = f"'{node.name[:80] or node.op_type[:80]}'"
    names = [attribute.name for attribute in node.attribute]
    if len(set(names)) != len(names):
        raise FileFormatError(f"{label} has two attributes of one name")
    try:
        for attribute in node.attribute:
            for text in (attribute.s, *attribute.strings):
                text.decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"an attribute of {label} is no text") from error


def _check_once(names: Iterable[str], kind: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen or not name:
            raise FileFormatError(f"two {kind}s are called '{name[:80]}'")
        seen.add(name)


def _check_names(nodes: Iterable[onnx.NodeProto], known: set[str], results: Iterable[str]) -> None:
    """Each value is computed once, and whatever is read is computed somewhere."""
    found = set(known)
    for node in nodes:
        for name in node.output:
            if name in found:
                raise FileFormatError(f"two values are called '{name[:80]}'")
            if name:
                found.add(name)
    for node in nodes:
        for name in node.input:
            if name and name not in found:
                raise FileFormatError(
                    f"'{node.name[:80] or node.op_type[:80]}' reads '{name[:80]}', "
                    "which nothing computes or stores"
                )
    for name in results:
        if name not in found:
            raise FileFormatError(f"its result '{name[:80]}' is not computed")
