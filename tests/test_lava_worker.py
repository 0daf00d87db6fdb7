"""The parts of the Lava backend that need no Lava: frames, pipeline, limits, environment."""

from __future__ import annotations

import os
import struct
import time
from dataclasses import replace

import lava_jobs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lava_jobs import EveryThird
from strategies import grid_inputs, integer_networks

from snndeploy.backend import BackendStatus, Step
from snndeploy.errors import (
    BackendError,
    BackendMissingError,
    DataError,
    DoesNotFitError,
    InputError,
    WorkerError,
)
from snndeploy.layers import Projection
from snndeploy.network import Network
from snndeploy.nodes import Linear, Output
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.lava import environment
from snndeploy_backends.lava.backend import Lava, RecordedSession
from snndeploy_backends.lava.limits import check_fits
from snndeploy_backends.lava.settings import Settings, usable_cores
from snndeploy_backends.lava.worker.failures import read_failure, record_failure
from snndeploy_backends.lava.worker.frames import VERSION, Decoder, Frame
from snndeploy_backends.lava.worker.job import Job
from snndeploy_backends.lava.worker.pipeline import PROBE, SPIKES, Pipeline
from snndeploy_backends.lava.worker.populations import CountPool
from snndeploy_backends.lava.worker.projections import CompiledProjection, sources
from snndeploy_backends.reference.judge import Judge


class InProcess:
    """The worker's pipeline, driven here in the order that Lava's channels impose."""

    name, summary, streams = "in-process", "the worker's layers without Lava", True

    def __init__(self, folder=None, state_bits=24):
        self.folder, self.state_bits = folder, state_bits

    def status(self):
        return BackendStatus()

    def open(self, program, inputs, steps):
        job = Job(program.network, len(inputs), inputs.shape[1:], self.state_bits)
        return InSession(job, inputs, self.folder)


class InSession:
    def __init__(self, job, inputs, folder=None):
        self.pipeline = Pipeline(job, folder)
        self.pipeline.advance = self.advance
        self.pipeline.begin(inputs.astype(np.int32), 0)

    def advance(self, steps):
        for _ in range(steps):
            sent = {stage.name: stage.outgoing() for stage in self.pipeline.stages}
            for stage in self.pipeline.stages:
                stage.advance({name: sent[name].copy() for name in sources(stage.layer)})

    def step(self):
        self.pipeline.step()
        found = self.pipeline.results(spikes=True)
        names = [layer.name for layer in self.pipeline.view[1:-1]]
        spikes = {name: found[SPIKES + name].copy() for name in names}
        return Step(found["logits"], spikes, dict(zip(names, found["events"], strict=True)))

    def keep(self, rows):
        self.pipeline.keep(rows)

    def close(self):
        pass


