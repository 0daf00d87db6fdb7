"""From a model to the float network that is quantized: its input grid, folded, of few levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snndeploy.errors import DataError, InputError, UnsupportedModelError
from snndeploy.inputs import as_array, check_labels, on_grid_in_units, shaped
from snndeploy.network import Mode, Network
from snndeploy.nodes import Relu
from snndeploy.passes import FoldBatchNorm, PoolAfterActivation, SetInputGrid, SplitConcat
from snndeploy.passes.calibration_data import CalibrationData
from snndeploy.passes.calibration_options import FewLevels
from snndeploy.simulate import Progress


def folded(network: Network) -> Network:
    """A float network in the form that is quantized."""
    for rewrite in (SplitConcat(), FoldBatchNorm(), PoolAfterActivation()):
        network = rewrite(network)
    return network


def prepared(
    network: Network,
    calibration: ArrayLike | None,
    labels: ArrayLike | None,
    options: FewLevels | None,
    mode: Mode,
    window: int,
    progress: Progress | None,
) -> Network:
    """The float network that `Quantize` turns to integers; see `deploy.convert`.

    Args:
        network: from a frontend.
        calibration: samples (N, *shape).
        labels: of the samples (N,).
        options: few levels; None: the network keeps its own.
        mode: of the spiking network to be.
        window: its steps with input; 0: the default.
        progress: told (done, in all) by each calibrating pass.
    """
    samples = None
    if calibration is not None:
        samples = _checked(network, as_array(calibration, "calibration data"), options is not None)
        if network.input.grid is None:
            grid = SetInputGrid.covering(float(samples.min()), float(samples.max()))
            network = grid(network)
    network = folded(network)
    if options is not None:
        if samples is None:
            raise InputError(
                "are needed to find few levels",
                where="calibration samples",
                remedy="give a few hundred typical samples, not augmented",
            )
        from snndeploy.passes.few_levels import few_levels  # noqa: PLC0415  (torch is slow to load)

        known = None if labels is None else check_labels(labels, network, len(samples))
        data = CalibrationData(on_grid_in_units(network, samples), known)
        network = few_levels(network, data, options, mode, window, progress)
    _refuse_relus(network)
    return network


def _checked(network: Network, samples: NDArray[Any], few_levels: bool) -> NDArray[Any]:
    """Samples (N, *shape), floats unless the model states a grid that they lie on."""
    samples = shaped(network, samples, "calibration data")
    if network.input.grid is not None:
        if not few_levels:
            raise InputError(
                "is not needed: the model states its input grid",
                where="calibration data",
                remedy="leave it out, or take the QuantizedInput out of the model",
            )
        return samples
    if not np.isfinite(samples).all():
        raise DataError("holds NaN or infinity", where="calibration data")
    return samples.astype(np.float64)


def _refuse_relus(network: Network) -> None:
    found = [node.name for node in network.nodes if isinstance(node, Relu)]
    if found:
        raise UnsupportedModelError(
            f"has {len(found)} real-valued ReLUs: {', '.join(found)}",
            where=f"network '{network.name}'",
            remedy="give levels, such as 15, and calibration samples",
        )
