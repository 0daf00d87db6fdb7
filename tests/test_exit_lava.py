"""Lava stops every sample at the reference engine's step, with its answer."""

from __future__ import annotations

import numpy as np
import pytest
from models import images, small_network

import snndeploy as sd
from snndeploy.control import exit_curve
from snndeploy_backends.lava.backend import Lava

MISSING = Lava().status().missing
pytestmark = [pytest.mark.lava, pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")]


def test_lava_stops_as_the_reference_engine_does():
    program, x = sd.lower(small_network(seed=7)), images(32)
    full = sd.run(program, x)
    curve = exit_curve(program.network, full, full.predictions, "dynamic-confidence")
    half = full.stop_steps.mean() / 2
    policy = min(curve, key=lambda point: abs(point.mean_steps - half)).policy
    ours = sd.run(program, x, exit_policy=policy)
    theirs = sd.run(program, x, exit_policy=policy, backend="lava")
    ours.assert_same_spikes(theirs)
    np.testing.assert_array_equal(ours.stop_steps, theirs.stop_steps)
    np.testing.assert_array_equal(ours.predictions, theirs.predictions)
    assert len(set(ours.stop_steps.tolist())) > 1