@settings(max_examples=60, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_the_pipeline_is_the_judge_shifted(network, seed):
    program, inputs = Program(network), grid_inputs(network, 3, seed)
    judge = simulate(Judge(), program, inputs, steps=9)
    judge.assert_same_spikes(simulate(InProcess(), program, inputs, steps=9))


@settings(max_examples=20, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_samples_may_stop_at_any_step(network, seed):
    program, inputs, stopper = Program(network), grid_inputs(network, 7, seed), EveryThird()
    judge = simulate(Judge(), program, inputs, steps=9, controller=stopper)
    trace = simulate(InProcess(), program, inputs, steps=9, controller=stopper)
    judge.assert_same_spikes(trace)
    np.testing.assert_array_equal(judge.stop_steps, trace.stop_steps)


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_unlike_branches(mode):
    program = Program(lava_jobs.skip_network(mode))
    assert sorted(p.delay for x in program.layers for p in x.projections)[-3:] == [1, 2, 3]
    inputs = grid_inputs(program.network, 4, 0)
    judge = simulate(Judge(), program, inputs, steps=9)
    judge.assert_same_spikes(simulate(InProcess(), program, inputs, steps=9))


class SlowToStart(InProcess):
    def open(self, program, inputs, steps):
        time.sleep(0.2)
        return super().open(program, inputs, steps)

    def most_samples(self, program):
        return 3


def test_a_trace_tells_the_start_apart_from_the_steps():
    program = Program(lava_jobs.skip_network())
    inputs = grid_inputs(program.network, 7, 0)
    trace = simulate(SlowToStart(), program, inputs, steps=4)
    assert 0.6 <= trace.start_seconds < trace.seconds  # in three batches
    assert trace.batch_steps == 12
    assert trace.seconds_per_step == (trace.seconds - trace.start_seconds) / 12
    assert trace.samples_per_second == 7 / (trace.seconds - trace.start_seconds)


def test_a_recorded_run_is_replayed():
    program = Program(lava_jobs.skip_network())
    inputs = grid_inputs(program.network, 3, 0)
    trace = simulate(Judge(), program, inputs, steps=6)
    session = RecordedSession(trace.logits, trace.spikes)
    session.step()
    session.keep(np.array([True, False, True]))
    step = session.step()
    np.testing.assert_array_equal(step.logits, trace.logits[[0, 2], 1])
    np.testing.assert_array_equal(step.spikes["n2"], trace.spikes["n2"][[0, 2], 1])
    session.close()
    with pytest.raises(InputError, match="steps were asked for"):
        [session.step() for _ in range(9)]


def test_what_has_stopped_is_not_simulated_on():
    program = Program(lava_jobs.skip_network())
    session = InProcess().open(program, grid_inputs(program.network, 4, 0), 9)
    session.step()
    session.keep(np.array([True, False, False, True]))
    session.step()
    for stage in session.pipeline.stages[1:]:
        assert stage.rows.tolist() == [0, 3]
        held = stage.population
        assert len(held.counts if isinstance(held, CountPool) else held.membrane) == 2


def test_a_pipeline_begins_anew():
    program = Program(lava_jobs.skip_network())
    inputs = grid_inputs(program.network, 4, 0)
    session = InProcess().open(program, inputs[:2], 9)
    session.step()
    session.keep(np.array([False, True]))
    session.pipeline.begin(inputs[2:].astype(np.int32), 2)
    expected = Judge().open(program, inputs[2:], 9)
    for _ in range(5):
        ours, theirs = session.step(), expected.step()
        np.testing.assert_array_equal(ours.logits, theirs.logits)
        for name, spikes in theirs.spikes.items():
            np.testing.assert_array_equal(ours.spikes[name], spikes)


@pytest.mark.parametrize("mode", ["exact", "rate"])
@pytest.mark.parametrize("layer", ["n1", "n3", "n4"])
def test_a_probed_layer_has_the_membranes_of_the_judge(layer, mode):
    network = lava_jobs.skip_network(mode)
    inputs = grid_inputs(network, 3, 0)
    session = InSession(Job(network, 3, inputs.shape[1:], 24, probe=layer), inputs)
    judge = Judge().probe(Program(network), inputs, 6, layer)
    for t in range(6):
        step = session.step()
        shown = session.pipeline.results(spikes=False)
        np.testing.assert_array_equal(shown[PROBE + "current"], judge.currents[:, t])
        np.testing.assert_array_equal(shown[PROBE + "before"], judge.membranes[:, t])
        np.testing.assert_array_equal(shown[PROBE + "after"], judge.membranes[:, t + 1])
        np.testing.assert_array_equal(step.spikes[layer], judge.spikes[:, t])


@settings(max_examples=20, deadline=None)
@given(integer_networks())
def test_a_job_survives_the_pipe(network):
    job = Job(network, 2, grid_inputs(network, 2, 0).shape[1:], 24, True, "n2")
    (frame,) = Decoder().feed(b"".join(job.frame().encoded()))
    back = Job.of(frame)
    assert back.network.hash == network.hash
    assert (back.slots, back.sample, back.state_bits) == (2, job.sample, 24)
    assert (back.paired, back.probe) == (True, "n2")


@given(
    st.lists(st.sampled_from(["int8", "int32", "int64", "bool"]), max_size=3),
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(1, 40),
)
def test_frames_survive_a_pipe_that_breaks_them_up(dtypes, shape, size):
    arrays = {f"a{i}": np.ones(shape, dtype) for i, dtype in enumerate(dtypes)}
    data = 2 * b"".join(Frame("step", {"spikes": True}, arrays).encoded())
    decoder, frames = Decoder(), []
    for start in range(0, len(data), size):
        frames += decoder.feed(data[start : start + size])
    assert len(frames) == 2
    for frame in frames:
        assert (frame.kind, frame.details) == ("step", {"spikes": True})
        assert list(frame.arrays) == list(arrays)
        for name, array in arrays.items():
            assert frame.arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(frame.arrays[name], array)


def prefixed(head: bytes, body: bytes = b"", version: int = VERSION, size: int | None = None):
    sizes = len(head), len(body) if size is None else size
    return struct.pack("!4sHIQ", b"snnL", version, *sizes) + head + body


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "something else, expected 2"),
        (prefixed(b"{}", version=3), "protocol 3, expected 2"),
        (prefixed(b"{}", size=1 << 40), "bytes of arrays, at most"),
        (prefixed(b"{"), "malformed"),
        (prefixed(b"[]"), "malformed"),
        (prefixed(b'{"kind": "x", "arrays": [["a", "object", [1]]]}', b"12345678"), "malformed"),
        (prefixed(b'{"kind": "x", "arrays": [["a", "int8", [9]]]}', b"1"), "malformed"),
        (prefixed(b'{"kind": "x", "arrays": [["a", "int8", [-1]]]}', b"1"), "malformed"),
        (prefixed(b'{"kind": "x", "arrays": []}', b"1"), "1 bytes too many"),
        (prefixed(b'{"arrays": []}'), "malformed"),
    ],
)
def test_what_is_no_frame_is_refused(data, problem):
    with pytest.raises(WorkerError, match=problem):
        list(Decoder().feed(data))


