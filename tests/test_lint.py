"""What other readers of NIR would do with a file; Norse's part is held to Norse."""

from __future__ import annotations

import json
import sys
from itertools import pairwise

import nir
import numpy as np
import pytest
from test_nir_files import network

from snndeploy.errors import FileFormatError
from snndeploy.nirfile import lint, save
from snndeploy_backends.norse import cells

ONE = np.ones(1)
NODES = {
    "LI": nir.LI(ONE, ONE, ONE),
    "I": nir.I(ONE),
    "Scale": nir.Scale(ONE),
    "Threshold": nir.Threshold(ONE),
    "Delay": nir.Delay(ONE),
    "CubaLI": nir.CubaLI(ONE, ONE, ONE, ONE),
    "AvgPool2d": nir.AvgPool2d(*np.ones((2, 2), int), np.zeros(2, int)),
    "Conv1d": nir.Conv1d(3, np.ones((1, 1, 1)), 1, 0, 1, 1, ONE),
    "Linear": nir.Linear(np.ones((1, 1))),
    "IF": nir.IF(ONE, ONE, ONE),
    "LIF": nir.LIF(ONE, ONE, ONE, ONE, ONE),
}


def findings(path, *nodes):
    ends = {"input": nir.Input({"input": ONE}), "output": nir.Output({"output": ONE})}
    named = ends | {f"n{index}": node for index, node in enumerate(nodes)}
    edges = list(pairwise(["input", *list(named)[2:], "output"]))
    nir.write(path, nir.NIRGraph(named, edges, type_check=False))
    return lint(path)


def said(found, reader, effect):
    return {
        finding.text for finding in found if (finding.reader, finding.effect) == (reader, effect)
    }


@pytest.mark.parametrize("kind", NODES)
def test_norse_drops_what_it_is_said_to(kind, tmp_path):
    assert cells.SNNCell  # imports Norse
    made = sys.modules["norse.torch.utils.import_nir"]._import_norse_module
    node = NODES[kind]
    dropped = said(findings(tmp_path / "a.nir", node), "norse 1.1.0", "drops")
    assert (made(node, ignore_warnings=True) is None) == bool(dropped)


def test_what_norse_changes(tmp_path):
    found = findings(tmp_path / "a.nir", nir.LIF(ONE, 2 * ONE, 0 * ONE, ONE, ONE))
    assert said(found, "norse 1.1.0", "changes") == {
        "leaves r out",
        "resets to 0, not to v_reset",
        "steps of 1 ms, unless from_nir is given another dt",
    }
    found = findings(tmp_path / "a.nir", nir.LIF(ONE, ONE, 0 * ONE, ONE, 0 * ONE))
    assert len(said(found, "norse 1.1.0", "changes")) == 1


def test_unlike_thresholds_and_groups(tmp_path):
    two = np.ones(2)
    found = findings(tmp_path / "a.nir", nir.IF(two, np.array([1.0, 2.0]), 0 * two))
    assert "one threshold a population" in said(found, "snntorch 1.0.0", "refuses")
    conv = nir.Conv2d((4, 4), np.ones((2, 1, 3, 1)), (1, 1), (0, 0), (1, 1), 2, two)
    found = findings(tmp_path / "a.nir", conv)
    assert len(said(found, "nir 1.0.8", "refuses")) == 2
    assert said(found, "norse 1.1.0", "refuses")


def test_our_own_files_mean_more_than_a_plain_reader_sees(tmp_path, snndeploy):
    path = tmp_path / "network.nir"
    save(network(), path)
    first, *_ = lint(path)
    assert "soft reset" in first.text
    assert "first" in first.nodes
    code, out, _ = snndeploy("lint", path)
    assert code == 0
    assert "every reader but snndeploy" in out
    code, out, _ = snndeploy("lint", path, "--json")
    assert code == 0
    assert {row["effect"] for row in json.loads(out)} == {"changes", "drops", "refuses"}


def test_nothing_to_say(tmp_path, snndeploy):
    path = tmp_path / "a.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.Affine(np.ones((1, 1)), ONE)))
    assert lint(path) == ()
    assert "take it as NIR says" in snndeploy("lint", path)[1]
    with pytest.raises(FileFormatError, match="no such file"):
        lint(tmp_path / "nowhere.nir")
