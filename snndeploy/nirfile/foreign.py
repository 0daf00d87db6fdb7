"""NIR graphs from elsewhere: float dynamics, checked, and put into the order of evaluation.

NIR says what its nodes do in continuous time. At steps of `dt`, which the user gives since files do
not hold it, a graph means this (explicit Euler; `x` is a node's input, the sum of what arrives):

    LIF        v += dt / tau * (v_leak - v + r * x);  z = v > v_threshold;  v = v_reset where z
    CubaLIF    i += dt / tau_syn * (w_in * x - i);  then as LIF on i, with tau_mem
    LI, CubaLI as LIF and CubaLIF, without spikes: they emit v
    IF, I      v += dt * r * x; IF fires as LIF does, I emits v
    Threshold  x > threshold
    Delay      the x of delay / dt steps before

Membranes start at v_leak, those of IF and I at 0, synaptic currents at 0. Within a step values pass
through every node. An edge that closes a cycle carries what its source emitted one step before: an
edge whose target lies on every way from the input to its source. Before the first step there
were no input and no spikes. A delay of a step or more breaks a cycle by itself. Whatever is not
understood is refused, all of it at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from snndeploy.errors import InputError, UnsupportedModelError
from snndeploy.nirfile.file import blamed, tree
from snndeploy.nirfile.foreign_order import Edge, ordered
from snndeploy.nirfile.foreign_shapes import KEEPING, Problem, Reading, read_node
from snndeploy.nodes import Array, Pair, Shape, Sides

SPIKING: Final = frozenset({"LIF", "CubaLIF", "IF", "Threshold"})
"""Kinds that emit zeros and ones."""

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Input": ("shape",),
        "Output": ("shape",),
        "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
        "LI": ("tau", "r", "v_leak"),
        "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
        "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in"),
        "IF": ("r", "v_threshold", "v_reset"),
        "I": ("r",),
        "Threshold": ("threshold",),
        "Delay": ("delay",),
        "Scale": ("scale",),
        "Linear": ("weight",),
        "Affine": ("weight", "bias"),
        "Conv1d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
        "Conv2d": ("weight", "bias", "stride", "padding", "dilation", "groups"),
        "SumPool2d": ("kernel_size", "stride", "padding"),
        "AvgPool2d": ("kernel_size", "stride", "padding"),
        "Flatten": ("start_dim", "end_dim"),
    }
)
_STATEFUL: Final = frozenset({"Input", "LIF", "CubaLIF", "IF", "I", "Delay"})
_DEFAULTS: Final = MappingProxyType({"v_reset": 0.0, "w_in": 1.0})
"""What NIR takes for a field that is not there."""

_REDUNDANT: Final = frozenset({"type", "metadata", "input_shape", "input_type"})
"""Fields that the rest of the graph implies; they must not contradict it."""

MOST_NODES, MOST_EDGES = 1_000, 5_000


@dataclass(frozen=True, eq=False)
class ForeignNode:
    """A node, its parameters spread over its neurons.

    Attributes:
        kind: NIR's name of its type; `Relay` for the ends of a nested graph.
        values: parameters, float64 of the node's shape; weights as they are, those of a `Conv1d`
            with a height of 1; `pads` (top, left, bottom, right), `stride`, `dilation`, `kernel`
            and `groups` of windows; the `steps` of a delay, int64.
        shape: of what it emits, without the batch.
        sources: whose values of the same step it takes in, and
        feedback: whose values of the step before.
    """

    name: str
    kind: str
    values: Mapping[str, Array]
    shape: Shape
    sources: tuple[str, ...]
    feedback: tuple[str, ...]

    def pair(self, name: str) -> Pair:
        """A value along height and width."""
        return int(self.values[name][0]), int(self.values[name][1])

    @property
    def pads(self) -> Sides:
        """Top, left, bottom and right; none where there are no windows."""
        top, left, bottom, right = self.values.get("pads", (0, 0, 0, 0))
        return int(top), int(left), int(bottom), int(right)

    @property
    def resting(self) -> Array | None:
        """What it emitted before the first step; None if that follows from its sources."""
        if self.kind in ("LI", "CubaLI"):
            return self.values["v_leak"]
        return np.zeros(self.shape) if self.kind in _STATEFUL else None

    @property
    def holds_back(self) -> bool:
        """Whether it is a delay of a step or more, which emits before it takes in."""
        return self.kind == "Delay" and bool(self.values["steps"].min() >= 1)


@dataclass(frozen=True, eq=False)
class ForeignGraph:
    """A NIR graph from elsewhere.

    Attributes:
        dt: the step, in the unit of the graph's time constants.
        nodes: in the order of evaluation; the input first.
        output: the name of the node that is the result.
    """

    dt: float
    nodes: tuple[ForeignNode, ...]
    output: str

    @property
    def input_shape(self) -> Shape:
        """Of one step of a sample."""
        return self.nodes[0].shape

    @property
    def spiking(self) -> tuple[ForeignNode, ...]:
        """The nodes that emit zeros and ones."""
        return tuple(node for node in self.nodes if node.kind in SPIKING)


def load_foreign(path: str | Path, dt: float) -> ForeignGraph:
    """Read a NIR file that another tool wrote, as carefully as `load` reads ours.

    Raises:
        FileFormatError: it is missing, no HDF5 file, damaged, too large or hostile.
        UnsupportedModelError: what in it is not understood, all at once.
        InputError: a step that is no positive number.
    """
    if not (isfinite(dt) and dt > 0):
        raise InputError(f"{dt} is no step of time", where="dt", remedy="give a positive number")
    root = tree(path)
    with blamed(path):
        return foreign_graph(root, dt)


def foreign_graph(root: Mapping[str, Any], dt: float) -> ForeignGraph:
    """The same, from the dictionaries that `tree` gives."""
    problems: list[str] = []
    found, edges = flattened(root, problems)
    _check_fields(found, problems)
    _refuse(problems)
    inputs = [name for name, fields in found.items() if fields["type"] == "Input"]
    outputs = [name for name, fields in found.items() if fields["type"] == "Output"]
    if len(inputs) != 1 or len(outputs) != 1:
        _refuse([f"{len(inputs)} inputs {inputs} and {len(outputs)} outputs {outputs}, not one"])
    kinds = {name: fields["type"] for name, fields in found.items()}
    waiting = {n for n, f in found.items() if f["type"] == "Delay" and _waits(f["delay"], dt)}
    order, feedback = ordered(inputs[0], kinds, edges, waiting, problems)
    _refuse(problems)
    return _read_all(found, order, edges, feedback, outputs[0], dt)


def _read_all(
    found: Mapping[str, Mapping[str, Any]],
    order: Sequence[str],
    edges: Sequence[Edge],
    feedback: set[Edge],
    output: str,
    dt: float,
) -> ForeignGraph:
    """Each node's values and shape, as soon as that of something that feeds it is known."""
    feeding = {name: [a for a, b in edges if b == name] for name in order}
    problems: list[str] = []
    takes: dict[str, Shape] = {}
    nodes: dict[str, ForeignNode] = {}
    pending = list(order)
    while pending:
        ready = (n for n in pending if not feeding[n] or any(a in nodes for a in feeding[n]))
        name = next(ready, None)
        if name is None:
            break
        pending.remove(name)
        fields, kind = found[name], found[name]["type"]
        takes[name] = next((nodes[a].shape for a in feeding[name] if a in nodes), ())
        behind = [found[n] for n in _behind(name, found, edges)]
        try:
            values, shape = read_node(Reading(fields, takes[name], behind, dt))
        except Problem as problem:
            problems.append(f"{kind} '{name}': {problem}")
            continue
        sources = tuple(a for a in feeding[name] if (a, name) not in feedback)
        closing = tuple(a for a in feeding[name] if (a, name) in feedback)
        nodes[name] = ForeignNode(name, kind, values, shape, sources, closing)
    problems += [
        f"{found[b]['type']} '{b}': takes in {takes[b]}, and {nodes[a].shape} from '{a}'"
        for a, b in edges
        if a in nodes and b in takes and nodes[a].shape != takes[b]
    ]
    _refuse(problems)
    return ForeignGraph(dt, tuple(nodes[name] for name in order), output)


