"""What a program must keep to before Lava runs it: Loihi's words, or those of its profile."""

from __future__ import annotations

import os

from snndeploy.nodes import WEIGHTED, Conv2d, Linear, Scale
from snndeploy.numerics import check_word, mantissas
from snndeploy.program import Program
from snndeploy.ranges import ranges
from snndeploy_backends.lava.sessions import SHARED_MEMORY
from snndeploy_backends.lava.worker.job import CHANNEL_SLOTS
from snndeploy_backends.lava.worker.projections import sources

STATE_BITS = 24
WEIGHT_BITS = 8
WEIGHT_EXPONENT = 13
"""Loihi's words, used where a program has no profile or the profile does not tell."""


def state_bits(program: Program) -> int:
    """The signed word of a membrane."""
    limits = program.profile.limits if program.profile else None
    return (limits and limits.state_bits) or STATE_BITS


def weight_bits(program: Program) -> int:
    """The signed word of a weight."""
    limits = program.profile.limits if program.profile else None
    return (limits and limits.weight_bits) or WEIGHT_BITS


def weight_exponent(program: Program) -> int:
    """The largest exponent of two that the weights of a projection may share."""
    limits = program.profile.limits if program.profile else None
    return WEIGHT_EXPONENT if limits is None else limits.weight_exponent or 0


def check_fits(program: Program, steps: int) -> None:
    """Raise `DoesNotFitError` if a weight, or by range analysis a membrane, leaves its word."""
    profile = program.profile.name if program.profile else "loihi1"
    remedy = f"`snndeploy rescale --profile {profile}` makes smaller integers"
    for node in program.network.nodes:
        if isinstance(node, WEIGHTED):
            assert isinstance(node, Conv2d | Linear | Scale)
            held, _ = mantissas(node.weight, weight_exponent(program))
            check_word(
                *(int(held.min()), int(held.max())),
                bits=weight_bits(program),
                where=f"weights of '{node.name}'",
                remedy=remedy,
            )
    for name, bound in ranges(program.network, steps).items():
        check_word(
            *bound.extent,
            bits=state_bits(program),
            where=f"membranes of layer '{name}'",
            remedy=remedy,
        )


def pairs_signs(program: Program) -> bool:
    """Whether a signed spike takes two channels, because the chip's spikes have no sign."""
    return program.profile is not None and program.profile.axons(program.network.mode) > 1


BYTES_PER_NEURON = 64
"""Membrane, count, record, messages and what a step needs beside them, for one sample."""
SHARED_MEMORY_SHARE = 0.8
"""Of what is free, for the channels of one batch."""


def channel_bytes(program: Program) -> int:
    """Shared memory that Lava's channels take for one sample."""
    sizes = {layer.name: layer.neurons for layer in program.layers}
    numbers = sum(sizes[name] for layer in program.layers for name in sources(layer))
    numbers = numbers * (1 + pairs_signs(program)) + 3 * program.layers[0].neurons  # int32 there
    return numbers * CHANNEL_SLOTS


def free_shared_memory_bytes() -> int:
    """What `SHARED_MEMORY` has left; where there is none of that name, it is no limit."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 1 << 62
    return found.f_bavail * found.f_frsize


def most_samples(program: Program, memory_bytes: int) -> int:
    """How many samples fit side by side; at least 1."""
    neurons = sum(layer.neurons for layer in program.layers)
    shared = SHARED_MEMORY_SHARE * free_shared_memory_bytes() / channel_bytes(program)
    return max(1, int(min(shared, memory_bytes / 2 / (neurons * BYTES_PER_NEURON))))
