"""A report's figures: the same in every form, and the same as what they were counted from."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from report_networks import CLASSES, placed_report, small_samples, small_story

import snndeploy as sd
from snndeploy import deploy, units
from snndeploy.control import Policy, oct_steps, stop_steps
from snndeploy.errors import InputError
from snndeploy.measure import count_events
from snndeploy.numerics import BoolArray, Int64Array
from snndeploy.report import FORMS, Report, check_form, energy_figures, exit_figures, figures
from snndeploy.report.data import ReportData
from snndeploy.report.dataset import Dataset
from snndeploy.report.outputs import groups


@pytest.fixture(scope="module")
def data() -> ReportData:
    return placed_report().data


def test_json_and_csv_hold_every_figure_of_every_data_set(data):
    made = json.loads(Report(data).text(".json"))
    rows = list(csv.DictReader(StringIO(Report(data).text(".csv"))))
    sets = [each for found in groups(data).values() for each in found]
    assert len({each.name for each in sets}) == len(sets) > 15
    for each in sets:
        assert made[each.name] == json.loads(json.dumps(each.records()))
        cells = {(int(r["row"]), r["column"]): r["value"] for r in rows if r["table"] == each.name}
        assert cells == {
            (i, name): str(value)
            for i, record in enumerate(each.records())
            for name, value in record.items()
            if value is not None
        }


def test_markdown_has_the_chapters_and_no_markup_of_names(data):
    text = Report(replace(data, title="<b>a|b</b>")).text(".md")
    assert text.startswith("# \\<b\\>a\\|b\\</b\\>\n")
    for chapter in ("Accuracy", "Early exit", "Energy", "Placement", "Constants", "Provenance"):
        assert f"\n## {chapter}\n" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith(" |") for line in tables)
    assert "SANA-FE" in text


def test_the_name_decides_the_form(data, tmp_path):
    made = Report(data)
    for form in FORMS[1:]:
        assert made.save(tmp_path / f"r{form}").read_text("utf-8") == made.text(form)
    with pytest.raises(InputError, match=r"r.pdf.* ends in none of .html, .md, .json, .csv"):
        made.save(tmp_path / "r.pdf")
    assert check_form(tmp_path / "R.HTML") == ".html"


def test_operations_are_the_counts_of_the_run(data):
    found = figures.operations(data)
    counts = count_events(data.program, data.trace)
    assert sum(found.column("snn_synops")) == pytest.approx(counts.total("synop"))
    assert found.records()[0]["ann_macs"] == 3 * (36 * 9 - 4 * 6 * 3 + 4)  # borders left out
    assert found.records()[-1]["ann_macs"] == 12 * CLASSES
    assert sum(found.column("ann_macs_without_zeros")) < sum(found.column("ann_macs"))


def test_energy_over_the_steps_ends_in_the_energy_of_the_run(data):
    found = energy_figures.energy_by_step(data)
    last = max(found.column("step"))
    assert last == data.trace.steps
    ends = sum(energy for step, _, energy in found.rows if step == last)
    assert ends == pytest.approx(data.estimate.energy_pj.nominal)
    sums = [sum(e for s, _, e in found.rows if s == step) for step in range(1, last + 1)]
    assert sums == sorted(sums)


def test_each_samples_energy_and_latency_add_up_to_the_estimates(data):
    found = exit_figures.samples(data)
    settled = exit_figures.sample_costs(data, data.trace, data.estimate)
    assert found.column("energy_pj") == settled.energy_pj.tolist()
    assert np.mean(settled.energy_pj) == pytest.approx(data.estimate.energy_pj.nominal)
    assert np.mean(settled.latency_us) == pytest.approx(data.estimate.latency_us.nominal)
    stopped = exit_figures.sample_costs(data, data.exit_trace, data.exit_estimate)
    assert (stopped.latency_us <= settled.latency_us).all()
    rest = data.exit_estimate.static_pj.nominal / data.exit_estimate.latency_us.nominal
    dynamic = stopped.energy_pj - rest * stopped.latency_us
    assert np.mean(dynamic) == pytest.approx(data.exit_estimate.dynamic_pj.nominal)


def test_the_chosen_setting_is_what_the_policy_did(data):
    (chosen,) = (choice for choice in data.choices if choice.chosen)
    assert np.array_equal(chosen.stop_steps, data.exit_trace.stop_steps)
    found = exit_figures.choices(data)
    (row,) = (each for each in found.records() if each["calibrated"])
    assert row["accuracy"] == data.exit.accuracy
    assert row["mean_steps"] == data.exit.mean_steps
    assert row["energy_pj"] == pytest.approx(data.exit_estimate.energy_pj.nominal)
    assert row["energy_low_pj"] == pytest.approx(data.exit_estimate.energy_pj.low)


def test_every_family_and_the_oracle_are_drawn(data):
    found = exit_figures.policies(data)
    names = set(found.column("policy"))
    families = {"dynamic confidence", "top k gap", "conformal", "fixed step"}
    assert names == {*families, "oracle (OCT)"}
    (bound,) = (each for each in found.records() if each["policy"] == "oracle (OCT)")
    assert bound["mean_steps"] == oct_steps(data.trace, data.labels).mean()
    assert bound["accuracy"] == data.trace.accuracy(data.labels)


def test_what_is_saved_is_counted(data):
    found = exit_figures.saved(data)
    settled, *_, ours = found.records()
    assert ours["spikes"] / settled["spikes"] == pytest.approx(data.exit.spike_ratio)
    assert ours["mean_steps"] == data.exit.mean_steps
    assert settled["energy_pj"] == data.estimate.energy_pj.nominal
    fixed = found.records()[1]
    assert fixed["accuracy"] >= ours["accuracy"]
    assert exit_figures.fixed_match(data) == fixed["mean_steps"]


def test_the_cores_are_those_of_the_placement(data):
    found = energy_figures.cores(data)
    placed = {part.core for part in data.program.placement}
    assert set(found.column("core")) == placed
    assert max(found.column("used_share")) == max(
        use.share for use in data.placed.uses.values() if use.share is not None
    )
    assert sum(found.column("neurons")) == sum(x.neurons for x in data.program.layers[1:])


class Lead:
    """A user's own policy: stops where the best logit leads."""

    def stop(self, logits: Int64Array, step: Int64Array) -> BoolArray:
        """Rows with a lead of more than 200, from the second step."""
        top = np.sort(logits, axis=1)
        found: BoolArray = (top[:, -1] - top[:, -2] > 200) & (step > 1)
        return found