def _behind(name: str, found: Mapping[str, Mapping[str, Any]], edges: Sequence[Edge]) -> set[str]:
    """The nodes that take in what a node emits, in its shape, at once or behind others that do."""
    seen: set[str] = set()
    pending = [name]
    while pending:
        place = pending.pop()
        after = {b for a, b in edges if a == place} - seen
        seen |= after
        pending += [b for b in after if found[b]["type"] in KEEPING]
    return seen - {name}


def flattened(
    root: Mapping[str, Any], problems: list[str], prefix: str = ""
) -> tuple[dict[str, dict[str, Any]], list[Edge]]:
    """Nodes by name, those of nested graphs as `outer.inner`, and the edges between them."""
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[Edge] = []
    into: dict[str, str] = {}
    out_of: dict[str, str] = {}
    given = root.get("nodes")
    if not isinstance(given, Mapping) or "edges" not in root:
        problems.append(f"graph '{prefix.rstrip('.')}' lacks nodes or edges")
        return nodes, edges
    for short, fields in given.items():
        name = f"{prefix}{short}"
        kind = fields.get("type") if isinstance(fields, Mapping) else None
        if kind != "NIRGraph":
            nodes[name] = dict(fields) if isinstance(fields, Mapping) else {"type": "nothing"}
            continue
        inner, inner_edges = flattened(fields, problems, f"{name}.")
        problems += [f"the name '{n}' is taken twice" for n in inner if n[len(prefix) :] in given]
        for end, place in (("Input", into), ("Output", out_of)):
            ends = [n for n, f in inner.items() if f.get("type") == end]
            if len(ends) != 1:
                problems.append(f"NIRGraph '{name}': {len(ends)} nodes of type {end}, not one")
            for one in ends:
                place[name], inner[one] = one, {**inner[one], "type": "Relay"}
        nodes |= inner
        edges += inner_edges
    for pair in np.asarray(root["edges"], dtype=object).reshape(-1, 2).tolist():
        a, b = (prefix + (x.decode() if isinstance(x, bytes) else str(x)) for x in pair)
        edges.append((out_of.get(a, a), into.get(b, b)))
    return nodes, edges


