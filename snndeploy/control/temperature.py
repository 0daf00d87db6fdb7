"""The temperature at which a network's softmax is as sure as it is right.

Logits that are far apart saturate the softmax, so that every answer looks certain from the first
step on, and no threshold tells one from another. Temperature scaling: Guo et al., "On Calibration
of Modern Neural Networks", ICML 2017, section 4.2.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from snndeploy.control.softmax import MIN_TEMPERATURE, log_softmax
from snndeploy.network import Network
from snndeploy.numerics import Int64Array
from snndeploy.trace import Trace

OCTAVES = 12
"""Searched to either side of the spread of the logits."""


def likeliest_temperature(network: Network, trace: Trace, labels: Int64Array) -> float:
    """The temperature that makes the labels likeliest after the last step.

    One more sample counts, whose label is any class alike: without it no temperature would be low
    enough where all answers are right.

    Args:
        network: the network that ran.
        trace: a run without stopping.
        labels: (N,).
    """
    logits, rows = trace.logits[:, -1], np.arange(len(trace))
    spread = float(np.ptp(logits, axis=-1).mean()) * network.output.scale
    if not spread > 0:
        return 1.0
    ages = np.full(len(trace), network.window)

    def surprise(octave: float) -> float:
        temperature = max(spread * 2.0**octave, MIN_TEMPERATURE)
        chances = log_softmax(logits, ages, network.output.scale, temperature, network.window)
        return -float(chances[rows, labels].sum() + chances.mean(axis=1).mean())

    found = minimize_scalar(surprise, bounds=(-OCTAVES, OCTAVES), method="bounded")
    return float(max(spread * 2.0 ** float(found.x), MIN_TEMPERATURE))
