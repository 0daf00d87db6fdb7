"""How few levels a network can do with: accuracy, steps, spikes and energy of each choice.

A point is a number of levels and a way to calibrate. It is on a Pareto front if no other point is
at least as accurate and at most as costly, and better in one of the two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from snndeploy import deploy
from snndeploy.errors import DoesNotFitError, FileFormatError, InputError, SnnDeployError
from snndeploy.files import save_json
from snndeploy.hardware import HardwareProfile, hardware
from snndeploy.inputs import as_array, check_labels
from snndeploy.measure import settle_steps
from snndeploy.network import Mode, Network
from snndeploy.numerics import Int64Array
from snndeploy.passes.calibration_options import Calibrate, Thresholds
from snndeploy.program import Program
from snndeploy.samples import Samples, array_hash, check_samples
from snndeploy.simulate import Progress

LEVELS = (3, 7, 15, 31, 63)
METHODS: tuple[Calibrate, ...] = ("none", "light", "advanced")

FORMAT = "snndeploy-sweep-1"

ENERGY_BYTES = 256 << 20
"""Of the recorded spikes that energy is estimated from."""

ENERGY_SAMPLES = 64
"""The most samples that energy is estimated from."""


@dataclass(frozen=True)
class SweepPoint:
    """One choice and what it costs.

    Attributes:
        levels, calibrate: the choice.
        accuracy: the share of right answers; without labels, of the original's answers.
        mean_steps, max_steps: until a sample settles; in rate mode, the steps that were run.
        spikes: of either sign, a sample.
        energy_pj: mean of an inference on the profile; None if the network does not fit it or the
            profile lacks a price.
        energy_samples: how many samples that is the mean of.
        network_hash: of the converted network.
        history: the passes that made it.
        note: why there is no energy; or that the network was rescaled to fit the profile.
        error: why there is no point; everything but the choice is None then.
        on_energy_front, on_steps_front: whether no other point is better.
    """

    levels: int
    calibrate: str
    accuracy: float | None = None
    mean_steps: float | None = None
    max_steps: int | None = None
    spikes: float | None = None
    energy_pj: float | None = None
    energy_samples: int | None = None
    network_hash: str | None = None
    history: tuple[str, ...] = ()
    note: str = ""
    error: str = ""
    on_energy_front: bool = False
    on_steps_front: bool = False

    @property
    def key(self) -> str:
        """Names the choice in a results file."""
        return f"levels={self.levels} calibrate={self.calibrate}"


@dataclass(frozen=True)
class Sweep:
    """The points of a sweep, by levels and then by method as asked for.

    Attributes:
        settings: what the figures depend on beside the choice.
        original_accuracy: of the float original on the same samples; None without labels.
        points: those that failed among them.
    """

    settings: dict[str, Any]
    original_accuracy: float | None
    points: tuple[SweepPoint, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"format": FORMAT, **asdict(self)}


def sweep(
    network: Network,
    x: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    calibration: ArrayLike,
    levels: Sequence[int] = LEVELS,
    methods: Sequence[Calibrate] = METHODS,
    thresholds: Thresholds = "mse",
    percentile: float = 99.9,
    per_channel: bool = True,
    seed: int = 0,
    weight_bits: int = 8,
    mode: Mode = "exact",
    steps: int | None = None,
    profile: HardwareProfile | str = "loihi1",
    results: str | Path | None = None,
    told: Callable[[SweepPoint], None] | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Convert a network with few levels in several ways, and measure each.

    Args:
        network: from `load` or `from_torch`, with real-valued ReLUs or many levels.
        x: samples to measure on (N, *shape), other ones than for the calibration.
        labels: the right classes (N,); default: the original's answers.
        calibration: samples (N, *shape) for `convert`.
        levels: numbers of levels.
        methods: `none`, `light`, `advanced`.
        thresholds: this and the next five are for `convert`.
        percentile: see there.
        per_channel: see there.
        seed: see there.
        weight_bits: see there.
        mode: see there.
        steps: in rate mode, how many to run; default: as many as levels.
        profile: chip that energy is estimated on, or its name or path.
        results: a JSON file, written after each point. Points that it holds are not measured
            again, those that failed are.
        told: called with each point, without its place on the fronts.
        progress: told (points done, points in all).

    Raises:
        InputError: an option is out of range.
        DataError: samples or labels of another shape or range.
        FileFormatError: `results` holds a sweep with other settings, or is no sweep.
    """
    chip = hardware(profile) if isinstance(profile, str) else profile
    path = None if results is None else Path(results)
    options = {
        "thresholds": thresholds,
        "percentile": percentile,
        "per_channel": per_channel,
        "seed": seed,
        "weight_bits": weight_bits,
    }
    run = _Run(network, x, labels, calibration, chip, mode, steps, options)
    choices = [SweepPoint(number, method) for number in levels for method in methods]
    if not choices:
        raise InputError("has no points", where="sweep", remedy="give levels and methods")
    known = {} if path is None else _known(path, run.settings)
    points: list[SweepPoint] = []
    for done, choice in enumerate(choices):
        point = known.get(choice.key)
        if point is None or point.error:
            point = run.measured(choice)
            known[point.key] = point
            if path is not None:
                kept = Sweep(run.settings, run.original_accuracy, tuple(known.values()))
                save_json(kept.as_dict(), path)
        points.append(point)
        if told is not None:
            told(point)
        if progress is not None:
            progress(done + 1, len(choices))
    found = Sweep(run.settings, run.original_accuracy, _with_fronts(points))
    if path is not None:
        rest = [point for key, point in known.items() if key not in {c.key for c in choices}]
        save_json(replace(found, points=_with_fronts([*points, *rest])).as_dict(), path)
    return found


