"""The story in verbs: load, convert, lower, run, compare, certify, calibrate, estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from snndeploy import control, cost
from snndeploy.backend import require_backend
from snndeploy.control import FAMILIES, MIN_TEMPERATURE, ExitPolicy, FamilyName, Search, stop_steps
from snndeploy.conversion import folded, prepared
from snndeploy.cost import Estimate
from snndeploy.errors import DoesNotFitError, FileFormatError, InputError
from snndeploy.hardware import HardwareProfile, hardware
from snndeploy.headroom import Headroom
from snndeploy.headroom import headroom as headroom_of
from snndeploy.inputs import as_array, check_labels, on_grid, on_grid_in_units, shaped
from snndeploy.integer_ann import IntegerAnnResult
from snndeploy.integer_ann import integer_ann as evaluate_integer_ann
from snndeploy.measure import membrane_extremes
from snndeploy.network import Mode, Network, Reset
from snndeploy.nirfile import load as load_nir
from snndeploy.numerics import Int64Array
from snndeploy.passes import Quantize, Rescale, place
from snndeploy.passes.arrange import arrange
from snndeploy.passes.calibration_options import Calibrate, FewLevels, Thresholds
from snndeploy.program import Arrangement, Program
from snndeploy.samples import array_hash
from snndeploy.simulate import MAX_STEPS, Progress, simulate
from snndeploy.stopping import Controller
from snndeploy.trace import Trace
from snndeploy.verify import agreement, certificate, comparison
from snndeploy.verify.agreement import Agreement
from snndeploy.verify.certificate import Certificate
from snndeploy.verify.comparison import BackendResult, Observer, Planted
from snndeploy.verify.fidelity import FidelityReport
from snndeploy.verify.fidelity import fidelity as compare_to_float

if TYPE_CHECKING:
    import torch

CHUNK = 32
"""Samples that the integer ANN is evaluated on together; bounds its memory."""

WEIGHT_EXPONENT = Quantize.weight_exponent
STATE_BITS = Quantize.state_bits

DEFAULTS = ("mse", 99.9, True, "light")
"""Thresholds, percentile, per channel and calibrate, which need levels to be anything else."""

SUFFIXES = {
    ".onnx": "an ONNX model",
    ".pt2": "a PyTorch export (torch.export.save)",
    ".nir": "a spiking network that snndeploy wrote",
}


def load(path: str | Path) -> Network:
    """Read a model: ONNX (`.onnx`), a PyTorch export (`.pt2`) or a converted network (`.nir`).

    Raises:
        FileFormatError: unknown suffix; missing, malformed or hostile file.
        UnsupportedModelError: parts that cannot become spiking, all of them at once.
    """
    path = Path(path)
    if path.suffix == ".nir":
        return load_nir(path)
    if path.suffix == ".pt2":
        from snndeploy.frontends.pt2_file import load_pt2  # noqa: PLC0415  (torch is slow to load)

        return load_pt2(path)
    if path.suffix == ".onnx":
        from snndeploy.frontends.onnx import load_onnx  # noqa: PLC0415  (so is onnx)

        return load_onnx(path)
    known = "; ".join(f"{suffix}: {what}" for suffix, what in SUFFIXES.items())
    raise FileFormatError(
        f"files ending in '{path.suffix}' are not read", where=str(path), remedy=known
    )


def from_torch(module: torch.nn.Module, example: torch.Tensor, name: str = "model") -> Network:
    """Read a PyTorch module with quantized activations; `example` is (N, *shape) float32.

    They are QCFS, the quantizers of PT2E or those of Brevitas. ReLUs are real-valued.

    Raises:
        UnsupportedModelError: lists every operator that cannot be converted.
    """
    from snndeploy.frontends.torch_export import from_torch as read  # noqa: PLC0415

    return read(module, example, name)


def convert(
    network: Network,
    calibration: ArrayLike | None = None,
    *,
    levels: int | None = None,
    thresholds: Thresholds = "mse",
    percentile: float = 99.9,
    per_channel: bool = True,
    calibrate: Calibrate = "light",
    labels: ArrayLike | None = None,
    seed: int = 0,
    weight_bits: int = 8,
    weight_exponent: int = WEIGHT_EXPONENT,
    state_bits: int = STATE_BITS,
    mode: Mode = "exact",
    window: int | None = None,
    per_step: bool = False,
    reset: Reset = "soft",
    progress: Progress | None = None,
) -> Network:
    """Turn a float quantized network into an integer spiking network.

    With `levels`, activations get at most that many levels, and the network is calibrated on
    the samples to keep its accuracy: real-valued ReLUs, and activations of more levels, such as
    the 255 of an int8 model. Without, the network keeps its own levels.

    Args:
        network: from `load` or `from_torch`.
        calibration: samples (N, *shape) in the model's units, a few hundred of them, not
            augmented; needed for `levels`, and if the model does not state its input grid
            (`QuantizedInput`).
        levels: the largest spike count of every activation, such as 15.
        thresholds: how the ceiling of L counts is found: the largest value (`max`), a
            `percentile`, or the least squared error (`mse`).
        percentile: of a layer's values, 50 to 100, for `thresholds="percentile"`.
        per_channel: let channels of one layer have ranges of their own, by factors moved into
            the weights.
        calibrate: `none`; `light` corrects biases; `advanced` tunes the weights, too, which
            takes about sixty times as long as evaluating the samples. A correction that makes a
            held-out fifth of the samples worse is undone; the network's history tells.
        labels: of the samples (N,), to judge corrections by; default: the original's logits.
        seed: of the split and of the order of the samples.
        weight_bits: of the signed weights, 2 to 16.
        weight_exponent: a weight may have a power of two up to this one as a factor, 0 to 16. It
            makes thresholds and biases exact; use 0 for chips whose weights have no exponent.
        state_bits: the word of a membrane, 8 to 32, whose bits finer units may use: the more, the
            fewer counts are rounded otherwise than the model's. 24 fit Loihi.
        mode: `exact` settles to the quantized ANN's integers; `rate` is plain rate coding.
        window: steps during which input and bias are injected; default: as many as the most
            levels of any activation, in exact mode at most 32.
        per_step: samples are (N, F, *shape), one value a step (events, frames), F at most the
            window; the model's input is their sum.
        reset: what a spike leaves of a membrane. `hard`: nothing, as on Lava's own neurons and in
            lava-dl's netx: membranes start at 0, all channels of a layer share one threshold, and
            what a membrane holds beyond it is lost at each spike; with mode `rate` only.
        progress: told (done, in all) by each calibrating pass, and by the last, which rounds.

    Raises:
        InputError: the network is already integer, an option is out of range, or calibration
            data is missing.
        DataError: calibration data of another shape, or with NaN or infinity.
        UnsupportedModelError: a structure that cannot become spiking.
    """
    if network.is_integer:
        raise InputError("is already a spiking network", where=f"network '{network.name}'")
    if reset == "hard" and mode != "rate":
        raise InputError(
            "loses charge at each spike, so counts cannot settle to the ANN's",
            where="hard reset",
            remedy="use mode rate",
        )
    if window is not None and not 1 <= window <= MAX_STEPS:
        raise InputError(f"{window} steps", where="window", remedy=f"ask for 1 to {MAX_STEPS:,}")
    options = None
    if levels is not None:
        options = FewLevels(levels, thresholds, percentile, per_channel, calibrate, seed)
    elif labels is not None or (thresholds, percentile, per_channel, calibrate) != DEFAULTS:
        raise InputError(
            "are given without levels", where="calibration options", remedy="give levels, too"
        )
    quantize = Quantize(
        weight_bits=weight_bits,
        weight_exponent=weight_exponent,
        state_bits=state_bits,
        mode=mode,
        window=window or 0,
        per_step=per_step,
        reset=reset,
        progress=progress,
    )
    return quantize(prepared(network, calibration, labels, options, mode, window or 0, progress))


def lower(
    network: Network,
    profile: HardwareProfile | str | None = None,
    *,
    arrangement: Arrangement = "in_order",
) -> Program:
    """Place a spiking network on a chip and check it against its limits; or on none.

    Args:
        network: from `convert` or a `.nir` file.
        profile: a profile, or its name or path.
        arrangement: of the cores. `by_traffic` moves those that talk to each other together, taking
            each neuron to fire once (`snndeploy.passes.arrange` takes a run's own spikes), on chips
            whose profile describes a mesh. Hundreds of cores take minutes.

    Raises:
        UnsupportedModelError: the network is not integer yet.
        DoesNotFitError: lists every limit that it exceeds.
    """
    if profile is None:
        return Program(network)
    program = place(network, hardware(profile) if isinstance(profile, str) else profile)
    return arrange(program) if arrangement == "by_traffic" else program


def headroom(
    network: Network,
    profile: HardwareProfile | str | None = None,
    *,
    steps: int | None = None,
    x: ArrayLike | None = None,
    progress: Progress | None = None,
) -> Headroom:
    """Bits to spare in each word of each layer, proved for all inputs, and what cures a lack.

    Args:
        network: an integer network; it need not fit.
        profile: a profile, or its name or path; default: 32 bits of state, no other limit.
        steps: in rate mode, the number of steps to cover; default: the window.
        x: samples (N, *shape); the membranes that they reach are set beside the bounds.
        progress: told (samples done, samples in all).

    Raises:
        InputError: steps are out of range, or given in exact mode, which needs none.
        ProfileError: the profile describes an accelerator for ANNs.
    """
    chip, seen = _chip(profile, steps), None
    found = headroom_of(network, chip, steps)
    if x is not None:
        trace = run(Program(network), x, steps=steps, progress=progress)
        seen = membrane_extremes(Program(network), grid_inputs(network, x), trace)
        found = headroom_of(network, chip, steps, seen)
    return replace(found, cures=Rescale.to(chip, steps).cures(network)) if found.lacks else found


def rescale(
    network: Network,
    profile: HardwareProfile | str | None = None,
    *,
    steps: int | None = None,
) -> Network:
    """Make the integers of layers that lack bits smaller, by the factor nearest 1 that fits.

    What it costs in accuracy: `agree(network, rescaled, x, labels)`.

    Args:
        network: an integer network. If it fits, its layers stay as they are.
        profile: a profile, or its name or path; default: 32 bits of state, no other limit.
        steps: in rate mode, the number of steps to cover; default: the window.

    Raises:
        DoesNotFitError: lists every layer that no rescale makes fit, and why.
    """
    chip = _chip(profile, steps)
    rescaled = Rescale.to(chip, steps)(network)
    lacks = headroom_of(rescaled, chip, steps).lacks
    if lacks:
        raise DoesNotFitError(
            "; ".join(f"layer '{word.layer}': {word}, limit {word.bits} bits" for word in lacks),
            where=f"network '{network.name}'",
            remedy="no rescale changes what a message carries: use a coarser input grid",
        )
    return rescaled


def agree(
    before: Network,
    after: Network,
    x: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    progress: Progress | None = None,
) -> Agreement:
    """What a rewrite such as `rescale` costs: answers, accuracy and counts that changed.

    Args:
        before: integer networks of the same layers.
        after: likewise.
        x: (N, *shape), floats in the model's units or integers on the input grid.
        labels: the right classes (N,), if known.
        progress: told (samples done, samples in all).
    """
    inputs = grid_inputs(before, x)
    known = None if labels is None else check_labels(labels, before, len(inputs))
    return agreement.agreement(before, after, inputs, known, progress)


def float_predictions(network: Network, x: ArrayLike) -> Int64Array:
    """What a float network, with real-valued ReLUs or quantized activations, answers, (N,).

    Args:
        network: from `load` or `from_torch`.
        x: samples (N, *shape), floats in the model's units or integers on its input grid. They
            are rounded to that grid, if the model states one.
    """
    from snndeploy.float_ann.responses import logits  # noqa: PLC0415  (torch is slow to load)

    samples = shaped(network, as_array(x))
    inputs = samples if network.input.grid is None else on_grid_in_units(network, samples)
    answers: Int64Array = logits(folded(network), inputs).argmax(1).numpy()
    return answers


def grid_inputs(network: Network, x: ArrayLike) -> Int64Array:
    """Samples as integers on the network's input grid; see `snndeploy.inputs.on_grid`."""
    return on_grid(network, as_array(x))


def run(
    program: Program,
    x: ArrayLike,
    *,
    backend: str = "reference",
    steps: int | None = None,
    exit_policy: ExitPolicy | Controller | None = None,
    batch: int = 256,
    record: bool = True,
    progress: Progress | None = None,
) -> Trace:
    """Simulate samples and return the trace.

    Args:
        program: from `lower`.
        x: (N, *shape), floats in the model's units or integers on the input grid.
        backend: a name from `snndeploy backends`.
        steps: the most steps; default: until settled (exact mode), those that the exit policy
            was calibrated for, or the window (rate mode).
        exit_policy: stops each sample as soon as it is sure: a calibrated policy, or any object
            with the `stop` of `snndeploy.stopping.Controller`.
        batch: samples simulated together.
        record: keep every spike.
        progress: told (samples done, samples in all).

    Raises:
        DataError: wrong shape, NaN, or values outside the input grid.
        BackendMissingError: the backend, or a package of it, is not installed.
    """
    if batch < 1:
        raise InputError(f"{batch} samples", where="batch", remedy="take at least 1 together")
    inputs = grid_inputs(program.network, x)
    if isinstance(exit_policy, ExitPolicy):
        steps = exit_policy.steps if steps is None else steps
        exit_policy = exit_policy.controller(program.network)
    return simulate(
        require_backend(backend),
        program,
        inputs,
        steps=steps,
        controller=exit_policy,
        batch=batch,
        record=record,
        progress=progress,
    )


def compare(
    program: Program,
    x: ArrayLike,
    backends: Sequence[str] = ("reference", "norse", "lava"),
    *,
    labels: ArrayLike | None = None,
    limits: dict[str, int] | None = None,
    steps: int | None = None,
    planted: Planted | None = None,
    progress: Progress | None = None,
    reference: Trace | None = None,
    measure: bool = False,
    observe: Observer | None = None,
) -> list[BackendResult]:
    """Run several backends on the same samples; see `snndeploy.verify.comparison.compare`."""
    inputs = grid_inputs(program.network, x)
    known = None if labels is None else check_labels(labels, program.network, len(inputs))
    return comparison.compare(
        program,
        inputs,
        backends,
        labels=known,
        limits=limits,
        steps=steps,
        planted=planted,
        progress=progress,
        reference=reference,
        measure=measure,
        observe=observe,
    )


def certify(
    program: Program,
    x: ArrayLike,
    *,
    backend: str = "reference",
    progress: Progress | None = None,
    trace: Trace | None = None,
) -> Certificate:
    """Prove and check that the spiking network is the integer quantized ANN.

    Args:
        program: from `lower`; its profile's state word is used, else 32 bits.
        x: (N, *shape) samples.
        backend: who simulates.
        progress: told (samples done, samples in all).
        trace: a run of these samples until settled, with spikes, if there is one already.

    Raises:
        CertificateRefusedError: a premise fails, or a neuron differs.
    """
    inputs = grid_inputs(program.network, x)
    return certificate.certify(program, inputs, require_backend(backend), progress, trace)


def calibrate_exit(
    program: Program,
    held_out: ArrayLike,
    labels: ArrayLike,
    *,
    max_accuracy_drop: float = 0.0,
    confidence: float | None = None,
    policy: FamilyName | Literal["all"] = "dynamic-confidence",
    temperature: float | None = None,
    seed: int = 0,
    steps: int | None = None,
    energy_samples: int = 0,
    backend: str = "reference",
    progress: Progress | None = None,
) -> ExitPolicy:
    """Find when to stop on held-out data, never on test data.

    Takes the policy with the fewest mean steps whose accuracy drop against the settled network
    is at most `max_accuracy_drop`. Without `confidence` that is the drop on the held-out data.
    With it, the expected drop on new samples, drawn independently like the held-out ones, is at
    most that, in at least this share of all calibrations. If no policy can be promised to keep
    it, the result stops no sample and says how many held-out samples are needed.

    Args:
        program: from `lower`; on a profile, if the policies are to be priced.
        held_out: (N, *shape), samples that neither trained nor will test the network.
        labels: the right classes (N,).
        max_accuracy_drop: how far accuracy may fall below the settled network's, as a share.
        confidence: that of the guarantee, in (0, 1).
        policy: the family to search, or `all` of them, which share the error between them.
        temperature: divides the logits before the softmax; default: the one that makes the
            held-out labels likeliest, found on a tenth of them if there is a guarantee.
        seed: of the split in samples that parameters are fitted to and samples that test them:
            halves for top-k-gap and conformal; a tenth for the temperature of a guarantee.
        steps: in rate mode, those of a sample that is not stopped; default: the window.
        energy_samples: price the front of policies on the first so many samples; 0: do not.
        backend: who runs the samples; all have the same spikes.
        progress: told (samples done, samples in all).

    Raises:
        InputError: an option is out of range.
        DataError: samples or labels of the wrong shape or range.
    """
    if not 0 <= max_accuracy_drop <= 1:
        raise InputError(f"{max_accuracy_drop}, expected 0 to 1", where="max accuracy drop")
    if confidence is not None and not 0 < confidence < 1:
        raise InputError(f"{confidence}, expected between 0 and 1", where="confidence")
    if temperature is not None and not MIN_TEMPERATURE <= temperature < float("inf"):
        raise InputError(f"{temperature}, expected at least {MIN_TEMPERATURE}", where="temperature")
    if policy not in ("all", *FAMILIES):
        known = f"known: {', '.join(FAMILIES)}, all"
        raise InputError(f"'{policy}' is unknown", where="policy", remedy=known)
    if steps is not None and program.network.mode == "exact":
        remedy = "leave them out: every sample runs until it settles"
        raise InputError("are for rate mode", where="steps", remedy=remedy)
    held_out = as_array(held_out)
    known_labels = check_labels(labels, program.network, len(held_out))
    trace = run(program, held_out, backend=backend, steps=steps, record=False, progress=progress)
    families = FAMILIES if policy == "all" else (policy,)
    found = control.calibrate(
        program.network,
        trace,
        known_labels,
        array_hash(held_out),
        Search(max_accuracy_drop, confidence, families, temperature, seed),
    )
    if not energy_samples:
        return found
    return _priced(program, found, run(program, held_out[:energy_samples], steps=steps))


def _priced(program: Program, found: ExitPolicy, full: Trace) -> ExitPolicy:
    """The same, its front priced on a run without stopping."""

    def energy_pj(stops: Int64Array) -> float | None:
        energy = estimate(program, full.cut(stops), full).energy_pj
        return None if energy is None else energy.nominal

    front = tuple(
        point.model_copy(update={"energy_pj": energy_pj(stop_steps(point.policy, full))})
        for point in found.front
    )
    assert program.profile is not None
    update = {
        "front": front,
        "profile": program.profile.name,
        "energy_samples": len(full),
        "settled_energy_pj": energy_pj(full.stop_steps),
    }
    return found.model_copy(update=update)


def integer_ann(network: Network, x: ArrayLike) -> IntegerAnnResult:
    """What the spiking network settles to: the integer quantized ANN's counts and logits.

    Args:
        network: from `convert` or a `.nir` file.
        x: (N, *shape), floats in the model's units or integers on the input grid.
    """
    inputs = grid_inputs(network, x)
    parts = [
        evaluate_integer_ann(network, inputs[first : first + CHUNK])
        for first in range(0, len(inputs), CHUNK)
    ]
    counts = {
        name: np.concatenate([part.counts[name] for part in parts]) for name in parts[0].counts
    }
    return IntegerAnnResult(counts, np.concatenate([part.logits for part in parts]))


def fidelity(
    float_network: Network,
    integer_network: Network,
    x: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    progress: Progress | None = None,
) -> FidelityReport:
    """What rounding a float network to integers cost, layer by layer.

    Args:
        float_network: from `load` or `from_torch`.
        integer_network: what `convert` made of it, or a `.nir` file of that.
        x: samples (N, *shape), floats in the model's units or integers on the input grid.
        labels: (N,); with them the loss of accuracy is told.
        progress: told (samples done, samples in all).

    Raises:
        InputError: the networks are not of one model.
        DataError: samples or labels of the wrong shape or range.
    """
    if float_network.is_integer:
        raise InputError(
            "is a spiking network already",
            where=f"network '{float_network.name}'",
            remedy="give the model that it was converted from",
        )
    inputs = grid_inputs(integer_network, x)
    known = None if labels is None else check_labels(labels, integer_network, len(inputs))
    return compare_to_float(folded(float_network), integer_network, inputs, known, progress)


def estimate(program: Program, trace: Trace, full: Trace | None = None) -> Estimate:
    """Mean energy and latency of one inference on the program's profile.

    Args:
        program: lowered to a profile.
        trace: of a run with recorded spikes.
        full: if the trace was stopped early, the same samples' run without stopping: it holds
            the work that a pipelined chip had in flight.
    """
    return cost.estimate(program, trace, full)


def _chip(profile: HardwareProfile | str | None, steps: int | None) -> HardwareProfile | None:
    if steps is not None and not 1 <= steps <= MAX_STEPS:
        raise InputError(f"{steps}", where="steps", remedy=f"ask for 1 to {MAX_STEPS:,}")
    return hardware(profile) if isinstance(profile, str) else profile
