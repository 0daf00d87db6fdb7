"""The energy model against nine published measurements of chips.

    python benchmarks/energy_validation.py          # writes energy_validation.json and the table
    python benchmarks/energy_validation.py --smoke  # the same, writes nothing

What is known of each measurement lies in `energy_points.json`; the model's figures come from
the shipped profiles and the cost model. Where it misses, the table says so.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Any

import made
import numpy as np
import results

from snndeploy.cost import Estimate, estimate, estimate_counts
from snndeploy.hardware import Constant, HardwareProfile, hardware
from snndeploy.network import Network
from snndeploy.passes.partition import place

Point = dict[str, Any]

PAGE = results.HERE.parent / "docs" / "energy-validation.md"


@dataclass(frozen=True)
class Check:
    """One figure of one measurement.

    Attributes:
        measured, model: in `unit`; None where there is nothing to compare with.
        low, high: the model's interval, 5 % to 95 %.
        tolerance: in words.
        holds: whether the model is within it; None where the point has none.
        why: what the reader must know, above all of a miss.
    """

    point: str
    what: str
    unit: str
    measured: float | None
    model: float
    low: float
    high: float
    tolerance: str
    holds: bool | None
    why: str = ""


def keyword_spotting(p: Point) -> list[Check]:
    """1: totals from powers and rate; the cores alone from the spikes."""
    chip = made.native(hardware("loihi1"))
    us = 1e6 / p["inferences_per_second"]
    found: list[Estimate] = []
    for rate in p["spikes_per_neuron_and_step"]:
        network = made.dense(p["shape"], p["steps"])
        run = estimate_run(network, chip, p["steps"], rate)
        counts = {"network": events(run)}
        found.append(estimate_counts(chip, counts, latency_us=us, cores=run.cores))
    low, high = (e.energy_pj for e in found)
    assert low is not None and high is not None
    total = (low.nominal + high.nominal) / 2e6
    checks = [
        within(p, "total", "µJ", p["total_uj"], total, low.low / 1e6, high.high / 1e6, "totals")
    ]
    boot = p["watts"]["boot"] * us
    checks.append(
        within(
            p,
            "total less the chip at boot",
            "µJ",
            p["dynamic_uj"],
            total - boot,
            low.low / 1e6 - boot,
            high.high / 1e6 - boot,
            "totals",
        )
    )
    a, b = (e.dynamic_pj for e in found)
    assert a is not None and b is not None
    cores = (a.nominal + b.nominal) / 2e6
    why = (
        "the measurement is running less idle power of the whole system, so it holds what the "
        "host and the input and output do for each inference; the model has the cores alone"
    )
    measured = p["above_host_idle_uj"]
    checks.append(
        factor(p, "cores", "µJ", measured, cores, a.low / 1e6, b.high / 1e6, "cores", why)
    )
    return checks


def scaling(p: Point) -> list[Check]:
    """2: energy is linear in the number of branches."""
    chip, energies = made.native(hardware("loihi1")), []
    for n in p["branches"]:
        network = made.branches(n, p["inputs"], p["branch"], 29, p["steps"])
        run = estimate_run(network, chip, p["steps"], p["spikes_per_neuron_and_step"])
        uj = p["uj"]["at_0"] + n * p["uj"]["each"]
        us = 1e3 * uj / (p["mw"]["at_0"] + n * p["mw"]["each"])
        priced = estimate_counts(chip, {"network": events(run)}, latency_us=us, cores=run.cores)
        energies.append(priced.energy_pj)
    nominal = np.array([e.nominal for e in energies if e is not None]) / 1e6
    slope, offset = np.polyfit(p["branches"], nominal, 1)
    rest = nominal - (slope * np.array(p["branches"]) + offset)
    r2 = 1 - float((rest**2).sum() / ((nominal - nominal.mean()) ** 2).sum())
    enough = p["tolerance"]["r2"]
    linear = Check("2", "R² of energy in N", "", 1.0, r2, r2, r2, f"over {enough}", r2 > enough)
    draws = np.stack([e.draws for e in energies if e is not None]) / 1e6
    slopes = np.polyfit(p["branches"], draws, 1)[0]
    ends = (float(q) for q in np.quantile(slopes, [0.05, 0.95]))
    why = "static power over the measured times, and the cores; the host's work for a branch is not"
    each = Check(
        "2", "a branch", "µJ", p["uj"]["each"], float(slope), *ends, "none given", None, why
    )
    return [linear, each]


def mnist(p: Point) -> list[Check]:
    """3: a small network without the host."""
    shape, steps = p["shape"], p["steps"]
    network = made.dense([shape[0], *shape], steps)
    spikes = {
        f"n{i}": round(share * n)
        for i, (n, share) in enumerate(zip(shape, p["spikes_per_neuron"], strict=False), 1)
    }
    # The pixels' neurons fire at once; what drives them is outside the measurement.
    found = estimate(
        place(network, made.native(hardware("loihi1"))),
        made.trace(network, steps, spikes | {"x": 0}),
    )
    energy, time = found.dynamic_pj, found.latency_us
    assert energy is not None and time is not None
    us = 1e3 * p["ms"]
    return [
        factor(
            p, "dynamic", "µJ", p["uj"], energy.nominal / 1e6, energy.low / 1e6, energy.high / 1e6,
            "energy", p["activity"],
        ),
        Check(
            "3", "time", "µs", us, time.nominal, time.low, time.high, "none given", None,
            "without what feeds the chip its input",
        ),
    ]  # fmt: skip


def pilotnet(p: Point) -> list[Check]:
    """4: the point that the profile was calibrated on, so it must come back."""
    found = estimate_counts(
        hardware("loihi2"),
        {"network": {"synop": p["synops"]}},
        latency_us=p["steps"] * p["us_per_step"],
        cores=p["cores"],
    )
    why = "the profile's constants come from this point: no check of the model"
    rows = (("total", "total_mj", found.energy_pj), ("dynamic", "dynamic_mj", found.dynamic_pj))
    return [
        Check(
            "4", what, "mJ", p[key], e.nominal / 1e9, e.low / 1e9, e.high / 1e9, "calibration",
            None, why,
        )
        for what, key, e in rows
        if e is not None
    ]  # fmt: skip


def pilotnet_sdnn(p: Point, calibration: Point) -> list[Check]:
    """5: the verdict: bound by input and output, static energy dominates."""
    chip = hardware("loihi2")
    synop = chip.time.synop
    assert synop is not None
    # More than it can be: all synaptic operations of the spiking network on one core.
    busiest_ms = calibration["synops"] * synop.value / 1e6
    static = estimate_counts(chip, {}, latency_us=1e3 * p["ms"], cores=p["cores"]).static_pj
    assert static is not None
    ends = calibration["synops"] * np.array([synop.low, synop.high]) / 1e6
    return [
        Check(
            "5", "time, were all work on one core", "ms", p["ms"], busiest_ms, *map(float, ends),
            "below it: bound by input and output", busiest_ms < p["ms"],
            "the work of point 4 in one frame, on one core of 74, is less than the measured time",
        ),
        Check(
            "5", "static", "mJ", p["mj"], static.nominal / 1e9, static.low / 1e9,
            static.high / 1e9, "over half: static dominates", static.nominal / 1e9 > p["mj"] / 2,
        ),
    ]  # fmt: skip


def speck(p: Point) -> list[Check]:
    """6: the price of a spike from one data set, the power of the others."""
    chip, seconds = hardware("speck"), p["ms"] / 1e3
    pairs = [(mw, 1e6 * millions) for mw, millions in p["mw_and_million_spikes"]]
    worst: list[float] = []
    for mw, spikes in pairs:
        fitted = spike_price(chip, (mw - p["idle_mw"]) * 1e9 * seconds / spikes)
        ratios = [power_mw(fitted, n, seconds) / measured for measured, n in pairs]
        worst.append(max(max(r, 1 / r) for r in ratios))
    limit = p["tolerance"]["power"]
    checks = [
        Check(
            "6", f"worst error of {len(pairs)} powers, fitted to {what}", "times", 1.0, error,
            error, error, f"{limit} times", error <= limit,
        )
        for what, error in (("the first", worst[0]), ("the worst choice", max(worst)))
    ]  # fmt: skip
    shipped = [power_mw(chip, n, seconds) / measured for measured, n in pairs]
    error = max(max(r, 1 / r) for r in shipped)
    checks.append(
        Check(
            "6", "worst error of the shipped profile", "times", 1.0, error, error, error,
            f"{limit} times", error <= limit,
        )
    )  # fmt: skip
    return checks


def xylo(p: Point) -> list[Check]:
    """7: cycles as the vendor counts them."""
    chip, shape, steps = made.native(hardware("xylo_a2")), p["shape"], p["steps"]
    network = made.dense(shape, steps)
    rate = p["spikes_per_neuron_and_step"]
    spikes = {"x": round(rate * shape[0] * steps)}
    spikes |= {f"n{i}": round(rate * n * steps) for i, n in enumerate(shape[1:-1], 1)}
    found = estimate(place(network, chip), made.trace(network, steps, spikes))
    each = p["cycles"]
    fired = [*spikes.values()]
    vendor = (
        each["input_synop"] * fired[0] * shape[1] + each["readout_synop"] * fired[-1] * shape[-1]
    )
    vendor += sum(
        each["recurrent_synop"] * s * n for s, n in zip(fired[1:-1], shape[2:-1], strict=True)
    )
    vendor += (each["hidden"] * sum(shape[1:-1]) + each["output"] * shape[-1]) * found.steps
    assert found.cycles is not None
    why = (
        f"{p['activity']}: the formula is checked on a network of the tool's own; "
        f"{p['uj']} µJ at {p['uw']} µW are {p['uj'] / p['uw'] * 1e3:.1f} ms; no energy of an "
        "operation is known, so the model has no joules"
    )
    cycles = found.cycles
    return [
        Check(
            "7", "cycles", "cycles", vendor, cycles, cycles, cycles, "exact", cycles == vendor, why
        )
    ]


def truenorth(p: Point) -> list[Check]:
    """8: power at a known rate."""
    synops = p["neurons"] * p["hz"] * p["synapses"]
    found = estimate_counts(hardware("truenorth"), {"network": {"synop": synops}}).energy_pj
    assert found is not None
    ends = found.nominal / 1e9, found.low / 1e9, found.high / 1e9
    return [within(p, "power", "mW", p["mw"], *ends, "power")]


def spinnaker(p: Point) -> list[Check]:
    """9: synaptic operations, and an update of each neuron in each step of 1 ms."""
    counts = {"synop": p["synops"], "update_inactive": sum(p["shape"][1:]) * p["ms"]}
    found = estimate_counts(hardware("spinnaker1"), {"network": counts}).dynamic_pj
    assert found is not None
    ends = found.nominal / 1e9, found.low / 1e9, found.high / 1e9
    return [factor(p, "energy", "mJ", p["mj"], *ends, "energy")]


def estimate_run(network: Network, chip: HardwareProfile, steps: int, rate: float) -> Estimate:
    """A run in which every neuron and input fires at one rate a step."""
    program = place(network, chip)
    names = [x for x in program.layers if x.kind in ("neurons", "input")]
    spikes = {x.name: round(rate * steps * x.neurons) for x in names}
    return estimate(program, made.trace(network, steps, spikes))


def events(found: Estimate) -> dict[str, float]:
    """Counts of an estimate, the layers summed."""
    total: dict[str, float] = {}
    for term in found.terms:
        total[term.event] = total.get(term.event, 0.0) + term.count
    return total


def spike_price(chip: HardwareProfile, picojoules: float) -> HardwareProfile:
    """The chip with another price of a spike."""
    price = Constant(
        value=picojoules, low=picojoules, high=picojoules, unit="pJ", grade="derived",
        source="fitted to one of the measurements",
    )  # fmt: skip
    return chip.model_copy(update={"energy": chip.energy.model_copy(update={"spike": price})})


def power_mw(chip: HardwareProfile, spikes: float, seconds: float) -> float:
    """Mean power of so many spikes in a time."""
    found = estimate_counts(chip, {"network": {"spike": spikes}}, latency_us=1e6 * seconds, cores=1)
    assert found.energy_pj is not None
    return found.energy_pj.nominal / 1e9 / seconds


def within(
    p: Point, what: str, unit: str, measured: float, model: float, low: float, high: float, key: str
) -> Check:
    """A check of the relative error."""
    share = p["tolerance"][key]
    holds = abs(model - measured) <= share * measured
    return Check(p["id"], what, unit, measured, model, low, high, f"{100 * share:.0f} %", holds)


def factor(
    p: Point,
    what: str,
    unit: str,
    measured: float,
    model: float,
    low: float,
    high: float,
    key: str,
    why: str = "",
) -> Check:
    """A check of the ratio."""
    times = p["tolerance"][key]
    holds = 1 / times <= model / measured <= times
    return Check(p["id"], what, unit, measured, model, low, high, f"{times:g} times", holds, why)


def checks() -> list[Check]:
    """Every figure of every point."""
    path = results.HERE / "energy_points.json"
    points = json.loads(path.read_text(encoding="utf-8"))["points"]
    for name, point in points.items():
        point["id"] = name
    simple = {
        "1": keyword_spotting, "2": scaling, "3": mnist, "4": pilotnet, "6": speck, "7": xylo,
        "8": truenorth, "9": spinnaker,
    }  # fmt: skip
    found = [check for name, model in simple.items() for check in model(points[name])]
    found += pilotnet_sdnn(points["5"], points["4"])
    return sorted(found, key=lambda check: check.point)


def titles() -> dict[str, str]:
    """What each point is."""
    path = results.HERE / "energy_points.json"
    return {
        k: p["title"] for k, p in json.loads(path.read_text(encoding="utf-8"))["points"].items()
    }


def as_table(found: list[Check]) -> str:
    """A Markdown table, and what there is to say to its rows."""
    names, rows, notes = titles(), [], []
    for check in found:
        number = ""
        if check.why:
            notes += [] if check.why in notes else [check.why]
            number = f" [{notes.index(check.why) + 1}]"
        verdict = {True: "holds", False: "**misses**", None: "no check"}[check.holds]
        span = "" if check.low == check.high else f" ({check.low:.3g} to {check.high:.3g})"
        measured = "" if check.measured is None else f"{check.measured:.4g} {check.unit}"
        model = f"{check.model:.4g}{span} {check.unit}"
        title = f"{check.point}. {names[check.point]}"
        rows.append([title, check.what, measured, model, check.tolerance, verdict + number])
    head = ["point", "figure", "measured", "model (5 to 95 %)", "tolerance", "verdict"]
    lines = [f"{i}. {note[0].upper()}{note[1:]}." for i, note in enumerate(notes, 1)]
    return results.table(head, rows) + "\n\n" + "\n".join(lines)


def main() -> None:
    """Check, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="write nothing")
    smoke = parser.parse_args().smoke
    found = checks()
    text = as_table(found)
    print(text)
    if not smoke:
        rows = results.Rows("energy_validation", fresh=True)
        for check in found:
            rows.add(f"{check.point} {check.what}", asdict(check))
        rows.finish()
        results.put("energy validation", text, PAGE)


if __name__ == "__main__":
    main()
