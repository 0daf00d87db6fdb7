"""Made-up runs whose true accuracy drop is known, because the whole population is."""

from __future__ import annotations

import numpy as np

from snndeploy.trace import Trace

CLASSES, STEPS = 3, 8


def population(samples: int, seed: int, unit: float) -> tuple[Trace, np.ndarray]:
    """Running sums of noisy evidence for a class, and labels that are mostly that class.

    Args:
        samples: N.
        seed: of all.
        unit: the network's logit scale: integers are the evidence divided by it.

    Returns:
        A trace (N, 8, 3) in which sample i settles after 5 to 8 steps, and labels (N,).
    """
    rng = np.random.default_rng(seed)
    meant = rng.integers(0, CLASSES, samples)
    labels = np.where(rng.random(samples) < 0.97, meant, rng.integers(0, CLASSES, samples))
    strength = rng.gamma(4.0, 0.35, samples)
    evidence = rng.normal(0, 0.8, (samples, STEPS, CLASSES))
    evidence[np.arange(samples), :, meant] += strength[:, None]
    stops = rng.integers(5, STEPS + 1, samples)
    evidence[np.arange(STEPS) >= stops[:, None]] = 0
    logits = np.rint(evidence.cumsum(axis=1) / unit).astype(np.int64)
    trace = Trace("made up", logits, {}, {}, stops, np.ones(samples, bool), 0.0)
    return trace, labels
