"""Settings for all tests: a slow machine is no failure, and a failure can be replayed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from snndeploy import cli

# Packages that `make test` installs beside the environment (counters.txt); last, so that they
# never take the place of ours.
sys.path.append(str(Path(__file__).parent.parent / ".counters"))

settings.register_profile(
    "snndeploy",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("snndeploy")


@pytest.fixture
def snndeploy(monkeypatch, capsys):
    """Run the command line; returns (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["snndeploy", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
            raise SystemExit(0)
        captured = capsys.readouterr()
        code = stopped.value.code
        return (0 if code is None else code), captured.out, captured.err

    return call
