"""How the cost grows: images per second against steps, batch and width.

    python benchmarks/growth.py [--repeats 3] [--fresh] [--smoke]

VGG-11 in rate mode. Each sweep changes one thing and holds the others at T = 8, batch 16, width
64. Writes `growth.json` and the plot `growth.svg`.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from functools import partial

import matplotlib as mpl
import networks
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from results import HERE, Row, Rows
from timing import medians

import snndeploy

SWEEPS: dict[str, tuple[int, ...]] = {
    "steps": (8, 16, 32, 64, 128, 256, 512),
    "batch": (1, 4, 16, 64, 256, 1024),
    "width": (64, 128, 192, 256),
}


@dataclass(frozen=True)
class Point:
    """What is run."""

    steps: int = 8
    batch: int = 16
    width: int = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="small networks, writes nothing")
    chosen = parser.parse_args()
    base, sweeps, repeats = Point(), SWEEPS, chosen.repeats
    if chosen.smoke:
        base, repeats = Point(width=4, batch=2), 1
        sweeps = {"steps": (8, 16), "batch": (1, 2), "width": (4, 8)}
    rows = Rows("growth", chosen.fresh, keep=not chosen.smoke)
    for sweep, values in sweeps.items():
        for value in values:
            key = f"{sweep} {value}"
            if rows.get(key) is None:
                point = Point(**{**asdict(base), sweep: value})
                rows.add(key, {"sweep": sweep, **_measure(point, repeats)})
    rows.finish(base=asdict(base), threads=torch.get_num_threads())
    if rows.keep:
        _plot(list(rows.rows.values()))


def _measure(point: Point, repeats: int) -> Row:
    network = networks.vgg11(point.width)
    program, inputs = snndeploy.lower(network), networks.images(network, point.batch)
    run = partial(
        snndeploy.run, program, inputs, steps=point.steps, batch=point.batch, record=False
    )
    rate = point.batch / medians({"run": run}, repeats)["run"]
    print(
        f"{network.name} T = {point.steps:3}, batch {point.batch:4}, width {point.width:3}: "
        f"{rate:8.1f} images/s",
        flush=True,
    )
    return {**asdict(point), "images_per_s": rate}


def _plot(rows: list[Row]) -> None:
    """One panel a sweep; the dashed line is cost in proportion to the work."""
    work = {"steps": -1, "batch": 0, "width": -2}
    titles = {"steps": "steps T", "batch": "batch", "width": "width"}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9}):
        figure = Figure(figsize=(9, 2.8), layout="constrained")
        for axes, (sweep, power) in zip(figure.subplots(1, 3), work.items(), strict=True):
            points = [row for row in rows if row["sweep"] == sweep]
            x = [row[sweep] for row in points]
            y = [row["images_per_s"] for row in points]
            axes.loglog(x, y, "o-", color="tab:blue", label="measured")
            line = [y[0] * (value / x[0]) ** power for value in x]
            axes.loglog(x, line, "--", color="tab:gray", label=f"{titles[sweep]}$^{{{power}}}$")
            axes.set_xticks(x, [str(value) for value in x])
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            axes.set(xlabel=titles[sweep], ylim=(min(*y, *line) / 2, max(*y, *line) * 2))
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        figure.axes[0].set_ylabel("images/s")
        figure.savefig(HERE / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