def test_the_first_failure_wins(tmp_path):
    assert read_failure(tmp_path) is None
    record_failure(tmp_path, {"problem": "first"})
    record_failure(tmp_path, {"problem": "second"})
    assert read_failure(tmp_path) == {"problem": "first"}


def test_a_failing_layer_stays_silent(tmp_path):
    program = Program(lava_jobs.tiny_network())
    inputs = np.array([[0, 0], [100, 100]])
    session = InProcess(tmp_path, state_bits=14).open(program, inputs, 6)
    assert not any(session.step().spikes["n"].any() for _ in range(6))
    failure = read_failure(tmp_path)
    assert failure is not None
    assert failure["kind"] == "does_not_fit"
    assert failure["where"] == "layer 'n', step 1, sample 1"


@pytest.mark.parametrize("weight", [3, 1 << 20])
def test_sums_are_exact_beyond_float32(weight):
    """One projection stays in float32; the other has sums of which float32 would drop a bit."""
    op = Linear("w", np.array([[weight, 1]]))
    network = lava_jobs.tiny_network()
    projection = CompiledProjection(Projection("x", (op,)), network)
    assert projection.bound == 100 * (weight + 1)
    current = projection(np.array([[99, 1]], np.int32))
    assert current.astype(np.int64).tolist() == [[99 * weight + 1]]
    assert current.dtype == (np.float32 if weight == 3 else np.float64)


def test_settings_come_from_arguments_or_the_environment(monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_WORKERS", "3")
    monkeypatch.setenv("SNNDEPLOY_LAVA_MEMORY_BYTES", "1e9")
    monkeypatch.setenv("SNNDEPLOY_LAVA_TIMEOUT", "2.5")
    assert Settings.of(None, None, None) == Settings(3, 10**9, 2.5)
    assert Settings.of(1, 2, 3) == Settings(1, 2, 3)
    with monkeypatch.context() as patch:
        patch.delenv("SNNDEPLOY_LAVA_WORKERS")
        assert Settings.of(None, 2, 3) == Settings(usable_cores(), 2, 3, samples_per_worker=32)
    for variable, text in (("WORKERS", "1.5"), ("WORKERS", "0"), ("TIMEOUT", "soon")):
        with monkeypatch.context() as patch, pytest.raises(InputError, match=variable):
            patch.setenv(f"SNNDEPLOY_LAVA_{variable}", text)
            Settings.of(None, None, None)
    with pytest.raises(InputError, match="workers"):
        Settings.of(0, None, None)


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
