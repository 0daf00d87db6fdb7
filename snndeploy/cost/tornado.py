"""The tornado: how far each constant, and the choice of samples, moves an estimate's energy."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

from snndeploy.cost.estimate import Estimate, total
from snndeploy.cost.quantity import summed

SAMPLES = "samples"


@dataclass(frozen=True)
class Swing:
    """The energy an inference, pJ, with one thing at its low and at its high end.

    Attributes:
        name: `energy.EVENT`, `power.NAME`, `time.EVENT`, or `samples`.
        low_pj, high_pj: everything else at its nominal value.
    """

    name: str
    low_pj: float
    high_pj: float

    @property
    def width_pj(self) -> float:
        """From one end to the other."""
        return abs(self.high_pj - self.low_pj)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"name": self.name, "low_pj": self.low_pj, "high_pj": self.high_pj}


def tornado(estimate: Estimate) -> tuple[Swing, ...]:
    """Swings of the total, or of what is priced where there is none; the widest first.

    Those that move nothing are left out. Prices of one event with one source move together.
    """
    static = estimate.static_pj.nominal if estimate.static_pj is not None else 0.0
    nominal = total(estimate.terms).nominal + static
    ends: dict[str, list[float]] = {}
    for term in chain.from_iterable(whole.parts or (whole,) for whole in estimate.terms):
        if term.ends_pj is not None and term.energy_pj is not None:
            pair = ends.setdefault(f"energy.{term.event}", [nominal, nominal])
            pair[0] += term.ends_pj[0] - term.energy_pj.nominal
            pair[1] += term.ends_pj[1] - term.energy_pj.nominal
    for name, (low, high) in estimate.static_ends_pj.items():
        ends[name] = [nominal + low - static, nominal + high - static]
    counted = [term.counted_pj for term in estimate.terms if term.counted_pj is not None]
    if counted:
        drawn = summed(counted)
        rest = nominal - drawn.nominal
        ends[SAMPLES] = [rest + drawn.low, rest + drawn.high]
    swings = [Swing(name, low, high) for name, (low, high) in ends.items()]
    moving = [swing for swing in swings if swing.width_pj > 1e-12 * max(nominal, 1e-300)]
    return tuple(sorted(moving, key=lambda swing: -swing.width_pj))