class _Run:
    """What all points share."""

    def __init__(
        self,
        network: Network,
        x: ArrayLike,
        labels: ArrayLike | None,
        calibration: ArrayLike,
        chip: HardwareProfile,
        mode: Mode,
        steps: int | None,
        options: dict[str, Any],
    ) -> None:
        self.network, self.calibration, self.chip = network, as_array(calibration), chip
        self.mode: Mode = mode
        self.steps, self.options = steps, options
        if steps is not None and mode == "exact":
            raise InputError(
                f"{steps}", where="steps", remedy="exact mode runs until settled: leave them out"
            )
        array = as_array(x)
        known = None if labels is None else check_labels(labels, network, len(array))
        self.samples: Samples = check_samples(array, known)
        answers = deploy.float_predictions(network, array)
        self.right: Int64Array = answers if known is None else known
        self.original_accuracy = None if known is None else float((answers == known).mean())

    @property
    def settings(self) -> dict[str, Any]:
        """What the figures depend on beside the choice."""
        labels = self.samples.y
        return {
            "network": self.network.hash,
            "data": self.samples.hash,
            "labels": None if labels is None else array_hash(labels),
            "calibration": array_hash(self.calibration),
            "samples": len(self.samples),
            "calibration_samples": len(self.calibration),
            "mode": self.mode,
            "steps": self.steps,
            "profile": self.chip.name,
            **self.options,
        }

    def measured(self, choice: SweepPoint) -> SweepPoint:
        """The point with its figures, or with the error that kept it from having any."""
        try:
            return self._measured(choice)
        except SnnDeployError as error:
            return replace(choice, error=str(error))

    def _measured(self, choice: SweepPoint) -> SweepPoint:
        network = deploy.convert(
            self.network,
            self.calibration,
            levels=choice.levels,
            calibrate=choice.calibrate,  # type: ignore[arg-type]
            mode=self.mode,
            **self.options,
        )
        program, note = self._placed(network)
        trace = deploy.run(program, self.samples.x, steps=self.steps, record=False)
        settle = trace.stop_steps
        if self.mode == "exact":
            settle = settle_steps(trace, network.window)
        point = replace(
            choice,
            accuracy=trace.accuracy(self.right),
            mean_steps=float(settle.mean()),
            max_steps=int(settle.max()),
            spikes=trace.total_events / len(trace),
            network_hash=program.network.hash,
            history=program.network.history,
            note=note,
        )
        return point if program.profile is None else self._priced(point, program, trace.steps)

    def _placed(self, network: Network) -> tuple[Program, str]:
        """On the chip, with smaller integers if that is what it takes; else on none, and why."""
        try:
            return deploy.lower(network, self.chip), ""
        except DoesNotFitError as error:
            reason = str(error)
        try:
            smaller = deploy.rescale(network, self.chip, steps=self.steps)
            return deploy.lower(smaller, self.chip), f"rescaled to fit {self.chip.name}"
        except DoesNotFitError:
            return Program(network), reason

    def _priced(self, point: SweepPoint, program: Program, steps: int) -> SweepPoint:
        """With the energy, from as many samples as their spikes can be kept of."""
        size = steps * sum(layer.neurons for layer in program.spiking)
        count = max(1, min(ENERGY_SAMPLES, ENERGY_BYTES // size, len(self.samples)))
        trace = deploy.run(program, self.samples.x[:count], steps=self.steps)
        energy = deploy.estimate(program, trace).energy_pj
        if energy is None:
            return replace(point, note=f"{self.chip.name} lacks a price")
        return replace(point, energy_pj=energy.nominal, energy_samples=count)


def _with_fronts(points: Sequence[SweepPoint]) -> tuple[SweepPoint, ...]:
    """The points, those on a front marked."""
    energy = [(p.accuracy, p.energy_pj) for p in points]
    steps = [(p.accuracy, p.mean_steps) for p in points]
    return tuple(
        replace(p, on_energy_front=_best(e, energy), on_steps_front=_best(s, steps))
        for p, e, s in zip(points, energy, steps, strict=True)
    )


def _best(
    point: tuple[float | None, float | None], others: Sequence[tuple[float | None, float | None]]
) -> bool:
    """Whether no other point dominates."""
    accuracy, cost = point
    if accuracy is None or cost is None:
        return False
    return not any(
        a is not None and c is not None and a >= accuracy and c <= cost and (a, c) != point
        for a, c in others
    )


def _known(path: Path, settings: dict[str, Any]) -> dict[str, SweepPoint]:
    """The points of an earlier run with the same settings, by key."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}")
        points = [SweepPoint(**{**p, "history": tuple(p["history"])}) for p in found["points"]]
        before = dict(found["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"holds no sweep: {error}", where=str(path), remedy="name another file"
        ) from error
    unlike = sorted(k for k in settings.keys() | before.keys() if settings.get(k) != before.get(k))
    if unlike:
        raise FileFormatError(
            f"holds a sweep with another {', '.join(unlike)}",
            where=str(path),
            remedy="name another file, or remove it",
        )
    return {point.key: point for point in points}
