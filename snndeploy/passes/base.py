"""What a pass is: a frozen dataclass whose fields are its options, with one spelling.

`Quantize(weight_bits=8)` is spelled `quantize{weight-bits=8}` in Python, on the command line, in
a network's history and in the report. A field with `repr=False` is no option: it is left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from snndeploy.network import Network


@dataclass(frozen=True)
class Pass(ABC):
    """A rewrite of a network into a new one."""

    name: ClassVar[str]

    @abstractmethod
    def rewrite(self, network: Network) -> Network:
        """The new network; its history is kept by the caller."""

    def __call__(self, network: Network) -> Network:
        """Apply, and note the spelling in the history."""
        rewritten = self.rewrite(network)
        return replace(rewritten, history=(*network.history, self.spelling))

    @property
    def spelling(self) -> str:
        """`name{option=value option=value}`."""
        options = " ".join(
            f"{f.name.replace('_', '-')}={getattr(self, f.name)}" for f in fields(self) if f.repr
        )
        return f"{self.name}{{{options}}}" if options else self.name
