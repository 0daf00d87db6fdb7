"""Time the simulators side by side: same networks, same inputs, same spikes, in one run.

    python benchmarks/simulators.py                     # all cases, about twenty minutes
    python benchmarks/simulators.py --only vgg11:8:1    # network:steps:batch, writes nothing
    python benchmarks/simulators.py --smoke             # small, without figures

One process a simulator. Every spike is first held to snndeploy's, by a hash over all of them, in
every setting of every simulator. The best setting of each is then timed, repeats interleaved, so
that a busy moment of the machine hits all alike; figures are medians. Building the networks is
not timed. Writes `simulators.json` and the table in `README.md`; a run that was broken off goes
on where it ended, unless `--fresh`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import description
import networks
import numpy as np
from processes import FLOOR, OURS, PEERS, Worker, WorkerError
from results import Row, Rows, put, table

NETWORKS = {"vgg11": networks.vgg11, "resnet18": networks.resnet18}
STEPS, BATCHES = (8, 32), (1, 64)
TITLES = {
    OURS: "snndeploy",
    "spikingjelly": "SpikingJelly",
    "sinabs": "sinabs",
    "snntorch": "snnTorch",
    "norse": "Norse",
    FLOOR: "int8 ANN x steps",
}


@dataclass(frozen=True)
class Case:
    """A network with a number of steps and a batch."""

    network: str
    steps: int
    batch: int

    def __str__(self) -> str:
        return f"{self.network}:{self.steps}:{self.batch}"


@dataclass(frozen=True)
class Effort:
    """How much is done: the width of the networks, repeats, seconds for these, and the clock."""

    width: int = 64
    repeats: int = 5
    seconds: float = 60.0
    threads: int = 2
    clock: str = "wall"


@dataclass
class Trials:
    """What became of a simulator's settings.

    Attributes:
        tried: a first figure of each, images per second.
        differs: where its spikes differ from ours, if they do.
        failed: those that did not run.
    """

    tried: dict[str, float] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def best(self) -> str:
        """The quickest with the right spikes, if there is one."""
        return max(self.tried, key=lambda name: (name not in self.differs, self.tried[name]))

    def compare(self, setting: str, expected: dict[str, Any], got: dict[str, Any]) -> None:
        """Note where spikes differ; the first simulator's are expected of the others."""
        differs = _difference(expected, got) if expected and got["spikes"] else ""
        if differs:
            self.differs[setting] = differs


def main() -> None:
    chosen = _arguments()
    cases = [Case(n, t, b) for n in NETWORKS for b in BATCHES for t in STEPS]
    effort = Effort(
        repeats=chosen.repeats,
        seconds=chosen.seconds,
        threads=1 if chosen.cpu_time else 2,
        clock="cpu" if chosen.cpu_time else "wall",
    )
    if chosen.smoke:
        cases, effort = [Case(n, 4, 2) for n in NETWORKS], Effort(8, 1)
    if chosen.only:
        name, steps, batch = chosen.only.split(":")
        cases = [Case(name, int(steps), int(batch))]
    keep = not (chosen.smoke or chosen.only or chosen.cpu_time)
    rows = Rows("simulators", chosen.fresh, keep)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = _start(stack, effort.threads, folder)
        for case in cases:
            if rows.get(str(case)) is None:
                rows.add(str(case), _measure(case, effort, workers, rows, folder))
        versions = {name: worker.versions for name, worker in workers.items()}
        rows.finish(threads=effort.threads, versions=versions)
    measured = list(rows.rows.values())
    if rows.keep:
        put("simulators", _tables(measured))
    if chosen.smoke and any(x["differs"] for row in measured for x in row["simulators"].values()):
        raise SystemExit("spikes differ")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="begin no repeat after these")
    parser.add_argument("--only", metavar="NETWORK:STEPS:BATCH", help="one case, writes nothing")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="on a busy machine: one thread each, CPU time instead of wall-clock, writes nothing",
    )
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="small networks, writes nothing")
    return parser.parse_args()


def _start(stack: ExitStack, threads: int, folder: Path) -> dict[str, Worker]:
    """A process for each simulator that is installed."""
    workers = {}
    for name in (OURS, *PEERS, FLOOR):
        try:
            workers[name] = stack.enter_context(Worker(name, threads, folder))
        except WorkerError as error:  # noqa: PERF203
            print(f"without {TITLES[name]}: {error}", flush=True)
    return workers


def _measure(
    case: Case, effort: Effort, workers: dict[str, Worker], rows: Rows, folder: Path
) -> Row:
    """Check the spikes, find each simulator's best setting, time them all."""
    network = NETWORKS[case.network](effort.width)
    file, images = folder / "network.npz", folder / "images.npy"
    description.save(network, file)
    np.save(images, networks.images(network, case.batch))
    given = {"file": str(file), "images": str(images), "steps": case.steps}
    expected: dict[str, Any] = {}
    found: dict[str, Row] = {}
    for name, worker in workers.items():
        trials, spikes = _try(case, effort, worker, rows, given, expected)
        expected = expected or spikes
        found[name] = {"setting": trials.best, **asdict(trials)}
        rate = trials.tried[trials.best]
        print(f"{case}  {TITLES[name]:<18}{trials.best:<30}{rate:9.2f} images/s", flush=True)
    for name, seconds in _interleaved(workers, effort).items():
        found[name]["images_per_s"] = case.batch / median(seconds)
        found[name]["repeats"] = len(seconds)
    row = _row(case, expected, network, found)
    _print(row)
    return row


