"""The input grid from calibration data, for models that do not state their own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from snndeploy.network import Network
from snndeploy.nodes import Grid, Input
from snndeploy.passes.base import Pass


@dataclass(frozen=True)
class SetInputGrid(Pass):
    """Put the inputs on integers `low .. high`, each worth `scale` in the model's units."""

    scale: float
    low: int
    high: int
    name: ClassVar[str] = "set-input-grid"

    @staticmethod
    def covering(smallest: float, largest: float, bits: int = 8) -> SetInputGrid:
        """The finest grid of `bits` bits that covers [smallest, largest].

        Unsigned if no value is negative, else symmetric. A span of zero gets a scale of 1.
        """
        top = (1 << bits) - 1 if smallest >= 0 else (1 << (bits - 1)) - 1
        reach = max(abs(smallest), abs(largest))
        return SetInputGrid(reach / top if reach > 0 else 1.0, 0 if smallest >= 0 else -top, top)

    def rewrite(self, network: Network) -> Network:
        """The same network with a grid on its input."""
        grid = Grid(self.scale, self.low, self.high)
        nodes = [replace(n, grid=grid) if isinstance(n, Input) else n for n in network.nodes]
        return network.rewrite(nodes)
