"""Rescale: smaller integers, so that every layer fits the words of a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snndeploy.errors import DoesNotFitError
from snndeploy.hardware import HardwareProfile
from snndeploy.headroom import Cure
from snndeploy.layers import layers
from snndeploy.network import Network, require_integer
from snndeploy.passes.base import Pass
from snndeploy.passes.rescale_plan import Plan
from snndeploy.words import Words


@dataclass(frozen=True)
class Rescale(Pass):
    """Make an integer network fit words of so many bits; 0: no limit.

    Attributes:
        state_bits, weight_bits, bias_bits: signed words; the bias is that of one step.
        threshold_bits: an unsigned word.
        weight_exponent: the largest exponent of two that the weights of a projection may share.
        bias_exponent: the largest exponent of two that a bias may have as a factor.
        steps: in rate mode, the number of steps to cover; 0: the window.
    """

    state_bits: int
    weight_bits: int = 0
    threshold_bits: int = 0
    bias_bits: int = 0
    weight_exponent: int = 0
    bias_exponent: int = 0
    steps: int = 0
    name: ClassVar[str] = "rescale"

    @classmethod
    def to(cls, profile: HardwareProfile | None, steps: int | None = None) -> Rescale:
        """For a chip's words; for 32 bits of state if None."""
        words = Words.of(profile)
        return cls(
            state_bits=words.state,
            weight_bits=words.weight or 0,
            threshold_bits=words.threshold or 0,
            bias_bits=words.bias or 0,
            weight_exponent=words.weight_exponent,
            bias_exponent=words.bias_exponent,
            steps=steps or 0,
        )

    def rewrite(self, network: Network) -> Network:
        """The network with smaller integers in the channels that lack bits.

        Raises:
            UnsupportedModelError: the network is not integer.
            DoesNotFitError: no factor makes a layer fit; lists every such layer and why.
        """
        plan = self._plan(network)
        refused = [f"\n  layer '{name}': {why}" for name, why in plan.refusals.items()]
        if refused:
            raise DoesNotFitError(
                f"no rescale makes it fit, {len(refused)} reason(s):{''.join(refused)}",
                where=f"network '{network.name}'",
            )
        return plan.applied(network)

    def cures(self, network: Network) -> tuple[Cure, ...]:
        """What the pass does to each layer that lacks bits, or why it cannot."""
        plan = self._plan(network)
        return tuple(cure for layer in layers(network) if (cure := plan.cure(network, layer)))

    def _plan(self, network: Network) -> Plan:
        require_integer(network)
        words = Words(
            weight=self.weight_bits or None,
            state=self.state_bits,
            threshold=self.threshold_bits or None,
            bias=self.bias_bits or None,
            weight_exponent=self.weight_exponent,
            bias_exponent=self.bias_exponent,
        )
        return Plan.of(network, words, self.steps or None)
