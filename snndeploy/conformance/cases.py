"""The networks of the suite with their samples, and what the definition does with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import get_args

import numpy as np

from snndeploy.backend import find_backend
from snndeploy.conformance.sketch import samples
from snndeploy.conformance.structures import STRUCTURES
from snndeploy.network import Mode
from snndeploy.numerics import Int8Array, Int64Array
from snndeploy.program import Program
from snndeploy.simulate import default_steps

JUDGE = "judge"
MOST_STEPS = 32
MODES: tuple[Mode, ...] = get_args(Mode)
HARD = (
    "conv_padded",
    "dense_deep",
    "levels_fifteen",
    "steps_of_images",
    "add_three",
    "max_pool_overlapping",
    "resnet",
)
"""Structures that are run in rate mode with hard reset, too."""


@dataclass(frozen=True)
class Definition:
    """What must come out.

    Attributes:
        logits: int64 (N, T, classes).
        spikes: int8 (N, T, *shape) per spiking layer, in topological order.
    """

    logits: Int64Array
    spikes: Mapping[str, Int8Array]


@dataclass(frozen=True, eq=False)
class Case:
    """One network, its samples, and how long it is run.

    Attributes:
        name: `structure-mode`, or `structure-hard` for rate mode with hard reset.
        about: what the structure is there for.
        inputs: int64 (N, *shape) on the input grid, or (N, F, *shape) step by step.
        steps: in exact mode until it has settled, in rate mode two windows and a step.
    """

    name: str
    about: str
    program: Program
    inputs: Int64Array
    steps: int

    @cached_property
    def definition(self) -> Definition:
        """The judge's spikes and logits, all samples for all steps."""
        session = find_backend(JUDGE).open(self.program, self.inputs, self.steps)
        done = [session.step() for _ in range(self.steps)]
        spikes = {
            x.name: np.stack([s.spikes[x.name] for s in done], 1) for x in self.program.spiking
        }
        return Definition(np.stack([step.logits for step in done], axis=1), spikes)


def case_names() -> tuple[str, ...]:
    """The names of all cases: both modes of every structure, hard reset of some."""
    both = tuple(f"{name}-{mode}" for name in STRUCTURES for mode in MODES)
    return (*both, *(f"{name}-hard" for name in HARD))


def some_case_names() -> tuple[str, ...]:
    """Half of the cases: every structure, in one of the modes by turns; hard reset of two."""
    turns = tuple(f"{name}-{MODES[i % len(MODES)]}" for i, name in enumerate(STRUCTURES))
    return (*turns, "add_three-hard", "max_pool_overlapping-hard")


@cache
def case(name: str) -> Case:
    """The case of that name; the same numbers on every machine."""
    structure_name, _, mode = name.rpartition("-")
    structure = STRUCTURES[structure_name]
    network = structure.network("exact" if mode == "exact" else "rate")
    if mode == "hard":
        network = replace(network, reset="hard")
    program = Program(network)
    steps = default_steps(program) if mode == "exact" else 2 * network.window + 1
    inputs = samples(network, structure.samples, structure.frames)
    return Case(name, structure.about, program, inputs, min(steps, MOST_STEPS))
