"""Random NIR graphs with float dynamics, as other tools write them."""

from __future__ import annotations

from math import prod

import nir
import numpy as np
from hypothesis import strategies as st

DT = 0.5


class Graph:
    """A random graph under construction; `last` is where it grows."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        kind = draw(st.sampled_from(["image", "signal", "flat", "flat"]))
        side = st.integers(4, 7)
        self.shape = {
            "image": draw(st.tuples(st.sampled_from([1, 2, 4]), side, side)),
            "signal": draw(st.tuples(st.sampled_from([1, 2]), st.integers(4, 9))),
            "flat": draw(st.tuples(st.integers(1, 6))),
        }[kind]
        self.nodes = {"input": nir.Input({"input": np.array(self.shape)})}
        self.edges: list[tuple[str, str]] = []
        self.last, self.seen = "input", [("input", self.shape)]

    def add(self, node, name: str, shape=None) -> None:
        self.nodes[name] = node
        self.edges.append((self.last, name))
        self.last, self.shape = name, self.shape if shape is None else shape
        self.seen.append((name, self.shape))

    def spread(self, low: float, high: float):
        """A parameter: one number for all neurons, or one each."""
        if self.draw(st.booleans()):
            return self.rng.uniform(low, high, self.shape)
        return np.array([self.rng.uniform(low, high)])

    def stage(self, index: int) -> None:
        """Synapses, neurons, and sometimes more."""
        self.synapses(f"w{index}")
        if self.draw(st.integers(0, 3)) == 0:
            self.add(nir.Scale(self.spread(-1, 2)), f"scale{index}")
        if self.draw(st.integers(0, 3)) == 0:
            size = self.shape if self.draw(st.booleans()) else (1,)
            steps = self.rng.integers(0, 4, size)
            self.add(nir.Delay(steps * DT), f"delay{index}")
        self.neurons(f"n{index}")
        shape = self.shape
        loop = self.last.endswith("_fire")  # entered at a second place, it would be ambiguous
        if not loop and self.draw(st.integers(0, 2)) == 0:
            like = [n for n, s in self.seen[:-1] if s == shape and (n, self.last) not in self.edges]
            if like:
                self.edges.append((self.draw(st.sampled_from(like)), self.last))

    def synapses(self, name: str) -> None:
        draw, rng, shape = self.draw, self.rng, self.shape
        if len(shape) == 1:
            out = draw(st.integers(1, 6))
            weight, bias = rng.normal(0, 1, (out, *shape)), rng.normal(0, 0.3, out)
            plain = draw(st.booleans())
            self.add(nir.Linear(weight) if plain else nir.Affine(weight, bias), name, (out,))
        elif len(shape) == 3 and min(shape[1:]) > 1 and draw(st.integers(0, 2)) == 0:
            kind = draw(st.sampled_from([nir.SumPool2d, nir.AvgPool2d]))
            size = tuple((n - 2) // 2 + 1 for n in shape[1:])
            two, none = np.array([2, 2]), np.array([0, 0])
            self.add(kind(two, two, none), name, (shape[0], *size))
        elif draw(st.integers(0, 2)) == 0:
            flat = nir.Flatten({"input": np.array(shape)}, draw(st.sampled_from([0, 1])), -1)
            self.add(flat, name, (prod(shape),))
            self.synapses(f"{name}_dense")
        else:
            self.convolution(name)

    def convolution(self, name: str) -> None:
        draw, rng, shape = self.draw, self.rng, self.shape
        groups = draw(st.sampled_from([g for g in (1, 2, 4) if shape[0] % g == 0]))
        out, dims = 2 * groups, len(shape) - 1
        kernel = tuple(draw(st.integers(1, min(3, side))) for side in shape[1:])
        weight = rng.normal(0, 1, (out, shape[0] // groups, *kernel))
        same = draw(st.integers(0, 3)) == 0
        stride = (1,) * dims if same else tuple(draw(st.integers(1, 2)) for _ in range(dims))
        dilation = (1,) * dims
        padding = "same" if same else tuple(draw(st.integers(0, 1)) for _ in range(dims))
        size = shape[1:]
        if not same:
            along = zip(shape[1:], padding, kernel, stride, strict=True)
            size = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in along)
        kind = nir.Conv2d if dims == 2 else nir.Conv1d
        if dims == 1:
            stride, dilation = stride[0], dilation[0]
            padding = padding if same else padding[0]
        into = np.array(shape[1:]) if dims == 2 else shape[1]
        node = kind(into, weight, stride, padding, dilation, groups, rng.normal(0, 0.3, out))
        self.add(node, name, (out, *size))

    def neurons(self, name: str) -> None:
        kinds = ["LIF", "LI", "CubaLIF", "CubaLI", "IF", "I", "Threshold", "soft", "recurrent"]
        kind = self.draw(st.sampled_from(kinds))
        if kind == "soft":
            self.soft_reset(name)
        elif kind == "recurrent" and len(self.shape) == 1:
            self.recurrent(name)
        else:
            self.add(self.neuron("LIF" if kind == "recurrent" else kind), name)

    def neuron(self, kind: str):
        shape = self.shape if self.draw(st.booleans()) else (1,)
        value = lambda low, high: self.rng.uniform(low, high, shape)  # noqa: E731
        found = {
            "tau": value(DT, 5),
            "tau_mem": value(DT, 5),
            "tau_syn": value(DT, 5),
            "r": value(0.5, 3),
            "v_leak": value(-0.5, 0.5),
            "v_threshold": value(0.2, 1),
            "v_reset": value(-0.5, 0.1),
            "w_in": value(0.5, 2),
            "threshold": value(-0.2, 0.5),
        }
        make = getattr(nir, kind)
        fields = [f for f in make.__dataclass_fields__ if f in found]
        return make(**{f: found[f] for f in fields})

    def soft_reset(self, name: str) -> None:
        """The reset by subtraction that standard nodes can say."""
        theta = np.abs(self.neuron("Threshold").threshold) + 0.2
        self.add(nir.I(np.ones(self.shape) / DT), f"{name}_sum")
        source = self.last
        self.add(nir.Threshold(theta), f"{name}_fire")
        fired, shape = self.last, self.shape
        self.add(nir.Scale(-theta), f"{name}_reset")
        self.edges.append((self.last, source))
        self.last, self.shape = fired, shape

    def recurrent(self, name: str) -> None:
        """A population that feeds itself, at once or after a delay."""
        self.add(self.neuron(self.draw(st.sampled_from(["LIF", "CubaLIF", "IF"]))), name)
        size = self.shape[0]
        self.add(nir.Linear(self.rng.normal(0, 0.7, (size, size))), f"{name}_back")
        if self.draw(st.booleans()):
            steps = self.rng.integers(1, 4, size)
            self.add(nir.Delay(steps * DT), f"{name}_wait")
        self.edges.append((self.last, name))
        self.last = name


@st.composite
def foreign_graphs(draw) -> nir.NIRGraph:
    """Up to three stages, every kind of node, recurrence and delays."""
    graph = Graph(draw)
    for index in range(draw(st.integers(1, 3))):
        graph.stage(index)
    graph.add(nir.Output({"output": np.array(graph.shape)}), "output")
    return nir.NIRGraph(graph.nodes, graph.edges, type_check=False)
