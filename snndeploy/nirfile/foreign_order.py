"""The order in which a foreign NIR graph is evaluated, and the edges that close its cycles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

Edge: TypeAlias = tuple[str, str]

_TIMELESS = frozenset(
    {"Linear", "Affine", "Conv1d", "Conv2d", "Scale", "SumPool2d", "AvgPool2d", "Flatten"}
    | {"Relay", "Input", "Output"}
)


def ordered(
    start: str,
    kinds: Mapping[str, str],
    edges: Iterable[Edge],
    waiting: set[str],
    problems: list[str],
) -> tuple[list[str], set[Edge]]:
    """Names in the order of evaluation, and the edges that carry the values of the step before.

    Args:
        start: the input.
        kinds: by name.
        waiting: nodes that emit before they take in: what leads into them closes no cycle.
        problems: receives what is wrong.
    """
    edges = list(edges)
    unknown = sorted({end for edge in edges for end in edge} - kinds.keys())
    twice = sorted({edge for edge in edges if edges.count(edge) > 1})
    if unknown:
        problems.append(f"edges name unknown nodes {', '.join(unknown)}")
    if twice:
        problems.append(f"edges are given twice: {', '.join(f'{a} -> {b}' for a, b in twice)}")
    lost = sorted(kinds.keys() - _reached(start, edges))
    if lost:
        problems.append(f"nothing leads from the input to {', '.join(lost)}")
    if problems:
        return [], set()
    timeless = [(a, b) for a, b in edges if kinds[a] in _TIMELESS and kinds[b] in _TIMELESS]
    loop = _sorted(kinds, timeless)[1]
    if loop:
        problems.append(f"a cycle without a neuron, a threshold or a delay: {', '.join(loop)}")
        return [], set()
    # A waiting node is a start of its own: it emits what came before.
    within = [(a, b) for a, b in edges if b not in waiting]
    root = (start, *sorted(waiting))
    closing: set[Edge] = set()
    for target in {b for _, b in within}:
        without = _reached(root, [e for e in within if target not in e], skip=target)
        closing |= {(a, b) for a, b in within if b == target and a not in without}
    closing &= _on_cycles(within)
    order, left = _sorted(kinds, [edge for edge in within if edge not in closing])
    if left:
        problems.append(
            f"a cycle through {', '.join(left)} is entered in several places, so NIR does not say "
            "which of its edges waits a step"
        )
    first = [start, *(name for name in order if name != start)]
    return first, closing


def _reached(start: str | tuple[str, ...], edges: Iterable[Edge], skip: str = "") -> set[str]:
    """The nodes to which there is a way."""
    after: dict[str, list[str]] = {}
    for a, b in edges:
        after.setdefault(a, []).append(b)
    pending = [start] if isinstance(start, str) else [name for name in start if name != skip]
    seen = set(pending)
    while pending:
        for name in after.get(pending.pop(), ()):
            if name not in seen:
                seen.add(name)
                pending.append(name)
    return seen


def _on_cycles(edges: list[Edge]) -> set[Edge]:
    """The edges from whose target a way leads back to their source."""
    back = {b: _reached(b, edges) for _, b in edges}
    return {(a, b) for a, b in edges if a in back[b]}


def _sorted(names: Iterable[str], edges: list[Edge]) -> tuple[list[str], list[str]]:
    """Kahn's algorithm: the names in order, and those that a cycle keeps out."""
    waiting = dict.fromkeys(names, 0)
    after: dict[str, list[str]] = {}
    for a, b in edges:
        waiting[b] += 1
        after.setdefault(a, []).append(b)
    ready = [name for name, count in waiting.items() if not count]
    order: list[str] = []
    while ready:
        name = ready.pop(0)
        order.append(name)
        for target in after.get(name, ()):
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return order, [name for name, count in waiting.items() if count]
