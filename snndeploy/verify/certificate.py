"""The certificate: the settled spiking network *is* the integer quantized ANN.

For every input, by argument:

1. A neuron's invariant is `v[T] + theta n[T] = v0 + sum of inputs`. Once no neuron fires any
   more, each has `0 <= v < theta`, or sits at a bound of its count; so its count is
   `clip(floor((sum + v0) / theta), 0, L)`, the quantized activation, whatever the order in which
   the spikes came.
2. When the window is over and the layers before have settled, a neuron moves towards that count
   by one spike a step, and has at most L to go: `T = window + L depth` steps always suffice, L
   being the most levels of any layer.
3. Net counts lie in [0, L] at every step, so interval analysis over them bounds every membrane,
   transients included: no accumulator leaves its word.

For the data at hand, by running it: the counts of every neuron, and the logits, are compared.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from snndeploy.backend import Backend
from snndeploy.errors import CertificateRefusedError, DoesNotFitError
from snndeploy.hardware import HardwareProfile
from snndeploy.integer_ann import integer_ann
from snndeploy.measure import settle_steps
from snndeploy.numerics import Int64Array, check_word
from snndeploy.program import Program
from snndeploy.ranges import ranges
from snndeploy.samples import array_hash
from snndeploy.simulate import Progress, simulate
from snndeploy.trace import Trace
from snndeploy.words import DEFAULT_STATE_BITS

CHUNK = 32


@dataclass(frozen=True)
class Certificate:
    """What was proved and what was checked, bound to hashes of all that it speaks of.

    Attributes:
        state_bits: the word that no accumulator leaves.
        spare_bits: bits of that word which the worst accumulator leaves unused.
        settle_bound: steps after which every input has settled.
        neurons: spiking neurons and pooled counts compared for each sample.
        settle_mean, settle_max: steps that the samples needed.
    """

    network_hash: str
    data_hash: str
    profile: str | None
    profile_hash: str | None
    state_bits: int
    spare_bits: int
    settle_bound: int
    samples: int
    neurons: int
    settle_mean: float
    settle_max: int

    def sentences(self) -> tuple[str, ...]:
        """The certificate in words."""
        return (
            f"For every input the spiking network settles, after at most {self.settle_bound} "
            "steps, to the integers of the quantized ANN.",
            f"No accumulator can leave a signed {self.state_bits}-bit word; "
            f"{self.spare_bits} bits are to spare.",
            f"Checked on {self.samples} samples: all {self.neurons:,} neurons of every sample "
            "and all logits are equal.",
            f"Settled after {self.settle_mean:.2f} steps on average, {self.settle_max} at most.",
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def certify(
    program: Program,
    inputs: Int64Array,
    backend: Backend,
    progress: Progress | None = None,
    trace: Trace | None = None,
) -> Certificate:
    """Check the premises, run the data, compare every neuron.

    Args:
        program: what to certify; its profile's state word is used, else 32 bits.
        inputs: grid integers (N, *input shape).
        backend: who simulates.
        progress: told (samples done, samples in all).
        trace: a run of these inputs until settled, with spikes, if there is one already.

    Raises:
        CertificateRefusedError: a premise fails, or a neuron differs; says which, and the cure.
    """
    state_bits = _state_bits(program.profile)
    spare_bits = _check_premises(program, state_bits)
    settle: list[Int64Array] = []
    for start in range(0, len(inputs), CHUNK):
        rows = inputs[start : start + CHUNK]
        if trace is None:
            part = simulate(backend, program, rows, batch=CHUNK)
        else:
            part = trace[start : start + CHUNK]
        settle.append(_check_chunk(program, rows, start, part))
        if progress is not None:
            progress(start + len(rows), len(inputs))
    steps = np.concatenate(settle)
    profile = program.profile
    return Certificate(
        network_hash=program.network.hash,
        data_hash=array_hash(inputs),
        profile=None if profile is None else profile.name,
        profile_hash=None if profile is None else profile_hash(profile),
        state_bits=state_bits,
        spare_bits=spare_bits,
        settle_bound=program.settle_bound,
        samples=len(inputs),
        neurons=sum(layer.neurons for layer in program.spiking),
        settle_mean=float(steps.mean()),
        settle_max=int(steps.max()),
    )


def profile_hash(profile: HardwareProfile) -> str:
    """SHA-256 over a profile's content."""
    return hashlib.sha256(profile.model_dump_json().encode()).hexdigest()


def _state_bits(profile: HardwareProfile | None) -> int:
    limit = None if profile is None else profile.limits.state_bits
    return DEFAULT_STATE_BITS if limit is None else limit


def _check_premises(program: Program, state_bits: int) -> int:
    """The bits to spare; raises where a premise of the argument fails."""
    network = program.network
    if network.mode != "exact":
        raise CertificateRefusedError(
            "is in rate mode: without signed spikes, cap and drain it need not settle to the "
            "quantized ANN",
            where=f"network '{network.name}'",
            remedy="convert with mode exact",
        )
    worst = 0
    try:
        for name, bound in ranges(network).items():
            check_word(*bound.extent, state_bits, f"layer '{name}'")
            worst = max(worst, bound.magnitude)
    except DoesNotFitError as error:
        raise CertificateRefusedError(
            f"an accumulator can overflow: {error.problem}",
            where=error.where,
            remedy="`snndeploy rescale` makes smaller integers; or choose a target with a wider "
            "state",
        ) from error
    return state_bits - 1 - worst.bit_length()


def _check_chunk(program: Program, rows: Int64Array, start: int, trace: Trace) -> Int64Array:
    """Compare every neuron of some samples; return their settle steps."""
    expected = integer_ann(program.network, rows)
    if not trace.settled.all():
        sample = start + int(np.argmin(trace.settled))
        raise CertificateRefusedError(
            f"has not settled after {trace.steps} steps, the bound is {program.settle_bound}",
            where=f"sample {sample}",
            remedy="this contradicts the argument: please report it",
        )
    found_counts = trace.counts
    missing = sorted(set(expected.counts) - set(found_counts))
    if missing:
        raise CertificateRefusedError(
            f"the run recorded no spikes of {', '.join(missing)}",
            where=f"backend '{trace.backend}'",
            remedy="run with record=True on a backend that reports every layer",
        )
    pairs = {name: (found_counts[name], wanted) for name, wanted in expected.counts.items()}
    pairs["readout"] = (trace.logits[:, -1], expected.logits)
    for name, (found, wanted) in pairs.items():
        if not np.array_equal(found, wanted):
            sample, *neuron = (int(i) for i in np.argwhere(found != wanted)[0])
            at = (sample, *neuron)
            raise CertificateRefusedError(
                f"neuron {tuple(neuron)} of sample {start + sample} settled at {found[at]}, the "
                f"integer quantized ANN has {wanted[at]}",
                where=f"layer '{name}'",
                remedy="this contradicts the argument: please report it",
            )
    return settle_steps(trace, program.network.window)
