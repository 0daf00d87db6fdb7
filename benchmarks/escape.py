"""ESCAPE-NET's energy three ways: as published, with other constants, and as the model counts.

python benchmarks/escape.py          # writes escape.json and the table in docs/escape.md
python benchmarks/escape.py --smoke  # the same, writes nothing
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from itertools import pairwise

import made
import numpy as np
import results

from snndeploy import units
from snndeploy.cost import Estimate, compare, estimate, estimate_ann
from snndeploy.hardware import hardware
from snndeploy.layers import layers
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, Node, Output, SumPool2d
from snndeploy.passes.partition import try_place
from snndeploy.program import Program

PAGE = results.HERE.parent / "docs" / "escape.md"

STEPS = 28
SPIKES = {"conv1": 112650, "conv2": 61392, "conv3": 12132}
"""Published, an inference: the convolutions' output spikes."""

PUBLISHED = (3.1, 0.1)
HOROWITZ = (4.6, 0.9)
"""pJ of a MAC and of an AC: the published pair (int32), and that of fp32."""

INPUT_MEANS = (0.0, 0.1, 0.5)
"""Mean |x| of the image, which is not published: a pixel spikes in 0.9 |x| of the steps."""

CHIPS = ("digital_snn_45nm", "loihi1")


@dataclass(frozen=True)
class Row:
    """One way to count.

    Attributes:
        ratio: the ANN's energy over the spiking network's.
        low, high: its interval; equal to `ratio` where the counting knows none.
    """

    way: str
    snn_uj: float
    ann_uj: float
    ratio: float
    low: float
    high: float
    verdict: str


def network(per_step: bool) -> Network:
    """conv8(64) - pool - conv4(64) - pool - conv2(64) - fc 256 - fc 3, on 1x56x100."""
    ones = np.ones
    nodes: list[Node] = [Input("x", (1, 56, 100), Grid(1.0, 0, 255), per_step=per_step)]
    fan_in = 1
    for i, (size, pads) in enumerate(((8, (3, 3, 4, 4)), (4, (1, 1, 2, 2)), (2, (0, 0, 1, 1))), 1):
        nodes += [
            Conv2d(f"w{i}", ones((64, fan_in, size, size), np.int64), padding=pads),
            made.neurons(f"conv{i}", 64, STEPS),
        ]
        fan_in = 64
        if i < 3:
            nodes.append(SumPool2d(f"pool{i}", (2, 2), (2, 2)))
    nodes += [
        Flatten("flat"),
        Linear("w4", ones((256, 22400), np.int64)),
        made.neurons("fc", 256, STEPS),
        Linear("w5", ones((3, 256), np.int64)),
        Output("out", np.zeros(3, np.int64), 1.0),
    ]
    edges = tuple(pairwise(node.name for node in nodes))
    return Network("escape", tuple(nodes), edges, "rate", STEPS)


def as_published(shape: Network, constants: tuple[float, float], way: str) -> Row:
    """Convolutions only; a layer's ACs are its MACs times its own spikes a neuron."""
    mac_pj, ac_pj = constants
    ann = snn = 0.0
    for layer in layers(shape):
        if layer.name in SPIKES:
            (projection,) = layer.projections
            weights = projection.weighted
            assert isinstance(weights, Conv2d)
            macs = layer.neurons * weights.weight[0].size  # borders counted in full
            ann += macs * mac_pj
            snn += macs * SPIKES[layer.name] / layer.neurons * ac_pj
    ratio = ann / snn
    return Row(way, snn / 1e6, ann / 1e6, ratio, ratio, ratio, "no interval, no memory")


def honest(chip: str, mean: float | None) -> tuple[Row, Estimate]:
    """Presynaptic spikes times true fan-out, updates and memory; against the int8 ANN.

    `mean`: of |x|, whose Poisson spikes drive the first layer; None: its MACs once, as ours.
    """
    shape = network(per_step=mean is not None)
    spikes = SPIKES | {"fc": round(256 * STEPS * SPIKES["conv3"] / 22400 / STEPS)}
    if mean is not None:
        spikes["x"] = round(0.9 * mean * 5600 * STEPS)
    profile = made.native(hardware(chip))
    program, misfits = try_place(shape, profile)
    if misfits:
        program = Program(shape, profile)
    ours = estimate(program, made.trace(shape, STEPS, spikes))
    theirs = estimate_ann(shape, hardware("digital_int8_45nm"))
    found = compare(ours, theirs)
    assert found.ratio is not None and ours.dynamic_pj is not None
    ratio = found.ratio
    source = "first layer's MACs once" if mean is None else f"Poisson input, mean of x {mean:g}"
    way = f"model, {profile.title}, {source}"
    assert theirs.dynamic_pj is not None
    pair = ours.dynamic_pj.nominal / 1e6, theirs.dynamic_pj.nominal / 1e6
    row = Row(way, *pair, ratio.nominal, ratio.low, ratio.high, found.verdict)
    return row, ours


def synops() -> list[list[str]]:
    """Of each layer: as published, and by presynaptic spikes and true fan-out."""
    shape, rows = network(per_step=True), []
    _, ours = honest("digital_snn_45nm", 0.0)
    counted = {t.layer: t.count for t in ours.terms if t.event == "synop"}
    ann = estimate_ann(shape, hardware("digital_int8_45nm"))
    multiplied = {t.layer: t.count for t in ann.terms if t.event == "mac"}
    for layer in layers(shape)[1:]:
        (projection,) = layer.projections
        published = ""
        if layer.name in SPIKES:
            weights = projection.weighted
            assert isinstance(weights, Conv2d)
            full = layer.neurons * weights.weight[0].size
            published = f"{full * SPIKES[layer.name] / layer.neurons / 1e6:.2f}"
        ours_m = f"{counted.get(layer.name, 0.0) / 1e6:.2f}"
        if layer.name == "conv1":
            each = 0.9 * STEPS * multiplied[layer.name] / 1e6
            ours_m = f"{each:.0f} times the mean of x"
        rows.append([layer.name, f"{multiplied[layer.name] / 1e6:.2f}", published, ours_m])
    return rows


def ways() -> list[Row]:
    """Every way to count."""
    shape = network(per_step=False)
    found = [
        as_published(shape, PUBLISHED, "as published: MAC 3.1, AC 0.1 pJ"),
        as_published(shape, HOROWITZ, "the same counts: MAC 4.6, AC 0.9 pJ"),
    ]
    for chip in CHIPS:
        found.append(honest(chip, None)[0])
        found += [honest(chip, mean)[0] for mean in INPUT_MEANS]
    return found


def main() -> None:
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="write nothing")
    smoke = parser.parse_args().smoke
    found = ways()
    lines = [
        [
            row.way, units.engineering(row.snn_uj * 1e-6, "J"),
            units.engineering(row.ann_uj * 1e-6, "J"), f"{row.ratio:.2g}",
            "" if row.low == row.high else f"{row.low:.2g} to {row.high:.2g}", row.verdict,
        ]
        for row in found
    ]  # fmt: skip
    head = ["way", "SNN", "ANN", "ANN over SNN", "interval", "verdict"]
    text = results.table(head, lines)
    counts = results.table(
        ["layer", "MACs of the ANN, M", "ACs as published, M", "synaptic operations, M"], synops()
    )
    print(text, counts, sep="\n\n")
    if not smoke:
        rows = results.Rows("escape", fresh=True)
        for row in found:
            rows.add(row.way, asdict(row))
        rows.finish()
        results.put("energy", text, PAGE)
        results.put("counts", counts, PAGE)


if __name__ == "__main__":
    main()
