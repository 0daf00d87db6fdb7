"""Lava has the judge's spikes; whatever goes wrong, it says so and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lava_jobs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks

from snndeploy.errors import BackendMissingError, DoesNotFitError, InputError, WorkerError
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.lava.backend import Lava, run_job
from snndeploy_backends.lava.worker.job import Job
from snndeploy_backends.reference.judge import Judge

MISSING = Lava().status().missing
pytestmark = [pytest.mark.lava, pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")]
needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")

PATIENCE = 60.0


@settings(max_examples=6, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_lava_has_the_spikes_of_the_judge(network, seed):
    assert_equal_to_judge(network, grid_inputs(network, 3, seed), 12)


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_branches_of_unlike_depth_meet_at_the_right_step(mode):
    network = lava_jobs.skip_network(mode)
    inputs = grid_inputs(network, 4, 1)
    trace = assert_equal_to_judge(network, inputs, 14)
    assert all(events.any() for events in trace.events.values())


def test_samples_do_not_leak_into_each_other():
    network = lava_jobs.skip_network()
    inputs = grid_inputs(network, 3, 2)
    program = Program(network)
    together = simulate(Lava(), program, inputs, steps=5)  # too few steps to settle
    alone = simulate(Lava(), program, inputs[2:], steps=5)
    together[2:].assert_same_spikes(alone)


def test_no_samples_and_too_many_steps():
    program = Program(lava_jobs.tiny_network())
    session = Lava().open(program, np.zeros((0, 2), np.int64), 2)
    assert session.step().logits.shape == (0, 1)
    session.step()
    with pytest.raises(InputError, match="only 2 steps"):
        session.step()
    session.close()
    session.close()


@needs_proc
def test_a_run_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with watched(lambda _: None) as session:
        simulate(Lava(), Program(lava_jobs.tiny_network()), np.full((50, 2), 50), steps=200)
    session.assert_gone()
    assert not list(tmp_path.iterdir())


def test_overflow_names_the_layer_and_step(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = Program(lava_jobs.tiny_network())
    inputs = np.array([[0, 0], [100, 100]])
    started = time.monotonic()
    with pytest.raises(DoesNotFitError, match=r"layer 'n', step 1, sample 1: .* 14-bit word"):
        run_job(program, Job(program.network, inputs, 5000, state_bits=14))
    assert time.monotonic() - started < PATIENCE
    assert not list(tmp_path.iterdir())


def test_a_worker_that_fails_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = Program(lava_jobs.tiny_network())
    inputs = np.zeros((1, 3), np.int64)  # too wide: the input process cannot send it
    with pytest.raises(WorkerError):
        run_job(program, Job(program.network, inputs, 5, state_bits=24))
    assert not list(tmp_path.iterdir())


@needs_proc
@pytest.mark.parametrize("whom", ["main", "layer"])
def test_a_killed_process_is_an_error(whom, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def kill(session: WorkerSession) -> None:
        # Lava starts the layers' processes one after the other, then its service.
        os.kill(session.id if whom == "main" else session.members()[-2], signal.SIGKILL)

    expected = (
        "ended at (the first )?step"
        if whom == "main"
        else r"process of layer '\w+' died at (the first )?step"
    )
    with watched(kill) as session, pytest.raises(WorkerError, match=expected) as caught:
        lava_jobs.run_for_minutes()
    assert "killed by signal 9" in str(caught.value)
    session.assert_gone()
    assert not list(tmp_path.iterdir())


@needs_proc
@pytest.mark.parametrize("whom", ["nobody", "main", "layer"])
def test_time_runs_out(whom, tmp_path, monkeypatch):
    """With nobody stopped, or with a process that neither works nor ends."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SNNDEPLOY_LAVA_TIMEOUT", "4")

    def stop(session: WorkerSession) -> None:
        if whom != "nobody":
            os.kill(session.id if whom == "main" else session.members()[-2], signal.SIGSTOP)

    expected = r"ran out of time after 4 s at (the first )?step.*SNNDEPLOY_LAVA_TIMEOUT"
    with watched(stop) as session, pytest.raises(WorkerError, match=expected):
        lava_jobs.run_for_minutes()
    session.assert_gone()
    assert not list(tmp_path.iterdir())


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_worker_ends_with_its_parent(number, tmp_path):
    script = Path(lava_jobs.__file__)
    parent = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        session = WorkerSession(parent.pid)
        parent.send_signal(number)
        parent.wait(PATIENCE)
    finally:
        parent.kill()
        parent.wait()
    session.assert_gone()
    assert not list(tmp_path.iterdir())


def test_status_tells_the_versions():
    status = Lava().status()
    assert status.available
    assert status.versions["lava-nc"] == "0.10.0"
    assert status.versions["numpy"].startswith("1.")


def test_installing_what_is_there_only_checks_it():
    said: list[str] = []
    Lava().install(said.append)
    assert said[-1] == "complete"


def test_open_without_an_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SNNDEPLOY_LAVA_ENV", str(tmp_path / "none"))
    with pytest.raises(BackendMissingError, match="snndeploy backends install lava"):
        Lava().open(Program(lava_jobs.tiny_network()), np.zeros((1, 2), np.int64), 1)


def assert_equal_to_judge(network, inputs, steps):
    program = Program(network)
    judge = simulate(Judge(), program, inputs, steps=steps)
    trace = simulate(Lava(), program, inputs, steps=steps)
    judge.assert_same_spikes(trace)
    np.testing.assert_array_equal(judge.stop_steps, trace.stop_steps)
    return trace


class WorkerSession:
    """The session of the worker that `parent` has started, once its run is under way."""

    def __init__(self, parent: int) -> None:
        deadline = time.monotonic() + PATIENCE
        processes = 7  # main, memory manager, resource tracker, three layers, service
        while time.monotonic() < deadline:
            workers = [p for p, up, _ in _processes() if up == parent and _is_worker(p)]
            if workers:
                self.id = workers[0]
                if len(self.members()) >= processes and _steps_are_recorded(self.id):
                    break
            time.sleep(0.01)
        else:
            raise TimeoutError("no worker came up")
        maps = Path(f"/proc/{self.id}/maps").read_text().split()
        self.shared = {Path(word) for word in maps if word.startswith("/dev/shm/psm_")}

    def members(self) -> list[int]:
        return sorted(pid for pid, _, session in _processes() if session == self.id)

    def assert_gone(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.members() or any(path.exists() for path in self.shared):
            assert time.monotonic() < deadline, (self.members(), self.shared)
            time.sleep(0.02)
        assert self.shared


@contextlib.contextmanager
def watched(act: Callable[[WorkerSession], None]):
    """Find the worker that the body starts, and act on it; yields its session."""

    class Later:
        def assert_gone(self) -> None:
            future.result(PATIENCE).assert_gone()

    def find() -> WorkerSession:
        session = WorkerSession(os.getpid())
        act(session)
        return session

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(find)
        yield Later()


def _processes() -> list[tuple[int, int, int]]:
    """(pid, parent, session) of everything but zombies."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _, session, *_ = entry.read_text().rpartition(")")[2].split()
            if state not in "ZX":
                found.append((int(entry.parent.name), int(parent), int(session)))
    return found


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"worker/main.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _steps_are_recorded(pid: int) -> bool:
    """Whether the run is under way: the last layer's record holds more than zeros."""
    with contextlib.suppress(OSError, IndexError):
        folder = Path(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2].decode())
        return bool(np.load(folder / "layer_2.npy", mmap_mode="r")[0, :5].any())
    return False
