"""What is said of a divergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from snndeploy.layers import Kind
from snndeploy.trace import Divergence
from snndeploy.verify.diagnosis.causes import Cause

_LABELS: dict[Kind, tuple[str, str, str]] = {
    "neurons": ("membrane before the step", "input current", "spike"),
    "max_pool": ("largest count before the step", "spikes into the window, summed", "spike"),
    "readout": ("membrane before the step", "input current", "membrane after the step"),
}


@dataclass(frozen=True)
class NeuronState:
    """One neuron at one step on one backend.

    Attributes:
        backend: which.
        membrane: before the step. Of a max-pool: the largest count of its window.
        current: what the step adds, bias included. Of a max-pool: its sources' spikes, summed.
        emitted: -1, 0 or +1; of a readout, its membrane after the step.
        probed: whether the backend showed membrane and current itself; else they are derived
            from its own spikes by `v[t] + theta * n[t] = v0 + sum of inputs`.
        conforms: whether it has emitted what the definition says, up to this step.
    """

    backend: str
    membrane: int
    current: int
    emitted: int
    probed: bool
    conforms: bool

    @property
    def raised(self) -> int:
        """The membrane with the step's current, before any reset."""
        return self.membrane + self.current


@dataclass(frozen=True)
class Diagnosis:
    """A divergence explained.

    Attributes:
        kind: of the layer.
        ours, theirs: the neuron on the first backend and on the other.
        threshold: of the neuron by the definition; None of a max-pool or a readout.
        cause: see `causes.CAUSES`.
        explanation: in sentences.
        also: other causes that would give the same.
    """

    divergence: Divergence
    kind: Kind
    ours: NeuronState
    theirs: NeuronState
    threshold: int | None
    cause: Cause
    explanation: str
    also: tuple[Cause, ...] = ()

    def rows(self) -> list[tuple[str, str, str]]:
        """What there is to compare, in words: its name, ours, theirs."""
        before, current, after = _LABELS[self.kind]
        signed = self.kind != "readout"

        def row(label: str, show: Callable[[NeuronState], str]) -> tuple[str, str, str]:
            return label, show(self.ours), show(self.theirs)

        rows = [
            row(before, lambda side: f"{side.membrane:,}"),
            row(current, lambda side: _signed(side.current)),
            row(after, lambda s: _signed(s.emitted) if signed else f"{s.emitted:,}"),
            row("as the definition says", lambda side: "yes" if side.conforms else "no"),
        ]
        if self.kind == "neurons":
            label = f"membrane with it (threshold {self.threshold:,})"
            rows.insert(2, row(label, lambda side: f"{side.raised:,}"))
            origin = row("membrane, current", lambda s: "measured" if s.probed else "derived")
            rows.append(origin)
        return rows

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the divergence."""
        found = asdict(self)
        del found["divergence"]
        for name in ("ours", "theirs"):
            found[name]["membrane_before_reset"] = getattr(self, name).raised
        return found


def _signed(value: int) -> str:
    return f"{value:+,}" if value else "0"
