"""The parts of the Lava backend that need no Lava: jobs, pipeline, limits, environment."""

from __future__ import annotations

import os
from dataclasses import replace

import lava_jobs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks

from snndeploy.errors import BackendError, BackendMissingError, DataError, DoesNotFitError
from snndeploy.layers import layers
from snndeploy.network import Network
from snndeploy.nodes import Linear, Output
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.lava import environment
from snndeploy_backends.lava.backend import Lava, RecordedSession
from snndeploy_backends.lava.limits import check_fits
from snndeploy_backends.lava.worker.job import (
    Job,
    read_failure,
    read_job,
    record_failure,
    write_job,
)
from snndeploy_backends.lava.worker.pipeline import Stage, silent_message
from snndeploy_backends.lava.worker.populations import populations
from snndeploy_backends.reference.judge import Judge


class InProcess(Lava):
    """The worker's pipeline, driven here in the order that Lava's channels impose."""

    def open(self, program, inputs, steps):
        records = run_pipeline(Job(program.network, inputs, steps, 24), None)
        return RecordedSession(records.pop(program.layers[-1].name), records)


def run_pipeline(job: Job, folder):
    view = layers(job.network)
    shape = (len(job.inputs), job.steps)
    records = {x.name: np.zeros((*shape, *x.shape), np.int64) for x in view[1:]}
    stages = [
        Stage(population, layer, job, records.get(layer.name), np.zeros(2, np.int64), folder)
        for layer, population in zip(view, populations(job, view), strict=True)
    ]
    sent = {layer.name: silent_message(job.network, layer.name) for layer in view}
    for _ in range(job.physical_steps(view[-1].depth)):
        sent = {
            layer.name: stage.advance([sent[p.source] for p in layer.projections])
            for layer, stage in zip(view, stages, strict=True)
        }
    return {k: v.astype(np.int8) if k != view[-1].name else v for k, v in records.items()}


@settings(max_examples=60, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_the_pipeline_is_the_judge_shifted(network, seed):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, steps=9)
    judge.assert_same_spikes(simulate(InProcess(), program, inputs, steps=9))


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_unlike_branches(mode):
    program = Program(lava_jobs.skip_network(mode))
    assert sorted(p.delay for x in program.layers for p in x.projections)[-3:] == [1, 2, 3]
    inputs = grid_inputs(program.network, 4, 0)
    judge = simulate(Judge(), program, inputs, steps=9)
    judge.assert_same_spikes(simulate(InProcess(), program, inputs, steps=9))


@settings(max_examples=20, deadline=None)
@given(integer_networks())
def test_a_job_survives_the_folder(tmp_path_factory, network):
    folder = tmp_path_factory.mktemp("job")
    job = Job(network, grid_inputs(network, 2, 0), 5, 24)
    write_job(job, folder)
    back = read_job(folder)
    assert back.network.hash == network.hash
    assert (back.steps, back.state_bits) == (5, 24)
    np.testing.assert_array_equal(back.inputs, job.inputs)


def test_another_protocol_is_refused(tmp_path):
    network = lava_jobs.tiny_network()
    write_job(Job(network, np.zeros((1, 2), np.int64), 5, 24), tmp_path)
    file = tmp_path / "job.json"
    file.write_text(file.read_text().replace('"protocol": 1', '"protocol": 2'))
    with pytest.raises(BackendError, match="protocol 2, expected 1"):
        read_job(tmp_path)


def test_the_first_failure_wins(tmp_path):
    assert read_failure(tmp_path) is None
    record_failure(tmp_path, {"problem": "first"})
    record_failure(tmp_path, {"problem": "second"})
    assert read_failure(tmp_path) == {"problem": "first"}


def test_a_failing_layer_stays_silent(tmp_path):
    network = lava_jobs.tiny_network()
    records = run_pipeline(Job(network, np.full((1, 2), 100), 6, state_bits=14), tmp_path)
    assert not records["n"].any()
    failure = read_failure(tmp_path)
    assert failure is not None
    assert failure["kind"] == "does_not_fit"
    assert failure["where"] == "layer 'n', step 1, sample 0"


def test_limits_of_the_words():
    tiny = lava_jobs.tiny_network()
    check_fits(Program(tiny), 10)
    with pytest.raises(DoesNotFitError, match=r"weights of 'w': .* 8-bit word"):
        check_fits(Program(_with(tiny, Linear("w", np.array([[129, 0], [0, 0]])))), 10)
    big = _with(tiny, Output("out", np.array([1 << 23]), 1.0))
    with pytest.raises(DoesNotFitError, match=r"membranes of layer 'out': .* 24-bit word"):
        check_fits(Program(big), 10)


def test_inputs_are_checked(monkeypatch):
    monkeypatch.setattr(environment, "missing", lambda: "")
    program = Program(lava_jobs.tiny_network())
    for wrong in (np.zeros((3, 3), np.int64), np.full((3, 2), 101)):
        with pytest.raises(DataError, match="inputs"):
            Lava().open(program, wrong, 2)


def test_status_without_an_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path / "none"))
    status = Lava().status()
    assert not status.available
    assert status.missing.endswith("run: snndeploy backends install lava")
    assert "\n" not in status.missing


def test_an_environment_that_is_half_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert "incomplete" in Lava().status().missing
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("lava_nc-0.10.0", "numpy-1.26.4"):
        (packages / f"{name}.dist-info").mkdir(parents=True)
    assert Lava().status().available
    (tmp_path / environment.STAMP).write_text("{}")
    assert "another snndeploy" in Lava().status().missing


def test_a_folder_of_the_users_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BackendError, match="not a virtual environment"):
        Lava().install(lambda _: None)
    assert (tmp_path / "thesis.tex").exists()


def test_no_python_fits(monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_PYTHON", "/nowhere/python3.11")
    with pytest.raises(BackendMissingError, match="SNNDEPLOY_LAVA_PYTHON"):
        environment.find_python()


@pytest.mark.skipif(os.name != "posix", reason="POSIX scripts")
def test_pip_is_quoted_when_it_fails(tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\ncase $* in *ensurepip*) echo {environment.PYTHONS[0]};;\n"
                    "*) echo no space left; exit 3;; esac\n")  # fmt: skip
    fake.chmod(0o755)
    monkeypatch.setenv("SNNDEPLOY_LAVA_PYTHON", str(fake))
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path / "env"))
    with pytest.raises(BackendError, match=r"exit status 3:\nno space left"):
        Lava().install(lambda _: None)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["python"]


def _with(network: Network, node) -> Network:
    return replace(network, nodes=tuple(node if n.name == node.name else n for n in network.nodes))
