"""One node of a foreign NIR graph: its values checked, and the shape of what it emits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from snndeploy.nodes import Array, Shape

MOST_DELAY = 10_000
"""Steps that a delay may hold."""

MOST_HELD = 1 << 22
"""Values of a sample that a delay may hold."""

MOST_VALUES = 1 << 24
"""Values that a node may emit at a step."""

Fields = Mapping[str, Any]
Found = tuple[dict[str, Array], Shape]


class Problem(Exception):  # noqa: N818  # no error yet: it is collected with others
    """What is wrong with a node."""


@dataclass(frozen=True)
class Reading:
    """A node as the file has it, and its surroundings.

    Attributes:
        into: the shape of what it takes in; of an input, nothing.
        behind: the fields of the nodes that take in what it emits, in its shape.
        dt: the step.
    """

    fields: Fields
    into: Shape
    behind: Sequence[Fields]
    dt: float

    @property
    def kind(self) -> str:
        """NIR's name of its type."""
        return str(self.fields["type"])


def read_node(node: Reading) -> Found:
    """Its values, and the shape of what it emits.

    Raises:
        Problem: they do not fit what it takes in, or make no sense.
    """
    values, shape = _READERS[node.kind](node)
    if prod(shape) > MOST_VALUES:
        raise Problem(f"emits {prod(shape)} values a step, the limit is {MOST_VALUES}")
    return values, shape


def _input(node: Reading) -> Found:
    shape = tuple(_integers(node.fields["shape"], "shape"))
    if not shape or min(shape) < 1:
        raise Problem(f"a shape of {shape}")
    return {}, shape


def _end(node: Reading) -> Found:
    """An output, or an end of a nested graph; its shape must be the one that arrives."""
    shape = tuple(_integers(node.fields["shape"], "shape"))
    if shape != node.into:
        raise Problem(f"says that its shape is {shape}, what arrives has {node.into}")
    return {}, shape


def _neuron(node: Reading) -> Found:
    """Parameters spread over the neurons, which are the values that arrive."""
    values = {
        field: _spread(value, field, node.into)
        for field, value in node.fields.items()
        if field not in ("type", "metadata", "input_shape", "input_type")
    }
    for field in ("tau", "tau_mem", "tau_syn"):
        if field in values and values[field].min() * (1 + 1e-6) < node.dt:
            raise Problem(
                f"{field} is {values[field].min():.6g}, shorter than the step {node.dt:.6g}, so "
                "that Euler's method overshoots"
            )
    return values, node.into


def _delay(node: Reading) -> Found:
    steps = _spread(node.fields["delay"], "delay", node.into) / node.dt
    whole = np.rint(steps)
    if whole.min() < 0 or whole.max() > MOST_DELAY:
        raise Problem(f"delays from {steps.min():.6g} to {steps.max():.6g} steps of dt")
    if (np.abs(steps - whole) > 1e-4 * np.maximum(whole, 1)).any():
        raise Problem(f"{steps.flat[0]:.6g} steps of dt are no whole number")
    held = int(whole.max()) * prod(node.into)
    if held > MOST_HELD:
        raise Problem(f"holds {held} values, the limit is {MOST_HELD}")
    return {"steps": whole.astype(np.int64)}, node.into


def _linear(node: Reading) -> Found:
    weight = _floats(node.fields["weight"])
    if weight.ndim != 2 or node.into != weight.shape[1:]:
        raise Problem(f"weight {weight.shape} on an input of shape {node.into}")
    values, out = {"weight": weight}, (weight.shape[0],)
    if "bias" in node.fields:
        values["bias"] = _bias(node.fields["bias"], weight)
    return values, out


def _conv2d(node: Reading) -> Found:
    return _convolution(node, _floats(node.fields["weight"]), node.into)


def _conv1d(node: Reading) -> Found:
    """As a convolution of images of height 1."""
    weight = _floats(node.fields["weight"])
    if weight.ndim != 3 or len(node.into) != 2:
        raise Problem(f"weight {weight.shape} on an input of shape {node.into}")
    into = (node.into[0], 1, node.into[1])
    values, shape = _convolution(node, weight[:, :, None], into)
    return values, (shape[0], shape[2])


def _convolution(node: Reading, weight: Array, into: Shape) -> Found:
    (groups,) = _integers(node.fields["groups"], "groups")[:1]
    fits = weight.ndim == 4 and len(into) == 3 and groups >= 1
    if not fits or into[0] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise Problem(f"weight {weight.shape} in {groups} groups on an input of shape {into}")
    flat = node.kind == "Conv1d"
    _check_input_shape(node.fields.get("input_shape"), node.into[1:])
    stride, dilation = _pair(node, "stride", 1, flat), _pair(node, "dilation", 1, flat)
    kernel = (weight.shape[2], weight.shape[3])
    pads = _pads(node, kernel, stride, dilation, flat)
    values = {
        "weight": weight,
        "bias": _bias(node.fields["bias"], weight),
        "stride": np.array(stride),
        "dilation": np.array(dilation),
        "pads": np.array(pads),
        "groups": np.array([groups]),
    }
    return values, (weight.shape[0], *_windows(into, kernel, stride, dilation, pads))