def _try(
    case: Case,
    effort: Effort,
    worker: Worker,
    rows: Rows,
    given: dict[str, Any],
    expected: dict[str, Any],
) -> tuple[Trials, dict[str, Any]]:
    """Try a simulator's settings; leave it in its best one, and return the spikes of that."""
    key, loaded = f"{case} {worker.name}", ""
    trials, spikes = Trials(**rows.notes.get(key, {})), {}
    for setting in () if trials.tried else _settings(case, worker, rows, effort.repeats == 1):
        try:
            loaded, spikes = setting, _load(worker, setting, given)
            trials.tried[setting] = case.batch / _seconds(worker, effort.clock)
            trials.compare(setting, expected, spikes)
        except WorkerError as error:  # noqa: PERF203
            print(error, flush=True)
            trials.failed.append(setting)
    if not trials.tried:
        raise WorkerError(f"{TITLES[worker.name]} runs in none of its settings")
    if loaded != trials.best:
        spikes = _load(worker, trials.best, given)
        trials.compare(trials.best, expected, spikes)
    rows.note(key, asdict(trials))
    return trials, spikes


def _load(worker: Worker, setting: str, given: dict[str, Any]) -> dict[str, Any]:
    """Build the network; a first run gives its spikes and has everything compiled."""
    worker.ask("load", file=given["file"], setting=setting)
    worker.ask("prepare", images=given["images"], steps=given["steps"])
    return worker.ask("check")


def _settings(case: Case, worker: Worker, rows: Rows, brief: bool) -> list[str]:
    """All of them; with many steps, the two that were best with few."""
    few = rows.get(str(Case(case.network, STEPS[0], case.batch)))
    if few is not None and worker.name in few["simulators"] and case.steps > STEPS[0]:
        tried: dict[str, float] = few["simulators"][worker.name]["tried"]
        return sorted(tried, key=lambda setting: tried[setting])[-2:]
    return worker.settings[:1] if brief else worker.settings


def _difference(expected: dict[str, Any], got: dict[str, Any]) -> str:
    """Which layer's spikes are the first to differ, or nothing."""
    for layer, ours in expected["spikes"].items():
        theirs = got["spikes"].get(layer)
        if theirs != ours:
            counts = None if theirs is None else sum(theirs["counts"])
            return f"{layer}: {sum(ours['counts'])} spikes against {counts}"
    same = expected["readout"] == got["readout"]
    return "" if same else "the readout"


def _seconds(worker: Worker, clock: str, enough: float = 0.5, most: int = 5) -> float:
    """A first figure: the quickest of a few runs."""
    seconds: list[float] = []
    while len(seconds) < most and sum(seconds) < enough:
        seconds.append(worker.ask("time")[clock])
    return min(seconds)


def _interleaved(workers: dict[str, Worker], effort: Effort) -> dict[str, list[float]]:
    """Seconds of each, in turn. At least three repeats, where more than one is asked for."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    begun = time.perf_counter()
    for repeat in range(effort.repeats):
        if repeat >= 3 and time.perf_counter() - begun > effort.seconds:
            break
        for name, worker in workers.items():
            times[name].append(worker.ask("time")[effort.clock])
            time.sleep(0.02)  # idle threads of the last one stop spinning
    return times


def _row(case: Case, expected: dict[str, Any], network: Any, found: dict[str, Row]) -> Row:
    layers = [node for node in network.nodes if node.name in expected["spikes"]]
    neurons = sum(int(np.prod(network.shapes[node.name])) for node in layers)
    spikes = sum(sum(layer["counts"]) for layer in expected["spikes"].values())
    row: Row = {
        "network": case.network,
        "steps": case.steps,
        "batch": case.batch,
        "spikes_per_neuron_step": spikes / (neurons * case.batch * case.steps),
        "simulators": found,
    }
    ours = found[OURS]["images_per_s"]
    peers = {name: found[name]["images_per_s"] for name in PEERS if name in found}
    if peers:
        row["best_peer"] = max(peers, key=lambda name: peers[name])
        row["over_best_peer"] = ours / peers[row["best_peer"]]
    if FLOOR in found:
        row["over_floor"] = ours / found[FLOOR]["images_per_s"]
    return row


def _print(row: Row) -> None:
    print(
        "  ".join(
            f"{TITLES[name]} {found['images_per_s']:.2f}"
            for name, found in row["simulators"].items()
        ),
        f"-> {row.get('over_best_peer', float('nan')):.2f} x best peer,",
        f"{row.get('over_floor', float('nan')):.2f} x floor",
        flush=True,
    )
    for name, found in row["simulators"].items():
        for setting, text in found["differs"].items():
            print(f"  spikes differ: {TITLES[name]}, {setting}: {text}", flush=True)


def _tables(rows: list[Row]) -> str:
    """Images per second and the ratios, then the settings that were the best."""
    names = [name for name in TITLES if any(name in row["simulators"] for row in rows)]
    body, settings = [], []
    for row in rows:
        case = [row["network"], str(row["steps"]), str(row["batch"])]
        found = row["simulators"]
        cells = [_cell(found.get(name)) for name in names]
        best = f"**{row['over_best_peer']:.1f}** ({TITLES[row['best_peer']]})"
        body.append([*case, *cells, best, f"{row['over_floor']:.2f}"])
        settings.append([*case, *(found[name]["setting"] for name in PEERS if name in found)])
    titles = [TITLES[name] for name in names]
    head = ["network", "steps", "batch"]
    return "\n\n".join(
        [
            table([*head, *titles, "over the best peer", "over the floor"], body),
            "The settings that won, of those that each simulator can run in:",
            table([*head, *(TITLES[name] for name in PEERS)], settings),
        ]
    )


def _cell(found: Row | None) -> str:
    if found is None:
        return ""
    mark = " (other spikes)" if found["setting"] in found["differs"] else ""
    return f"{found['images_per_s']:.1f}{mark}"


if __name__ == "__main__":
    main()
