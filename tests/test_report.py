"""The report: one file that holds itself together, whatever is known about the run."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from strategies import grid_inputs

from snndeploy import units
from snndeploy.cost import estimate_ann, estimate_counts
from snndeploy.cost.estimate import Estimate, Term
from snndeploy.cost.quantity import ZERO, Quantity
from snndeploy.errors import SnnDeployError
from snndeploy.hardware import hardware
from snndeploy.network import Network
from snndeploy.nodes import Conv2d, Flatten, Grid, Input, Linear, MaxPool2d, Neuron, Output
from snndeploy.passes.partition import place
from snndeploy.program import Program
from snndeploy.report import ExitSummary, ReportData, energy, report, tables
from snndeploy.report.choices import CurvePoint, choices_of
from snndeploy.report.page import render, save
from snndeploy.simulate import simulate
from snndeploy.trace import Divergence
from snndeploy.verify import BackendResult
from snndeploy_backends.reference.engine import Reference

SECTIONS = (
    "run", "exactness", "accuracy", "exit", "spikes", "operations", "backends", "energy",
    "provenance",
)  # fmt: skip
HOSTILE = "<script>alert('x')</script> & $\\frac"


@pytest.fixture(scope="module")
def program() -> Program:
    rng = np.random.default_rng(1)
    theta = np.array([150, 180, 210])
    nodes = (
        Input("x", (1, 6, 6), Grid(1 / 16, 0, 16)),
        Conv2d("conv", rng.integers(-20, 40, (3, 1, 3, 3)), padding=(1, 1)),
        Neuron("relu", theta, theta // 2, np.array([9, -9, 0]), 3, 0.5),
        MaxPool2d("pool", (2, 2), (2, 2)),
        Flatten("flat"),
        Linear("dense", rng.integers(-20, 20, (4, 27))),
        Output("out", np.zeros(4, np.int64), 0.1),
    )
    edges = tuple((a.name, b.name) for a, b in pairwise(nodes))
    return Program(Network("tiny", nodes, edges, "exact", 3, ("quantize{weight-bits=8}",)))


@pytest.fixture(scope="module")
def minimal(program) -> ReportData:
    inputs = grid_inputs(program.network, 12, 0)
    return ReportData(program, simulate(Reference(), program, inputs))


@pytest.fixture(scope="module")
def full(minimal) -> ReportData:
    labels = np.arange(12) % 4
    price = Quantity.spread(20.0, 24.0, 36.0)
    terms = (
        Term("relu", "synop", 900.0, price.times(900), "derived", "A paper, https://example.org/1"),
        Term("relu", "update_active", 40.0, price.times(40), "assumed", "another paper"),
        Term("out", "synop", 100.0, price.times(100), "derived", "A paper, https://example.org/1"),
        Term("chip", "barrier", 6.0, price.times(6), "measured", "another paper"),
    )
    estimate = Estimate(
        "chip",
        "A Chip",
        "chip",
        "snn",
        12,
        terms,
        price.times(500),
        Quantity.spread(1.0, 2.0, 3.0),
        5,
        2,
        1,
    )
    mac = (Term("relu", "mac", 972.0, price.times(50), "derived", "a third paper"),)
    dense = Estimate("digital", "int8 ANN, dense", "core", "ann", 12, mac, None, None)
    accuracy = minimal.trace.accuracy(labels)
    stops = np.minimum(minimal.trace.stop_steps, 2 + np.arange(12) % 2)
    return replace(
        minimal,
        title="A full report",
        labels=labels,
        accuracies={"float ANN": 0.5, "integer quantized ANN": accuracy, "spiking, settled": 0.25},
        settle_steps=minimal.trace.stop_steps,
        exact=True,
        certificate_lines=("All neurons hold the same integers.",),
        backends=(
            BackendResult("reference", {"torch": "2"}, 12, accuracy, None, 0.01),
            BackendResult("other", {"other": "1"}, 12, accuracy, None, 0.5, "slower"),
        ),
        exit=ExitSummary("top-two{gap=9}", stops, 0.25, 0.25, float(stops.mean()), 0.7, 12),
        estimate=estimate,
        baselines=(dense, replace(dense, title="int8 ANN, zero-skipping")),
        provenance=(("data", "random"),),
        choices=choices_of(None, minimal.trace),
    )


class _Reader(HTMLParser):
    """Collects tags and checks that they nest."""

    void = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag


def test_every_section_is_there_in_order(full):
    found = [a["id"] for tag, a in _Reader(render(full)).tags if tag == "section"]
    assert found == list(SECTIONS)


def test_nothing_is_fetched_and_only_the_slider_runs(full):
    text = render(full)
    tags = _Reader(text).tags
    assert not {tag for tag, _ in tags} & {"link", "img", "iframe", "object"}
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "<script" not in render(replace(full, choices=()))
    for _, attributes in tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src", "xlink:href", "action"):
            assert attributes.get(name, "#").startswith("#")
    without_citations = text.replace("https://example.org/1", "")
    assert not re.search(r"https?://|@import|url\((?!#)", without_citations)
    assert "default-src 'none'" in text
    assert len(text.encode()) < 3_000_000


def test_references_inside_the_page_resolve_and_ids_are_unique(full):
    text = render(full)
    ids = [a["id"] for _, a in _Reader(text).tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([\w.-]+)', text)) <= set(ids)


def test_every_chart_has_words_and_takes_its_colours_from_the_page(full):
    text = render(full)
    charts = [a for tag, a in _Reader(text).tags if tag == "svg"]
    assert len(charts) == 11
    assert all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in charts)
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.S))
    assert re.findall(r"#[0-9a-f]{6}\b", drawings) == []
    used = set(re.findall(r"var\((--\w+)\)", text))
    assert used <= set(re.findall(r"(--\w+):", text))


def test_names_are_escaped(full):
    hostile = replace(
        full,
        title=HOSTILE,
        program=Program(replace(full.program.network, name=HOSTILE, history=(HOSTILE,))),
        accuracies={HOSTILE: 0.5},
        certificate_lines=(HOSTILE,),
        backends=(BackendResult(HOSTILE, {HOSTILE: HOSTILE}, 1, None, None, 0.0, HOSTILE),),
        estimate=replace(full.estimate, title=HOSTILE, notes=(HOSTILE,)),
        baselines=(replace(full.baselines[0], title=HOSTILE),),
        provenance=((HOSTILE, HOSTILE),),
        choices=(replace(full.choices[0], setting=HOSTILE), *full.choices[1:]),
        curves={HOSTILE: (CurvePoint(1.0, 2.0, 0.5), CurvePoint(2.0, 2.0, 0.6))},
    )
    text = render(hostile)
    assert text.count("<script") == 1
    assert "&lt;script&gt;" in text
    _Reader(text)


def test_headlines_say_what_is_known(full, minimal):
    tiles = {tile.label: tile for tile in full.summary}
    assert tiles["Exactness"].value == "Exact"
    assert tiles["Backends"].value == "Agree"
    assert tiles["Energy an inference"].value == "37.1 nJ"
    assert "weakest constant: assumed" in tiles["Energy an inference"].hint
    assert [tile.label for tile in minimal.summary] == ["Exactness", "Mean steps"]
    assert minimal.summary[0].value == "Not checked"


def test_a_missing_price_means_no_total(full):
    unpriced = Term("chip", "io_byte", 64.0, None)
    estimate = replace(full.estimate, terms=(*full.estimate.terms, unpriced))
    data = replace(full, estimate=estimate)
    text = render(data)
    assert "No total" in text
    assert "byte between host and chip" in text
    assert "cannot be compared" in text
    assert next(t for t in data.summary if t.label.startswith("Energy")).value == "No total"


def test_a_difference_between_backends_is_not_hidden(full):
    place = Divergence("relu", 2, 0, (1, 0, 0), 1, 0)
    row = BackendResult("odd", {}, 12, 0.1, place, 1.0)
    data = replace(full, backends=(*full.backends, row), exact=False)
    text = render(data)
    assert "✕ Differ" in text
    assert "✕ Not exact" in text
    assert "✓ Agree" not in text
    assert "first at layer &#39;relu&#39;, neuron (1, 0, 0), step 2" in text


def test_the_reference_is_no_verdict_on_itself(full):
    reference, other = tables.backend_table(full.backends).rows
    assert reference[4] == "reference"
    assert other[4] == "✓\N{NO-BREAK SPACE}equal"
    alone = replace(full, backends=full.backends[:1])
    assert alone.backends_agree is None
    assert "No backend's spikes were compared" in render(alone)


def test_minimal_data_renders(minimal):
    text = render(minimal)
    found = [a["id"] for tag, a in _Reader(text).tags if tag == "section"]
    assert found == ["run", "exactness", "spikes", "operations", "provenance"]
    assert "quantize{weight-bits=8}" in text
    assert minimal.program.network.hash in text


def test_a_run_without_recorded_spikes_renders(program):
    inputs = grid_inputs(program.network, 3, 0)
    trace = simulate(Reference(), program, inputs, record=False)
    assert "did not record" in render(ReportData(program, trace))


def test_a_silent_run_renders(program):
    trace = simulate(Reference(), program, np.zeros((1, 1, 6, 6), np.int64), steps=1)
    settled = trace.stop_steps
    text = render(ReportData(program, trace, labels=np.zeros(1, np.int64), settle_steps=settled))
    found = [a["id"] for tag, a in _Reader(text).tags if tag == "section"]
    assert found == ["run", "exactness", "accuracy", "spikes", "operations", "provenance"]
    assert "Raster of sample 0: 0 spikes in 1 steps" in text
    assert "100.0 % of the neurons stay silent" in text


def test_rendering_twice_gives_the_same_bytes(full):
    assert render(full) == render(full)


def test_save_replaces_the_file_in_one_piece(full, tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    assert save(full, target) == target
    assert target.read_text(encoding="utf-8") == render(full)
    before = target.read_bytes()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(SnnDeployError, match="cannot be written"):
        save(replace(full, title="Another"), target)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 J"),
        (1.25e-6, "1.25 µJ"),
        (12.34e-9, "12.3 nJ"),
        (999.6e-9, "1.00 µJ"),
        (372e-12, "372 pJ"),
        (1.0, "1.00 J"),
        (2.5e-20, "0.025 aJ"),
    ],
)
def test_engineering_prefixes(value, text):
    assert units.engineering(value, "J") == text


def test_intervals_write_the_unit_once_where_they_can():
    assert units.energy_range(Quantity.spread(100.0, 120.0, 250.0)) == "100 to 250 pJ"
    assert units.energy_range(Quantity.spread(800.0, 900.0, 2100.0)) == "800 pJ to 2.10 nJ"
    assert units.energy_range(None) == units.NONE
    assert (
        units.energy_in_full(Quantity.spread(183e3, 743e3, 2.2e6)) == "743 nJ (183 nJ to 2.20 µJ)"
    )
    assert units.latency_in_full(Quantity.spread(1.0, 2.0, 3.0)) == "2.00 µs (1.00 to 3.00 µs)"
    assert units.latency_in_full(None, "unknown") == "unknown"


def test_report_of_a_run_says_what_the_run_knows(full, tmp_path):
    made = report(full.program, full.trace, labels=full.labels, exit_trace=full.trace)
    assert made.data.exact is None
    assert made.data.exit.samples == 12
    assert made.save(tmp_path / "run.html").read_text(encoding="utf-8") == made.html


def test_static_energy_that_one_side_leaves_out_is_not_compared(full):
    (found,) = energy.comparisons((full.estimate,), (replace(full.baselines[0], static_pj=ZERO),))
    assert found.basis == "dynamic"


def test_what_another_price_holds_is_said_to_be_inside(full):
    chip = hardware("truenorth")
    found = estimate_counts(chip, {"relu": {"synop": 100.0}})
    assert dict(energy.facts(found))["Static share"] == "inside the all-in price"
    loihi = estimate_counts(hardware("loihi1"), {"relu": {"synop": 9.0, "weight_read": 9.0}})
    rows = {row[0]: row for row in energy.term_table(loihi).rows}
    assert rows["weight read"][2] == "inside"
    assert rows["synaptic operation"][2] == "23.6 to 35.5 pJ"
    assert energy.tornado_table(loihi).rows[0][0] == "energy.synop"
    data = replace(full, estimate=loihi, exit_estimate=None)
    assert "What moves the energy most" in render(data)


def test_break_even_and_the_published_marks(program, minimal):
    placed = place(program.network, hardware("digital_snn_45nm"))
    dense = estimate_ann(program.network, hardware("digital_int8_45nm"))
    lines = energy.break_even(replace(minimal, program=placed), (dense,))
    assert lines[0].startswith("This network: ")
    assert any("spikes a synapse and inference at most" in line for line in lines)
    assert sum(line.startswith("Published: ") for line in lines) == 2
