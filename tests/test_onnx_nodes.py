"""ONNX's own node tests: right, or refused with a reason that is listed.

The list is golden text: `SNNDEPLOY_UPDATE_GOLDEN=1 pytest tests/test_onnx_nodes.py` writes it anew.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import onnx
import pytest
from onnx_node_tests import PASSED, claimed, verdicts

from snndeploy.frontends.onnx.constants import FOLDS
from snndeploy.frontends.onnx.handlers import REMEDIES, STANDARD

GOLDEN = Path(__file__).parent / "golden/onnx_node_tests.txt"

pytestmark = pytest.mark.filterwarnings("ignore")  # the tests' own generators warn


def test_node_tests_are_right_or_listed_with_their_reason():
    passed, not_read, not_claimed, wrong = 0, [], Counter(), []
    for name, case, found in verdicts():
        if found.startswith("WRONG"):
            wrong.append(f"{name}: {found}")
        elif found == PASSED:
            passed += 1
        elif claimed(case):
            not_read.append(f"{name}: {found}")
        else:
            unread = {n.op_type for n in case.model.graph.node} - STANDARD.keys() - FOLDS.keys()
            not_claimed.update(unread)
    assert not wrong
    version = f"onnx {onnx.__version__}"
    others = [
        f"{kind} ({count}): {REMEDIES.get(kind, 'no spiking form is known')}"
        for kind, count in sorted(not_claimed.items())
    ]
    text = "\n".join(
        [
            f"{version}: {passed} tests pass.",
            "",
            f"{len(not_read)} tests of operators that are read, but not in this form:",
            *not_read,
            "",
            "Operators that are not read, and in how many tests they stand:",
            *others,
            "",
        ]
    )
    if os.environ.get("SNNDEPLOY_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    golden = GOLDEN.read_text()
    if golden.startswith(version):  # another version of ONNX has other tests
        assert text == golden
    assert passed > 500
