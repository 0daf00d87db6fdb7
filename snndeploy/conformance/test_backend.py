"""The suite for pytest: `pytest --pyargs snndeploy.conformance`."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.backend import Backend
from snndeploy.conformance.cases import case, case_names
from snndeploy.conformance.checks import Check, Refused
from snndeploy.conformance.conftest import REFUSED
from snndeploy.conformance.pipelined import Pipelined
from snndeploy.conformance.suite import planned

PLAN = list(planned())


@pytest.mark.parametrize(("check", "name"), PLAN, ids=[f"{c.name}-{name}" for c, name in PLAN])
def test_backend(backend: Backend, check: Check, name: str) -> None:
    """One check on one network."""
    if not check.offered(backend):
        pytest.skip("not offered")
    try:
        check.run(backend, case(name))
    except Refused as refusal:
        pytest.skip(f"{REFUSED}{refusal}")


@pytest.mark.parametrize("name", case_names())
def test_a_pipeline_has_the_same_spikes_shifted(name: str) -> None:
    """The definition itself: on a pipelined target each layer does the same, `depth` steps late."""
    asked = case(name)
    depth, want = asked.program.depth, asked.definition
    session = Pipelined().open(asked.program, asked.inputs, asked.steps)
    sent = [session.tick() for _ in range(asked.steps + depth)]
    for layer in asked.program.layers[1:]:
        found = np.stack([values[layer.name] for values in sent], axis=1)
        ours = want.logits if layer.kind == "readout" else want.spikes[layer.name]
        assert not found[:, : layer.depth].any()
        assert np.array_equal(found[:, layer.depth : layer.depth + asked.steps], ours)
