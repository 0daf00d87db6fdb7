"""Softmax of logits that are still being summed up, comparable from step to step."""

from __future__ import annotations

import numpy as np

from snndeploy.numerics import FloatArray, Int64Array

MIN_TEMPERATURE = 1e-6


def log_softmax(
    logits: Int64Array, step: Int64Array, scale: float, temperature: float, window: int
) -> FloatArray:
    """Logarithms of the classes' probabilities, float64 (n, classes).

        z = logits * scale * (window / min(step, window)) / temperature

    The logits are membranes, running sums over the window in which the input is injected. The
    factor makes steps inside the window comparable with later ones.

    Args:
        logits: int64 (n, classes) after 1-based steps (n,).
        scale: turns membranes into the model's units.
        temperature: divides the logits, in the model's units.
        window: steps in which the input is injected.
    """
    injected = window / np.minimum(step, window)
    z = logits * (scale * injected / temperature)[:, None]
    z = z - z.max(axis=-1, keepdims=True)
    found: FloatArray = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return found
