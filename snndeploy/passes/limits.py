"""What a chip's words and delays must hold, whatever the placement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from snndeploy.hardware import HardwareProfile
from snndeploy.headroom import Word, headroom
from snndeploy.layers import Layer, layers
from snndeploy.network import Network


@dataclass(frozen=True)
class Misfit:
    """One reason why a network does not fit a chip."""

    layer: str
    found: str
    limit: str
    remedy: str

    def __str__(self) -> str:
        return f"layer '{self.layer}': {self.found}, limit {self.limit}; {self.remedy}"


def word_misfits(network: Network, profile: HardwareProfile) -> Iterator[Misfit]:
    """What a word of the chip cannot hold, and delays that it cannot wait."""
    lacks = headroom(network, profile).lacks
    for layer in layers(network):
        for word in lacks:
            if word.layer == layer.name:
                yield Misfit(layer.name, str(word), f"{word.bits} bits", _remedy(word))
        yield from _delays(layer, profile.limits.delay_steps)


def _remedy(word: Word) -> str:
    if word.kind == "payload":
        return "use a coarser input grid"
    rescale = "`snndeploy rescale` makes smaller integers"
    if word.kind == "weight":
        return f"quantize with weight-bits={word.bits}, or: {rescale}"
    return rescale


def _delays(layer: Layer, limit: int | None) -> Iterator[Misfit]:
    for projection in layer.projections:
        if limit is not None and projection.delay > limit:
            yield Misfit(
                layer.name,
                f"the branch from '{projection.source}' waits {projection.delay} steps",
                f"{limit} steps",
                "shorten the branch beside it",
            )
