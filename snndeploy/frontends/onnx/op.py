"""One operator of an ONNX graph, its attributes read with their types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from snndeploy.frontends.reading import Unsupported
from snndeploy.nodes import Array

_SHOWN = 80


@dataclass(frozen=True, eq=False)
class Op:
    """A node of the graph.

    Attributes:
        node: as ONNX has it.
        version: of its domain's operators; 0 if the model does not say.
        ends: only the model's end reads its result, such as a softmax: see `graph.py`.
        in_tail: it is itself part of that end.
    """

    node: ir.Node
    version: int
    ends: bool
    in_tail: bool

    @property
    def kind(self) -> str:
        """The operator's type."""
        return self.node.op_type

    @property
    def label(self) -> str:
        """Its name in the model, or that of its first result, cut in the middle if it is long."""
        name = self.node.name or next((v.name for v in self.node.outputs if v.name), "") or "?"
        half = _SHOWN // 2 - 2
        return name if len(name) <= _SHOWN else f"{name[:half]}...{name[-half:]}"

    @property
    def names(self) -> tuple[str, ...]:
        """Candidates for its name in a network."""
        given = (self.node.name, *(value.name for value in self.node.outputs))
        return (*(readable(text or "") for text in given), self.kind.lower())

    def has(self, name: str) -> bool:
        """Whether an attribute is given."""
        return name in self.node.attributes

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute."""
        value = self._value(name, ir.AttributeType.INT, default)
        return int(value)

    def number(self, name: str, default: float | None = None) -> float:
        """A real attribute."""
        return float(self._value(name, ir.AttributeType.FLOAT, default))

    def text(self, name: str, default: str = "") -> str:
        """A text attribute."""
        value = str(self._value(name, ir.AttributeType.STRING, default))
        if len(value) > _SHOWN or not value.isprintable():
            raise Unsupported(f"its attribute '{name}' is {value[:_SHOWN]!r}")
        return value

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """An attribute of several integers."""
        return tuple(int(n) for n in self._value(name, ir.AttributeType.INTS, default))

    def numbers(self, name: str) -> tuple[float, ...]:
        """An attribute of several real numbers."""
        return tuple(float(x) for x in self._value(name, ir.AttributeType.FLOATS, None))

    def tensor(self, name: str) -> Array:
        """A tensor attribute."""
        return np.asarray(self._value(name, ir.AttributeType.TENSOR, None).numpy())

    def _value(self, name: str, kind: ir.AttributeType, default: Any) -> Any:
        attribute = self.node.attributes.get(name)
        if attribute is None:
            if default is None:
                raise Unsupported(f"its attribute '{name}' is missing")
            return default
        if attribute.type != kind or attribute.is_ref():
            raise Unsupported(f"its attribute '{name}' is not of type {kind.name}")
        return attribute.value


def operands(op: Op) -> Iterator[ir.Value]:
    """The values that an operator reads."""
    return (value for value in op.node.inputs if value is not None)


def readable(name: str) -> str:
    """The last of several names that a converter joined, its end if it is long."""
    last = re.sub(r"\W+", "_", name.rsplit(";", maxsplit=1)[-1], flags=re.ASCII).strip("_")
    return last[-48:].lstrip("_0123456789")
