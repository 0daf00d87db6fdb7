"""Lava: ResNet8 spike for spike, its start-up, time a step and memory; and many runs in a row.

    python benchmarks/lava.py --data FOLDER --models FOLDER [--images 16] [--fresh]
    python benchmarks/lava.py --smoke                   # small networks, writes nothing

ResNet8 (MLPerf Tiny, int8) gets 7 levels and runs on Lava in batches of several sizes, on one
worker and on as many as there are cores; every spike is held to the reference engine's. Then come
200 small runs and 20 that are killed half-way, a worker's main process or a layer's: processes,
shared memory, file handles and temporary folders are counted before and after. Writes `lava.json`
and the tables in `README.md`.

Data: `cifar10_lossless.npz`. Models: `mlperf_tiny_onnx/resnet8_int8_qdq.onnx`.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import networks
import numpy as np
from results import Row, Rows, put, table

import snndeploy as sd
from snndeploy.errors import WorkerError
from snndeploy.numerics import Int64Array
from snndeploy.simulate import simulate
from snndeploy.trace import Trace
from snndeploy.verify.tiny import tiny_inputs, tiny_network
from snndeploy_backends.lava.backend import Lava
from snndeploy_backends.lava.settings import usable_cores
from snndeploy_backends.lava.streaming import LavaSession

LEVELS, CALIBRATION = 7, 500
RUNS = {"whole": 200, "killed": 20}
SHARED = "/dev/shm/psm_"  # noqa: S108


@dataclass(frozen=True, eq=False)
class Workload:
    """A program, samples on its input grid, and what the reference engine makes of them."""

    program: sd.Program
    inputs: Int64Array
    reference: Trace


def main() -> None:
    chosen = _arguments()
    rows = Rows("lava", chosen.fresh, keep=not chosen.smoke)
    work = _small() if chosen.smoke else _resnet8(chosen.data, chosen.models, chosen.images)
    for batch in sorted({1, len(work.inputs)}):
        for workers in (1,) if batch == 1 else sorted({1, usable_cores()}):
            key = f"batch {batch}, {workers} workers"
            if rows.get(key) is None:
                rows.add(key, _timed(work, batch, workers))
                print(rows.rows[key], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder  # workers of others are not counted
        for kind, count in RUNS.items():
            if rows.get(kind) is None:
                rows.add(kind, _repeated(kind, 2 if chosen.smoke else count))
                print(rows.rows[kind], flush=True)
    rows.finish(levels=LEVELS, command="python benchmarks/lava.py --data FOLDER --models FOLDER")
    found = list(rows.rows.values())
    if rows.keep:
        put("lava", _tables(found))
    grown = [
        (row["kind"], key)
        for row in found
        for key, count in row.get("left", {}).items()
        if count > row["before"][key]
    ]
    if grown:
        raise SystemExit(f"something was left behind: {grown}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="the folder with data sets")
    parser.add_argument("--models", type=Path, help="the folder with models")
    parser.add_argument("--images", type=int, default=16, help="to run, at least 2")
    parser.add_argument("--fresh", action="store_true", help="forget a run that was broken off")
    parser.add_argument("--smoke", action="store_true", help="small, writes nothing")
    chosen = parser.parse_args()
    if not chosen.smoke and not (chosen.data and chosen.models):
        parser.error("--data and --models are needed, or --smoke")
    return chosen


def _resnet8(data: Path, models: Path, images: int) -> Workload:
    """ResNet8 with few levels, calibrated on training images."""
    with np.load(data / "cifar10_lossless.npz") as file:
        train, test = (
            file[name].transpose(0, 3, 1, 2).astype(np.int64) for name in ("x_train", "x_test")
        )
    model = sd.load(models / "mlperf_tiny_onnx/resnet8_int8_qdq.onnx")
    network = sd.convert(model, train[:CALIBRATION], levels=LEVELS)
    return _workload(sd.lower(network), test[:images])


def _small() -> Workload:
    network = networks.vgg11(4)
    return _workload(sd.lower(network), networks.images(network, 2))


def _workload(program: sd.Program, images: np.ndarray) -> Workload:
    inputs = sd.deploy.grid_inputs(program.network, images)
    return Workload(program, inputs, sd.run(program, inputs))


def _timed(work: Workload, batch: int, workers: int) -> Row:
    """All samples in batches; the spikes compared, then one batch timed step by step."""
    backend = Lava(workers=workers)
    steps = work.reference.steps
    trace = simulate(backend, work.program, work.inputs, steps=steps, batch=batch)
    work.reference.assert_same_spikes(trace)
    session = backend.open(work.program, work.inputs[:batch], steps)
    started_workers = len(session.workers)
    try:
        times = []
        for index in range(steps):
            if index == 1:
                busy = _cpu_seconds(session)
            started = perf_counter()
            session.step()
            times.append(perf_counter() - started)
        busy = _cpu_seconds(session) - busy
    finally:
        session.close()
    # The first step fills the pipeline: that many physical steps more.
    physical = steps + work.program.depth
    return {
        "network": work.program.network.name,
        "samples": len(work.inputs),
        "batch": batch,
        "workers": started_workers,
        "steps": steps,
        "processes": len(work.program.layers),
        "start_s": session.start_seconds,
        "ms_per_step": 1e3 * median(times[1:]),
        "ms_per_physical_step": 1e3 * sum(times) / physical,
        "cpu_ms_per_step": 1e3 * busy / (steps - 1),
        "ms_per_step_and_sample": 1e3 * median(times[1:]) / batch,
        "samples_per_s": batch / sum(times),
        "peak_mb": session.peak_bytes / 1e6,
        "spikes_equal": True,
        "spikes_compared": int(work.reference.total_events),
    }


def _cpu_seconds(session: LavaSession) -> float:
    """What all processes of the workers have computed so far; it tells more on a busy machine."""
    nanoseconds = 0
    for worker in session.workers:
        for pid in worker.session.members():
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                nanoseconds += int(task.read_text().split()[0])
    return 1e-9 * nanoseconds


def _repeated(kind: str, count: int) -> Row:
    """Many runs of a tiny network, and what they leave behind."""
    network = tiny_network()
    program, inputs = sd.lower(network), tiny_inputs(network)
    _one(kind, program, inputs, 0)  # what the first run loads is not growth
    before, started = _counted(), perf_counter()
    for index in range(count):
        _one(kind, program, inputs, index)
    seconds = perf_counter() - started
    return {"runs": count, "kind": kind, "seconds": seconds, "before": before, "left": _counted()}


def _one(kind: str, program: sd.Program, inputs: Int64Array, index: int) -> None:
    if kind == "whole":
        simulate(Lava(), program, inputs, steps=5)
        return
    session = Lava().open(program, inputs, 1_000)
    session.step()
    leader = session.workers[0].session
    os.kill(leader.id if index % 2 else sorted(leader.members())[-2], signal.SIGKILL)
    try:
        while True:
            session.step()
    except WorkerError:
        session.close()


def _counted() -> dict[str, int]:
    """Our children, shared memory that nobody holds, our file handles, and folders of workers."""
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    orphans = _unheld()
    sleep(1.0 if orphans else 0.0)  # another run on this machine may just be making it
    return {
        "processes": len(children),
        "shared_memory": len(orphans & _unheld()),
        "handles": len(list(Path("/proc/self/fd").iterdir())),
        "folders": len(list(Path(tempfile.gettempdir()).glob("snndeploy-lava-*"))),
    }


def _unheld() -> set[str]:
    """Shared memory that no process has mapped."""
    held: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            held |= {word for word in maps.read_text().split() if word.startswith(SHARED)}
    return {str(path) for path in Path("/dev/shm").glob("psm_*")} - held  # noqa: S108


def _tables(rows: list[Row]) -> str:
    timed = [
        [
            str(row["batch"]),
            str(row["workers"]),
            f"{row['start_s']:.1f}",
            f"{row['ms_per_step']:.1f}",
            f"**{row['ms_per_step_and_sample']:.2f}**",
            f"{row['cpu_ms_per_step'] / row['batch']:.2f}",
            f"{row['samples_per_s']:.1f}",
            f"{row['peak_mb']:.0f}",
            f"all {row['spikes_compared']:,} equal",
        ]
        for row in rows
        if "batch" in row
    ]
    repeated = [
        [
            f"{row['runs']} {row['kind']}",
            *(f"{row['before'][key]} → {row['left'][key]}" for key in row["left"]),
        ]
        for row in rows
        if "runs" in row
    ]
    head = ["batch", "workers", "start-up, s", "ms a step", "ms a step and image"]
    head += ["CPU ms a step and image", "images/s"]
    kinds = ["processes", "shared memory", "handles", "folders"]
    return "\n\n".join(
        [
            table([*head, "memory, MB", "spikes"], timed),
            "What is there before a series of runs, and after it:",
            table(["runs", *kinds], repeated),
        ]
    )


if __name__ == "__main__":
    main()
