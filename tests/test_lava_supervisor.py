"""Workers that misbehave: interpreters that only pretend, so that no Lava is needed."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import lava_jobs
import numpy as np
import pytest

from snndeploy.errors import InputError, WorkerError
from snndeploy.program import Program
from snndeploy_backends.lava import limits, sessions, supervisor
from snndeploy_backends.lava.backend import Lava
from snndeploy_backends.lava.settings import Settings
from snndeploy_backends.lava.streaming import LavaSession

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX scripts")

READY = rb'{"kind": "ready", "processes": [], "channels": 1, "arrays": []}'
ALIVE = rb'{"kind": "alive", "steps": 7, "arrays": []}'
FAILED = (
    rb'{"kind": "failed", "arrays": [], "failure": '
    rb'{"kind": "crash", "problem": "no luck", "where": "layer n", "remedy": "none"}}'
)


def printed(head: bytes, version: int = 2) -> str:
    """A shell command that sends a frame."""
    data = b"snnL" + version.to_bytes(2, "big") + len(head).to_bytes(4, "big") + bytes(8) + head
    return "printf '" + "".join(f"\\{byte:03o}" for byte in data) + "'"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens a session whose worker is a shell script; nothing is left of it afterwards."""
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    monkeypatch.setattr(sessions, "TERM_SECONDS", 0.3)
    monkeypatch.setattr(supervisor, "FAREWELL_SECONDS", 0.3)

    def open_session(*lines: str, samples: int = 1, **options) -> LavaSession:
        script = tmp_path / "python"
        script.write_text("\n".join(["#!/bin/sh", f"echo $$ >> {tmp_path}/pids", *lines, ""]))
        script.chmod(0o755)
        settings = Settings.of(
            options.get("workers", 1), options.get("memory_bytes"), options.get("timeout_s", 30)
        )
        program = Program(lava_jobs.tiny_network())
        return LavaSession(program, np.zeros((samples, 2), np.int64), 9, settings, script)

    yield open_session
    assert not list(folders.iterdir())
    for pid in (tmp_path / "pids").read_text().split():
        assert not Path(f"/proc/{pid}").exists()


def test_an_interpreter_that_cannot_start(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program, settings = Program(lava_jobs.tiny_network()), Settings(1, 1 << 30, None)
    with pytest.raises(WorkerError, match="cannot be started"):
        LavaSession(program, np.zeros((1, 2), np.int64), 9, settings, tmp_path / "none")
    assert not list(tmp_path.iterdir())


def test_the_last_lines_of_a_worker_that_ends_are_quoted(opened):
    with pytest.raises(WorkerError, match=r"(?s)while starting: exit status 3.*ImportError: lava"):
        opened("echo ImportError: lava >&2", "exit 3")


def test_another_version_of_the_protocol_is_refused(opened):
    with pytest.raises(WorkerError, match="protocol 3, expected 2"):
        opened(printed(READY, version=3), "exec sleep 60")


def test_what_is_no_protocol_is_refused(opened):
    with pytest.raises(WorkerError, match="something else, expected 2"):
        opened("echo Segmentation fault, core dumped", "exec sleep 60")


def test_what_a_worker_says_before_it_ends_is_heard(opened):
    with pytest.raises(WorkerError, match="layer n: no luck"):
        opened(printed(FAILED), "exit 1")


def test_a_worker_without_a_beat_hangs(opened, monkeypatch):
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 0.5)
    session = opened(printed(READY), printed(ALIVE), "exec sleep 60")
    with pytest.raises(WorkerError, match=r"not a beat for 0 s at (the first step|step 7)"):
        session.step()


def test_a_stop_of_this_process_is_not_the_workers_time(opened, monkeypatch):
    """An hour passes between any two looks at the clock; workers have a second of it."""
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 5.5)
    hours = iter(range(0, 10**9, 3600))
    session = opened(printed(READY), "exec sleep 60", timeout_s=None)
    clock = SimpleNamespace(monotonic=lambda: float(next(hours)), sleep=time.sleep)
    monkeypatch.setattr(supervisor, "time", clock)
    with pytest.raises(WorkerError, match="not a beat for 6 s"):
        session.step()
    assert session.limits.allowed - session.limits.seconds == 5.0


def test_a_worker_that_beats_and_does_nothing_runs_out_of_time(opened):
    session = opened(
        printed(READY), f"while true; do {printed(ALIVE)}; sleep 0.1; done", timeout_s=1.0
    )
    with pytest.raises(WorkerError, match="ran out of time after 1 s at step 7"):
        session.step()


@pytest.mark.parametrize("ignored", ["TERM", "TERM HUP INT"])
def test_a_worker_that_does_not_want_to_end_is_killed(opened, ignored):
    session = opened(f"trap '' {ignored}", printed(READY), "while true; do sleep 1; done")
    started = time.monotonic()
    session.close()
    session.close()
    assert time.monotonic() - started < 20


def test_one_failing_worker_ends_all(opened, tmp_path):
    """The first one to take the token fails, the other would go on."""
    (tmp_path / "token").touch()
    with pytest.raises(WorkerError, match="no luck"):
        opened(
            f"if rm {tmp_path}/token 2>/dev/null; then {printed(FAILED)}; fi",
            "exec sleep 60",
            samples=16,
            workers=2,
        )
    assert len((tmp_path / "pids").read_text().split()) == 2


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_the_memory_of_all_workers_is_watched(opened):
    with pytest.raises(WorkerError, match=r"limit is 0 MB for 2 workers.*LAVA_MEMORY_BYTES"):
        opened("exec sleep 60", samples=16, workers=2, memory_bytes=1000)


def test_what_the_shared_memory_cannot_hold(monkeypatch):
    program = Program(lava_jobs.tiny_network())
    needed = limits.channel_bytes(program)
    monkeypatch.setattr(limits, "free_shared_memory_bytes", lambda: 10 * needed)
    assert Lava(memory_bytes=1 << 30).most_samples(program) == 8
    assert Lava(memory_bytes=1).most_samples(program) == 1
    monkeypatch.setattr("snndeploy_backends.lava.streaming.free_shared_memory_bytes", lambda: 1)
    with pytest.raises(InputError, match=r"3 samples, /dev/shm has 0 MB left"):
        settings = Settings(1, 1 << 30, None)
        LavaSession(program, np.zeros((3, 2), np.int64), 9, settings, Path("none"))
