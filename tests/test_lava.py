"""Lava has the judge's spikes; whatever goes wrong, it says so and leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import lava_jobs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import grid_inputs, integer_networks

from snndeploy.errors import BackendMissingError, DoesNotFitError, InputError, WorkerError
from snndeploy.hardware import hardware
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.lava import backend as lava_backend
from snndeploy_backends.lava.backend import Lava
from snndeploy_backends.lava.limits import pairs_signs
from snndeploy_backends.lava.supervisor import Limits
from snndeploy_backends.lava.worker.frames import Frame
from snndeploy_backends.reference.judge import Judge

MISSING = Lava().status().missing
pytestmark = [pytest.mark.lava, pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")]
needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no /proc")

PATIENCE = 60.0


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where the workers' folders lie; empty in the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert not list(tmp_path.iterdir())


@settings(max_examples=6, deadline=None)
@given(integer_networks(), st.integers(0, 2**32 - 1))
def test_lava_has_the_spikes_of_the_judge(network, seed):
    assert_equal_to_judge(Program(network), grid_inputs(network, 3, seed), 12)


@pytest.mark.parametrize("mode", ["exact", "rate"])
def test_branches_of_unlike_depth_meet_at_the_right_step(mode):
    network = lava_jobs.skip_network(mode)
    trace = assert_equal_to_judge(Program(network), grid_inputs(network, 4, 1), 14)
    assert all(events.any() for events in trace.events.values())


def test_each_sign_has_a_channel_where_spikes_have_no_sign():
    network = lava_jobs.skip_network("exact")
    program = Program(network, hardware("loihi1"))
    assert pairs_signs(program)
    trace = assert_equal_to_judge(program, grid_inputs(network, 4, 1), 14)
    assert any((spikes < 0).any() for spikes in trace.spikes.values())
    assert channels(program) == 2 * channels(Program(network)) - 2  # two carry the input


def test_samples_do_not_leak_into_each_other():
    network = lava_jobs.skip_network()
    inputs = grid_inputs(network, 3, 2)
    program = Program(network)
    together = simulate(Lava(), program, inputs, steps=5)  # too few steps to settle
    alone = simulate(Lava(), program, inputs[2:], steps=5)
    together[2:].assert_same_spikes(alone)


def test_many_workers_have_the_spikes_of_one_in_order():
    network = lava_jobs.skip_network()
    inputs, program = grid_inputs(network, 20, 3), Program(network)
    session = Lava(workers=3).open(program, inputs, 5)
    assert len(session.workers) == 3
    session.close()
    judge = simulate(Judge(), program, inputs, steps=14)
    judge.assert_same_spikes(simulate(Lava(workers=3), program, inputs, steps=14))


def test_a_controller_stops_samples_on_lava_as_on_the_judge():
    network = lava_jobs.skip_network()
    inputs, program = grid_inputs(network, 20, 4), Program(network)
    policy = lava_jobs.EveryThird()
    judge = simulate(Judge(), program, inputs, steps=14, controller=policy)
    trace = simulate(Lava(workers=2), program, inputs, steps=14, controller=policy)
    judge.assert_same_spikes(trace)
    np.testing.assert_array_equal(judge.stop_steps, trace.stop_steps)
    assert len(set(trace.stop_steps.tolist())) > 1


def test_spikes_come_when_they_are_asked_for():
    session = lava_jobs.opened()
    first, second = session.step(), session.step()
    assert first.events is not None
    with pytest.raises(InputError, match="before the next step"):
        first.spikes["n"]
    assert not session.asked
    spikes = second.spikes["n"]
    assert spikes.shape == (3, 2)
    third = session.step()
    session.step()
    assert third.spikes["n"].shape == (3, 2)  # once asked for, they come with each step
    session.close()


def test_spikes_that_were_not_asked_for_are_gone_after_the_end():
    session = lava_jobs.opened()
    step = session.step()
    session.close()
    with pytest.raises(InputError, match="before the end"):
        step.spikes["n"]


def test_no_samples_and_too_many_steps():
    program = Program(lava_jobs.tiny_network())
    session = Lava().open(program, np.zeros((0, 2), np.int64), 2)
    step = session.step()
    assert step.logits.shape == (0, 1)
    assert step.spikes["n"].shape == (0, 2)
    session.step()
    with pytest.raises(InputError, match="only 2 steps"):
        session.step()
    session.close()
    session.close()


@pytest.mark.usefixtures("folders")
@needs_proc
def test_runs_leave_nothing_behind():
    program, inputs = Program(lava_jobs.tiny_network()), np.full((20, 2), 50)
    simulate(Lava(workers=2), program, inputs, steps=20)
    before = leavings()
    for _ in range(3):
        simulate(Lava(workers=2), program, inputs, steps=20)
    assert leavings() == before


@pytest.mark.usefixtures("folders")
@needs_proc
def test_a_session_that_is_forgotten_ends():
    session = lava_jobs.opened()
    seen = Seen(session)
    del session
    gc.collect()
    seen.assert_gone()


@pytest.mark.usefixtures("folders")
def test_overflow_names_the_layer_step_and_sample(monkeypatch):
    monkeypatch.setattr(lava_backend, "check_fits", lambda *_: None)
    limits = hardware("loihi1").limits.model_copy(update={"state_bits": 14})
    profile = hardware("loihi1").model_copy(update={"limits": limits})
    program = Program(lava_jobs.tiny_network(), profile)
    inputs = np.zeros((20, 2), np.int64)
    inputs[13] = 100
    with pytest.raises(DoesNotFitError, match=r"layer 'n', step 1, sample 13: .* 14-bit word"):
        simulate(Lava(workers=2), program, inputs, steps=50)


@pytest.mark.usefixtures("folders")
def test_a_worker_that_fails_is_quoted():
    session = lava_jobs.opened()
    session.lanes[0].worker.post(Frame("dance"))
    with pytest.raises(WorkerError, match="an unknown request 'dance'"):
        session.step()
    assert not session.workers


@pytest.mark.usefixtures("folders")
@needs_proc
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("whom", ["main", "layer"])
def test_a_killed_process_is_an_error_and_ends_all(whom, workers):
    session = lava_jobs.opened(8 * workers, workers=workers)
    seen = Seen(session)
    os.kill(seen.process(whom), signal.SIGKILL)
    where = r"at (the first )?step"
    expected = f"ended {where}" if whom == "main" else rf"process of layer '\w+' died {where}"
    with pytest.raises(WorkerError, match=expected) as caught:
        lava_jobs.run_for_minutes(session)
    assert "killed by signal 9" in str(caught.value)
    seen.assert_gone()


@pytest.mark.usefixtures("folders")
@needs_proc
@pytest.mark.parametrize("whom", ["nobody", "main", "layer"])
def test_time_runs_out(whom):
    """With nobody stopped, or with a process that neither works nor ends."""
    session = lava_jobs.opened()
    session.limits = Limits(4.0, 1 << 40)  # not before: on a busy machine the start takes longer
    seen = Seen(session)
    if whom != "nobody":
        os.kill(seen.process(whom), signal.SIGSTOP)
    expected = r"ran out of time after 4 s at (the first )?step.*SNNDEPLOY_LAVA_TIMEOUT"
    with pytest.raises(WorkerError, match=expected):
        lava_jobs.run_for_minutes(session)
    seen.assert_gone()


@pytest.mark.usefixtures("folders")
@needs_proc
def test_more_memory_than_allowed():
    with pytest.raises(WorkerError, match=r"limit is 5 MB.*SNNDEPLOY_LAVA_MEMORY_BYTES"):
        lava_jobs.run_for_minutes(lava_jobs.opened(memory_bytes=5_000_000))


@pytest.mark.usefixtures("folders")
@needs_proc
def test_an_interrupt_ends_the_workers(monkeypatch):
    monkeypatch.setattr(lava_backend, "check_fits", lambda *_: None)  # of the many steps
    rate = replace(lava_jobs.tiny_network(), mode="rate")  # which goes on for as many steps
    seen: list[Seen] = []
    ended = threading.Event()

    def interrupt():
        # An interrupt that arrives in a destructor is lost: then another.
        wait = 0.5
        while not ended.wait(wait):
            os.kill(os.getpid(), signal.SIGINT)
            wait = 5.0

    class Watched(Lava):
        def open(self, program, inputs, steps):
            session = super().open(program, inputs, steps)
            session.step()
            seen.append(Seen(session))
            threading.Thread(target=interrupt, daemon=True).start()
            return session

    with pytest.raises(KeyboardInterrupt):
        simulate(Watched(), Program(rate), np.full((3, 2), 1), steps=100_000, record=False)
    ended.set()
    seen[0].assert_gone()


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_worker_ends_with_its_parent(number, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, lava_jobs.__file__],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    try:
        assert parent.stdout.readline() == b"running\n"
        seen = Seen(sessions={s for _, up, s in processes() if up == parent.pid})
        parent.send_signal(number)
        parent.wait(PATIENCE)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    seen.assert_gone()
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


def channels(program) -> int:
    """How many Lava channels carry the messages of a program."""
    session = Lava().open(program, np.zeros((1, *program.network.input.shape), np.int64), 1)
    session.close()
    return session.channels


def assert_equal_to_judge(program, inputs, steps):
    judge = simulate(Judge(), program, inputs, steps=steps)
    trace = simulate(Lava(), program, inputs, steps=steps)
    judge.assert_same_spikes(trace)
    np.testing.assert_array_equal(judge.stop_steps, trace.stop_steps)
    return trace


class Seen:
    """The processes and shared memory of a run, to look for later."""

    def __init__(self, session=None, sessions=None) -> None:
        self.sessions = sessions or {worker.session.id for worker in session.workers}
        assert self.sessions
        words: list[str] = []
        for pid in self.members():
            words += Path(f"/proc/{pid}/maps").read_text().split()
        self.shared = {Path(word) for word in words if word.startswith("/dev/shm/psm_")}
        assert self.shared

    def members(self) -> list[int]:
        return sorted(pid for pid, _, session in processes() if session in self.sessions)

    def process(self, whom: str) -> int:
        """The worker's main process, or that of a layer, in the last session."""
        last = max(self.sessions)
        if whom == "main":
            return last
        # Lava starts the layers' processes one after the other, then its service.
        return [pid for pid, _, session in processes() if session == last][-2]

    def assert_gone(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.members() or any(path.exists() for path in self.shared):
            assert time.monotonic() < deadline, (self.members(), self.shared)
            time.sleep(0.02)


def processes() -> list[tuple[int, int, int]]:
    """(pid, parent, session) of everything but zombies, ascending."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _, session, *_ = entry.read_text().rpartition(")")[2].split()
            if state not in "ZX":
                found.append((int(entry.parent.name), int(parent), int(session)))
    return sorted(found)


def leavings() -> tuple[int, int]:
    """Open handles and children of this process."""
    gc.collect()
    children = [pid for pid, parent, _ in processes() if parent == os.getpid()]
    return len(list(Path("/proc/self/fd").iterdir())), len(children)