def test_a_policy_of_the_users_own_gets_a_report(data):
    stopped = deploy.run(data.program, data.inputs, exit_policy=Lead())
    made = sd.report(
        data.program, data.trace, labels=data.labels, policy=Lead(), exit_trace=stopped,
        estimate=data.estimate, inputs=data.inputs,
    )  # fmt: skip
    assert "Lead" in made.html
    last = made.data.choices[-1]
    assert last.chosen
    assert np.array_equal(last.stop_steps, stopped.stop_steps)
    assert [c.stop_steps.max() for c in made.data.choices] == list(range(1, data.trace.steps + 1))


def test_what_is_not_known_is_left_out_and_named(data):
    bare = deploy.lower(data.program.network)
    trace = deploy.run(bare, data.inputs, record=False)
    made = sd.report(bare, trace)
    text = made.html
    for reason in ("No labels", "did not record single spikes", "on no chip", "No exit policy"):
        assert any(reason in line for line in made.data.left_out)
        assert reason in text
    assert "exit-slider" in text
    assert json.loads(made.text(".json"))["left_out"] == list(made.data.left_out)
    assert "## Left out" in made.text(".md")
    assert not {"energy_terms", "confusion", "operations"} & set(json.loads(made.text(".json")))


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 8)])
def test_pictures_are_drawn_of_images_only(data, shape):
    from snndeploy.report.exit_charts import pictures  # noqa: PLC0415

    images = np.random.default_rng(0).random((len(data.trace), *shape))
    assert len(pictures(replace(data, inputs=images))) == (2 if shape[0] == 3 else 0)


def test_samples_are_ranked_by_when_they_stop(data):
    steps = data.exit.stop_steps[exit_figures.ranked(data)]
    assert (np.diff(steps) >= 0).all()


def test_a_data_set_writes_units_and_shares():
    found = Dataset.of(
        "t", "T", "what energy_pj latency_us used_share samples",
        [("a", np.float64(1500.0), 2.5, 0.5, np.int64(1234)), ("b", None, None, None, None)],
    )  # fmt: skip
    table = found.table()
    assert table.head == ("what", "energy", "latency", "used share", "samples")
    assert table.rows[0] == ("a", "1.50 nJ", "2.50 µs", "50.00 %", "1,234")
    assert set(table.rows[1][1:]) == {"\N{EN DASH}"}
    assert table.align == "lrrrr"


def test_every_policy_of_the_front_can_be_tried(data):
    story = small_story()
    assert story.policy is not None
    front = {str(point.policy): point.policy for point in story.policy.front}
    tried = {choice.setting: choice.stop_steps for choice in data.choices}
    for name, policy in front.items():
        assert isinstance(policy, Policy)
        assert np.array_equal(tried[name], stop_steps(policy, data.trace))
    assert np.array_equal(tried["run to the end"], data.trace.stop_steps)


def test_one_sample_is_enough(data):
    program = data.program
    few = small_samples(program, 1, 5)
    trace = deploy.run(program, few.x)
    made = sd.report(
        program, trace, labels=few.y, estimate=deploy.estimate(program, trace), inputs=few.x
    )
    assert "<svg" in made.html
    assert json.loads(made.text(".json"))["samples"][0]["sample"] == 0


def test_names_that_look_alike_when_cut_lose_what_they_share():
    names = [
        "model_conv2d_1_Conv2D1_quantize",
        "model_add_1_add_quantize",
        "model_add_add_quantize",
    ]
    assert units.shorten_all([*names, "logits"], 18) == [
        "conv2d_1_Conv2D1",
        "add_1_add",
        "add_add",
        "logits",
    ]
    alike = ["leftmost1rightmost", "logits", "leftmost2rightmost"]
    assert units.shorten_all(alike, 10) == ["1 le…tmost", "logits", "3 le…tmost"]
    assert units.shorten_all(["act1", "a_very_long_name_of_a_layer"], 10) == ["act1", "a_ve…layer"]
