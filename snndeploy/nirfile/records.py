"""The JSON metadata of the native form: one record a node and one for the graph.

The same models write and read, so what is written is what is accepted: no field more, none
less, no other type.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import nir
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snndeploy.errors import FileFormatError
from snndeploy.network import Mode

KEY: Final = "snndeploy"
"""The metadata entry that holds the JSON."""

LARGEST: Final = 1 << 53
"""The largest integer that every array and every record may hold: float64 is exact up to it."""

Integer: TypeAlias = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
Integers: TypeAlias = Annotated[tuple[Integer, ...], Field(min_length=1)]
Size: TypeAlias = Annotated[int, Field(ge=0, le=1 << 31)]
Sizes2: TypeAlias = tuple[Size, Size]
Sizes4: TypeAlias = tuple[Size, Size, Size, Size]
UnevenKind: TypeAlias = Literal["padded_conv2d", "padded_sum_pool2d", "padded_pool_sum"]
Text: TypeAlias = Annotated[str, Field(max_length=10_000)]


class Record(BaseModel):
    """What all records share: `kind` tells what the node means to snndeploy."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class PlainRecord(Record):
    """A node whose plain NIR fields say everything.

    `relay` repeats an edge: NIR's edges are a set, so the second edge between the same two nodes
    goes through a scale of ones. `pool_sum` and `pool_any` are the inner nodes of a max-pool.
    """

    kind: Literal[
        "input",
        "conv2d",
        "linear",
        "scale",
        "sum_pool2d",
        "flatten",
        "relay",
        "pool_sum",
        "pool_any",
        "end",
    ]


class PaddedRecord(Record):
    """A node whose sides are padded differently, which NIR does not know.

    The plain node is a convolution with one kernel that means the same: its taps written out
    without dilation, with zeros around them. A sum over windows has a kernel of ones a channel.
    """

    kind: UnevenKind
    kernel: Sizes2
    padding: Sizes4
    dilation: Sizes2


class NeuronRecord(Record):
    """A population: integers a channel, `bias` being the total over the window.

    `signed` and `cap` say what the network's mode implies: in exact mode spikes of -1 and a net
    count of at most `cap`, in rate mode neither. `reset` is the network's: `zero` where it is hard.
    """

    kind: Literal["neuron"] = "neuron"
    reset: Literal["subtract", "zero"] = "subtract"
    compare: Literal[">="] = ">="
    signed: bool
    cap: Integer | None
    threshold: Integers
    v0: Integers
    bias: Integers
    levels: Annotated[Integer, Field(ge=1)]
    scale: float


class ReadoutRecord(Record):
    """The integrating readout; one unit of membrane is worth `scale`."""

    kind: Literal["readout"] = "readout"
    bias: Integers | None
    scale: float


class MaxPoolRecord(Record):
    """A nested graph that stands for a maximum over running spike counts."""

    kind: Literal["max_pool2d"] = "max_pool2d"
    over: Literal["counts"] = "counts"


class GridRecord(Record):
    """The input grid."""

    scale: float
    low: Integer
    high: Integer


class NetworkRecord(Record):
    """The graph: everything about the network that is not in a node.

    Attributes:
        nodes: all names, adds included, in the network's order (NIR files forget it).
        adds: those of them that NIR expresses by several edges into one node.
        edges: the network's, adds included.
        hash: that of the network, so that damage to any array is noticed.
    """

    kind: Literal["network"] = "network"
    format: Literal[1] = 1
    name: Text
    mode: Mode
    window: Annotated[Integer, Field(ge=1)]
    history: Annotated[tuple[Text, ...], Field(max_length=1_000)]
    grid: GridRecord
    per_step: bool = False
    nodes: Annotated[tuple[Text, ...], Field(max_length=5_000)]
    adds: tuple[Text, ...]
    edges: Annotated[tuple[tuple[Text, Text], ...], Field(max_length=20_000)]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


NodeRecord: TypeAlias = PlainRecord | PaddedRecord | NeuronRecord | ReadoutRecord | MaxPoolRecord
_R = TypeVar("_R", bound=Record)


def metadata(record: Record) -> dict[str, Any]:
    """The metadata dictionary of a NIR node that carries `record`."""
    return {KEY: record.model_dump_json()}


def has_record(node: nir.NIRNode) -> bool:
    """Whether the node carries metadata of ours, well-formed or not."""
    return isinstance(node.metadata, dict) and KEY in node.metadata


def kind_of(node: nir.NIRNode) -> str:
    """What the node's record says it is; empty if it says nothing."""
    try:
        kind = json.loads(node.metadata[KEY])["kind"] if has_record(node) else ""
    except (KeyError, RecursionError, TypeError, ValueError):
        return ""
    return kind if isinstance(kind, str) else ""


def read_record(node: nir.NIRNode, kind: type[_R], where: str) -> _R:
    """The node's record, which must be a `kind`.

    Raises:
        FileFormatError: it is missing, is not JSON, or has other fields, types or values.
    """
    text = node.metadata[KEY] if has_record(node) else None
    if not isinstance(text, str):
        raise FileFormatError(
            f"{type(node).__name__} without a JSON string under metadata '{KEY}'",
            where=where,
            remedy="write the file again with snndeploy",
        )
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FileFormatError(
            f"metadata '{KEY}' is not a {kind.__name__}: {place}: {first['msg']}",
            where=where,
            remedy="write the file again with snndeploy",
        ) from error
