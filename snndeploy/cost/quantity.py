"""`Quantity`: a figure that is not known exactly, as Monte Carlo draws beside its nominal value.

A profile's constant is log-normal on either side of its nominal value: half of the draws lie
below, 5 % of them under `low` and 5 % over `high`,

    x = value * (high / value)**(z / 1.645)  for z >= 0,  value * (value / low)**(z / 1.645) else

with z standard normal. A bound of 0, which no logarithm has, makes its side uniform. The draws of
one constant are the same wherever it occurs: in all layers, in all estimates, and on both sides of
a ratio. Sums and products are taken draw by draw, so shared errors add up, or cancel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from snndeploy.hardware import Constant
from snndeploy.numerics import FloatArray

DRAWS = 2000
LEVEL = 0.90
"""The share of the draws that lies inside an interval: from 5 % to 95 %."""

SEED = 20140211
_TAIL = (1.0 - LEVEL) / 2.0
_Z = NormalDist().inv_cdf(1.0 - _TAIL)


@dataclass(frozen=True, eq=False)
class Quantity:
    """A figure with its draws (`DRAWS`,). Equal if all of them are."""

    nominal: float
    draws: FloatArray

    @classmethod
    def fixed(cls, value: float) -> Quantity:
        """A figure that is known."""
        return cls(value, np.full(DRAWS, value))

    @classmethod
    def of(cls, constant: Constant) -> Quantity:
        """A profile's constant."""
        return cls(constant.value, draws_of(constant))

    @classmethod
    def spread(cls, low: float, nominal: float, high: float, name: str = "") -> Quantity:
        """A log-normal figure from its interval; `name` tells it from others of the same."""
        return cls(nominal, _draws(name, low, nominal, high))

    @property
    def low(self) -> float:
        """The 5 % point."""
        return float(np.quantile(self.draws, _TAIL))

    @property
    def high(self) -> float:
        """The 95 % point."""
        return float(np.quantile(self.draws, 1.0 - _TAIL))

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nominal + other.nominal, self.draws + other.draws)

    def times(self, factor: float | Quantity) -> Quantity:
        """The product, with a number or draw by draw."""
        if isinstance(factor, Quantity):
            return Quantity(self.nominal * factor.nominal, self.draws * factor.draws)
        return Quantity(self.nominal * factor, self.draws * factor)

    def over(self, other: Quantity) -> Quantity:
        """The ratio, draw by draw: an error that both sides share cancels."""
        return Quantity(self.nominal / other.nominal, self.draws / other.draws)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantity):
            return NotImplemented
        return self.nominal == other.nominal and bool((self.draws == other.draws).all())

    def __hash__(self) -> int:
        return hash(self.nominal)

    def as_dict(self) -> dict[str, float]:
        """For JSON: the interval and the nominal figure."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high}


ZERO = Quantity.fixed(0.0)


def summed(quantities: Iterable[Quantity]) -> Quantity:
    """The sum, draw by draw; 0 of none."""
    result = ZERO
    for quantity in quantities:
        result += quantity
    return result


def draws_of(constant: Constant) -> FloatArray:
    """The draws (`DRAWS`,) of a constant: the same for constants of the same source and figures."""
    name = f"{constant.unit} {constant.source}"
    return _draws(name, constant.low, constant.value, constant.high)


def generator(name: str) -> np.random.Generator:
    """A random generator of its own for each name."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([SEED, *digest[:16]])


@lru_cache(maxsize=1024)
def _draws(name: str, low: float, nominal: float, high: float) -> FloatArray:
    """One draw from each of `DRAWS` equal slices of the distribution, in random order."""
    slices = (np.arange(DRAWS) + 0.5) / DRAWS
    below = _side(1.0 - 2.0 * slices[: DRAWS // 2], nominal, low)
    above = _side(2.0 * slices[DRAWS // 2 :] - 1.0, nominal, high)
    draws: FloatArray = np.concatenate([below, above])
    generator(f"{name} {low} {nominal} {high}").shuffle(draws)
    draws.flags.writeable = False
    return draws


def _side(depth: FloatArray, nominal: float, bound: float) -> FloatArray:
    """One side: `depth` runs from 0 at the nominal value to 1 at its end, `LEVEL` at `bound`."""
    if nominal == bound:
        return np.full(len(depth), nominal)
    if min(nominal, bound) == 0.0:
        # Uniform. Below a nominal value it ends at 0; above 0 it passes `bound` at LEVEL.
        return nominal * (1.0 - depth) if bound == 0.0 else bound * depth / LEVEL
    side: FloatArray = nominal * (bound / nominal) ** _exponents(len(depth))
    return side if depth[0] < depth[-1] else side[::-1]


@lru_cache(maxsize=1)
def _exponents(count: int) -> FloatArray:
    """`z / 1.645` at the middles of `count` slices of the upper half of a normal distribution."""
    normal = NormalDist()
    depth = (np.arange(count) + 0.5) / count
    return np.array([normal.inv_cdf(0.5 + d / 2.0) for d in depth]) / _Z