def _pool(node: Reading) -> Found:
    if len(node.into) != 3:
        raise Problem(f"an input of shape {node.into}, expected (C, H, W)")
    kernel, stride = _pair(node, "kernel_size", 1), _pair(node, "stride", 1)
    pads = _pads(node, kernel, stride, (1, 1))
    if any(pads) and node.kind == "AvgPool2d":
        raise Problem("pads, and NIR does not say whether a mean counts the padding")
    values = {"kernel": np.array(kernel), "stride": np.array(stride), "pads": np.array(pads)}
    return values, (node.into[0], *_windows(node.into, kernel, stride, (1, 1), pads))


def _flatten(node: Reading) -> Found:
    """NIR counts dimensions without the batch, but its default and most writers count it.

    Both are tried; what follows must decide if they differ.
    """
    (first,), (last,) = (_integers(node.fields[f], f)[:1] for f in ("start_dim", "end_dim"))
    plain = _flat(node.into, first, last)
    batched = _flat(node.into, first - (first > 0), last - (last > 0))
    candidates = [shape for shape in dict.fromkeys([plain, batched]) if shape is not None]
    if len(candidates) > 1:
        wanted = {shape for shape in map(_wanted, node.behind) if shape is not None}
        candidates = [shape for shape in candidates if wanted == {shape}] or candidates
    if len(candidates) != 1:
        raise Problem(
            f"flattens {node.into} from dimension {first} to {last}, and nothing behind it tells "
            "whether the batch is counted"
        )
    return {}, candidates[0]


def _flat(shape: Shape, first: int, last: int) -> Shape | None:
    last = last + len(shape) if last < 0 else last
    if not 0 <= first <= last < len(shape):
        return None
    return (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])


def _wanted(fields: Fields) -> Shape | None:
    """The shape that a node's own arrays ask for, if they do."""
    kind = fields["type"]
    if kind in ("Linear", "Affine"):
        return np.shape(fields["weight"])[1:]
    if kind in ("Output", "Relay"):
        return tuple(_integers(fields["shape"], "shape"))
    own = next((fields[f] for f in ("r", "threshold", "scale", "delay") if f in fields), None)
    return None if own is None or np.size(own) == 1 else np.shape(own)


def _spread(value: Any, field: str, shape: Shape) -> Array:
    """One number, or one a neuron, as one a neuron."""
    array = _floats(value)
    if array.size == 1:
        return np.broadcast_to(array.reshape(()), shape)
    if array.shape != shape:
        raise Problem(f"{field} has shape {array.shape}, its input {shape}")
    return array


def _bias(value: Any, weight: Array) -> Array:
    bias = _floats(value)
    if bias.shape != weight.shape[:1]:
        raise Problem(f"a bias of shape {bias.shape} for a weight {weight.shape}")
    return bias


def _pads(
    node: Reading,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    flat: bool = False,
) -> tuple[int, int, int, int]:
    """Top, left, bottom and right; `same` puts the odd one behind."""
    given = node.fields["padding"]
    if isinstance(given, str) and given == "same":
        if stride != (1, 1):
            raise Problem("padding 'same' with a stride")
        whole = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        before = [x // 2 for x in whole]
        return before[0], before[1], whole[0] - before[0], whole[1] - before[1]
    if isinstance(given, str):
        return 0, 0, 0, 0
    high, wide = _pair(node, "padding", 0, flat)
    return high, wide, high, wide


def _pair(node: Reading, field: str, least: int, flat: bool = False) -> tuple[int, int]:
    """One number for both sides or two; of a signal one, for its width."""
    numbers = _integers(node.fields[field], field)
    if len(numbers) == 1:
        numbers = ([1 if least else 0] if flat else numbers) + numbers
    if len(numbers) != 2 or min(numbers) < least:
        raise Problem(f"{field} is {numbers}")
    return numbers[0], numbers[1]


def _windows(
    into: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, int, int, int],
) -> Shape:
    added = (pads[0] + pads[2], pads[1] + pads[3])
    along = zip(into[1:], added, kernel, stride, dilation, strict=True)
    if max(pads) > max(into[1:]):
        raise Problem(f"padding {pads} on an input of shape {into}")
    size = tuple((n + p - d * (k - 1) - 1) // s + 1 for n, p, k, s, d in along)
    if min(size) < 1:
        raise Problem(f"a kernel of {kernel} on an input of shape {into}")
    return size


def _check_input_shape(given: Any, into: Shape) -> None:
    if given is not None and tuple(_integers(given, "input_shape")) != into:
        raise Problem(f"input_shape {_integers(given, 'input_shape')}, what arrives has {into}")


def _integers(value: Any, field: str) -> list[int]:
    array = np.atleast_1d(np.asarray(value))
    if array.ndim != 1 or array.dtype.kind not in "iuf" or (array != np.rint(array)).any():
        raise Problem(f"{field} is {np.array2string(array, threshold=5)}")
    if np.abs(array).max(initial=0) > 1 << 31:
        raise Problem(f"{field} is beyond 2**31")
    return [int(x) for x in array]


def _floats(value: Any) -> Array:
    return np.asarray(value).astype(np.float64)


KEEPING = frozenset(
    {"LIF", "LI", "CubaLIF", "CubaLI", "IF", "I", "Threshold", "Scale", "Delay", "Relay"}
)
"""Kinds that emit values of the shape that they take in."""

_READERS: Mapping[str, Callable[[Reading], Found]] = {
    "Input": _input,
    "Output": _end,
    "Relay": _end,
    **dict.fromkeys(KEEPING - {"Delay", "Relay"}, _neuron),
    "Delay": _delay,
    "Linear": _linear,
    "Affine": _linear,
    "Conv1d": _conv1d,
    "Conv2d": _conv2d,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "Flatten": _flatten,
}
