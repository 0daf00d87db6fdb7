"""Traces compared field by field."""

from __future__ import annotations

import numpy as np


def assert_identical(ours, theirs):
    assert ours.steps == theirs.steps
    for field in ("logits", "stop_steps", "settled"):
        a, b = getattr(ours, field), getattr(theirs, field)
        np.testing.assert_array_equal(a, b, err_msg=field)
        assert a.dtype == b.dtype
    for field in ("spikes", "events"):
        a, b = getattr(ours, field), getattr(theirs, field)
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=f"{field} of {name}")
            assert a[name].dtype == b[name].dtype
