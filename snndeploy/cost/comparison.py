"""`compare`: one estimate against another, with a verdict that the intervals bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from snndeploy.cost.estimate import Estimate, weakest
from snndeploy.cost.quantity import Quantity
from snndeploy.hardware import Grade

INCONCLUSIVE = "inconclusive: the interval spans 1"


@dataclass(frozen=True)
class Comparison:
    """The energy of a baseline over that of the network.

    Attributes:
        ours, theirs: titles.
        ratio: None if a term of either side has no price. Constants that both sides share are
            drawn once, so they cancel.
        basis: `total`, or `dynamic` where a side's static energy is unknown or left out.
        grade: the weaker of both sides'.
        boundaries: of both sides.
    """

    ours: str
    theirs: str
    ratio: Quantity | None
    basis: Literal["total", "dynamic"] = "dynamic"
    grade: Grade | None = None
    boundaries: tuple[str, str] = ("", "")

    @property
    def conclusive(self) -> bool:
        """Whether the ratio's interval leaves out 1."""
        return self.ratio is not None and not self.ratio.low <= 1.0 <= self.ratio.high

    @property
    def verdict(self) -> str:
        """Who uses less, or that it cannot be told."""
        if self.ratio is None:
            return "cannot be compared: a term has no price"
        if not self.conclusive:
            return INCONCLUSIVE
        verdict = f"the network uses {'less' if self.ratio.low > 1.0 else 'more'}"
        ours, theirs = self.boundaries
        if ours != theirs:
            verdict += f", but boundaries differ ({ours} against {theirs})"
        return verdict

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "network": self.ours,
            "baseline": self.theirs,
            "ratio": None if self.ratio is None else self.ratio.as_dict(),
            "basis": self.basis,
            "grade": self.grade,
            "conclusive": self.conclusive,
            "verdict": self.verdict,
        }


def compare(ours: Estimate, theirs: Estimate) -> Comparison:
    """The energy of `theirs` over that of `ours`, on the widest basis that both sides know."""
    names = ours.title, theirs.title
    basis: Literal["total", "dynamic"] = "total"
    a, b = ours.energy_pj, theirs.energy_pj
    if a is None or b is None or static_left_out(ours) or static_left_out(theirs):
        basis, a, b = "dynamic", ours.dynamic_pj, theirs.dynamic_pj
    if a is None or b is None or min(a.draws.min(), b.draws.min()) <= 0:
        return Comparison(*names, None)
    grade = weakest((ours.grade, theirs.grade))
    return Comparison(*names, b.over(a), basis, grade, (ours.boundary, theirs.boundary))


def static_left_out(estimate: Estimate) -> bool:
    """Whether an estimate holds no static energy of its own."""
    return estimate.static_pj is None or estimate.static_pj.nominal == 0


def static_inside(estimate: Estimate) -> bool:
    """Whether static energy is inside the all-in price of a spiking chip's operations."""
    return estimate.kind == "snn" and estimate.static_pj is not None and static_left_out(estimate)