def _check_fields(found: dict[str, dict[str, Any]], problems: list[str]) -> None:
    """Every node of a known kind with all of its fields, and no others; defaults filled in."""
    if len(found) > MOST_NODES:
        problems.append(f"{len(found)} nodes, the limit is {MOST_NODES}")
    for name, fields in found.items():
        kind = fields.get("type")
        expected = ("shape",) if kind == "Relay" else _FIELDS.get(str(kind))
        if expected is None:
            problems.append(f"node '{name}' is a {kind}, which is not known")
            continue
        for field in _DEFAULTS.keys() & set(expected) - fields.keys():
            fields[field] = np.float64(_DEFAULTS[field])
        missing = [field for field in expected if field not in fields]
        odd = sorted(fields.keys() - set(expected) - _REDUNDANT)
        if missing:
            problems.append(f"{kind} '{name}': lacks {', '.join(missing)}")
        if odd:
            problems.append(f"{kind} '{name}': has {', '.join(odd)}, which is not known")
        problems += [
            f"{kind} '{name}': {field} is not made of finite numbers"
            for field in expected
            if field in fields and not _is_numbers(fields[field], field)
        ]


def _is_numbers(value: Any, field: str) -> bool:
    if field == "padding" and isinstance(value, str):
        return value in ("same", "valid")
    array = np.asarray(value)
    return array.dtype.kind in "iuf" and array.size > 0 and bool(np.isfinite(array).all())


def _waits(delay: Any, dt: float) -> bool:
    """Whether every neuron's delay is a step or more."""
    return bool(np.min(delay) >= 0.5 * dt)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise UnsupportedModelError(
            "; ".join(problems),
            where="NIR graph",
            remedy="write the graph with NIR's own nodes only",
        )
