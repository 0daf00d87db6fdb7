"""Lava's own processes, put together here and by lava-dl's netx, have the judge's spikes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from chains import STEPS, chain_networks
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import fed_by_steps, frames, grid_inputs
from test_stock import chain, neuron

from snndeploy.errors import InputError, UnsupportedModelError, WorkerError
from snndeploy.program import Program
from snndeploy.simulate import simulate
from snndeploy_backends.lava.stock.backend import LavaStock
from snndeploy_backends.reference.engine import Reference
from snndeploy_backends.reference.judge import Judge

MISSING = LavaStock().status().missing
pytestmark = [pytest.mark.lava, pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")]

PATIENCE = 60.0

BUILDERS = ["lava-nc", "lava-dl"]


def agree(network, inputs, builder, steps=STEPS):
    program = Program(network)
    judge = simulate(Judge(), program, inputs, steps=steps)
    stock = simulate(LavaStock(builder), program, inputs, steps=steps)
    judge.assert_same_spikes(stock)
    simulate(Reference(), program, inputs, steps=steps).assert_same_spikes(stock)
    np.testing.assert_array_equal(judge.logits, stock.logits)
    return stock


@pytest.mark.parametrize("builder", BUILDERS)
@settings(max_examples=5, deadline=None)
@given(chain_networks(), st.integers(0, 2**32 - 1))
def test_lava_has_the_spikes_of_the_judge(builder, network, seed):
    agree(network, grid_inputs(network, 3, seed), builder)


@pytest.mark.parametrize("builder", BUILDERS)
def test_biases_wait_for_their_layer_and_samples_do_not_leak(builder):
    """Each layer fires of its bias alone, in a rhythm that a step more or less would shift."""
    network = chain(act=neuron("act", 2, theta=11, bias=16))
    inputs = grid_inputs(network, 4, 0)
    inputs[2] = 0
    trace = agree(network, inputs, builder, steps=7)
    assert trace.spikes["act"][2].any()


@pytest.mark.parametrize("builder", BUILDERS)
def test_input_step_by_step(builder):
    network = fed_by_steps(chain(), 4)
    agree(network, frames(network, 3, 4, 0), builder)


def test_no_samples():
    session = LavaStock().open(Program(chain()), np.zeros((0, 1, 4, 4), np.int64), 2)
    step = session.step()
    assert step.logits.shape == (0, 3)
    assert step.spikes["act"].shape == (0, 2, 4, 4)


def test_what_does_not_fit_is_refused_before_anything_starts():
    with pytest.raises(UnsupportedModelError, match="do not start at 0"):
        network = chain(act=neuron("act", 2, v0=1))
        LavaStock().open(Program(network), grid_inputs(network, 1, 0), 2)


def test_failures_and_time_outs_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    network = chain()
    program, inputs = Program(network), grid_inputs(network, 2, 0)
    with pytest.raises(WorkerError, match=r"exit status 1[\s\S]*KeyError: 'nobody'"):
        LavaStock("nobody").open(program, inputs, 2)
    for seconds in ("0.3", "2.5"):  # before the worker listens for its parent's end, and after
        monkeypatch.setenv("SNNDEPLOY_LAVA_TIMEOUT", seconds)
        with pytest.raises(WorkerError, match=f"ran out of time after {seconds} s"):
            LavaStock().open(program, np.repeat(inputs, 2000, axis=0), 8)
    monkeypatch.setenv("SNNDEPLOY_LAVA_TIMEOUT", "soon")
    with pytest.raises(InputError, match="'soon' is not a number of seconds"):
        LavaStock().open(program, inputs, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_worker_ends_with_its_parent(number, tmp_path):
    parent = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("test_lava_stock.py")],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(lambda: any(tmp_path.glob("*/spikes_0.npy")) and len(_workers(tmp_path)) > 4)
        shared = _shared_memory(_workers(tmp_path))
        parent.send_signal(number)
        parent.wait(PATIENCE)
    finally:
        parent.kill()
        parent.wait()
    _until(lambda: not _workers(tmp_path) and not any(tmp_path.iterdir()))
    _until(lambda: shared and not any(path.exists() for path in shared))


def _workers(folder: Path) -> list[Path]:
    """The command lines, in /proc, of a worker whose folder lies in `folder`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{folder}/snndeploy-stock-".encode() in file.read_bytes():
                found.append(file)
    return found


def _shared_memory(workers: list[Path]) -> set[Path]:
    """The segments that they hold."""
    found = set()
    for file in workers:
        with contextlib.suppress(OSError):
            words = file.with_name("maps").read_text().split()
            found |= {Path(word) for word in words if word.startswith("/dev/shm/psm_")}
    return found


def _until(holds) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_for_minutes() -> None:
    """Start a run that does not end before somebody ends it."""
    network = chain()
    LavaStock().open(Program(network), grid_inputs(network, 5000, 0), 30)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by jobs in the background
    run_for_minutes()
