"""Which backends are held to the suite, and the summary at the end."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from snndeploy.backend import Backend, backend_names, find_backend
from snndeploy.conformance.cases import JUDGE
from snndeploy.errors import SnnDeployError

VARIABLE = "SNNDEPLOY_BACKEND"
ABOUT, REFUSED = "snndeploy conformance", "refused: "


def asked() -> list[str]:
    """The backends that the environment names, by commas; else all that are installed."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    return named or [name for name in backend_names() if name != JUDGE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One round of tests for each backend."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", asked(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The backend; one that is missing here fails if it was named, else its tests are skipped."""
    try:
        found = find_backend(request.param)
        missing = found.status().missing
    except SnnDeployError as error:
        found, missing = None, str(error)
    if found is None or missing:
        say = pytest.fail if os.environ.get(VARIABLE) else pytest.skip
        say(f"backend '{request.param}': {missing}")
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _noted(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Keep in the report what it is about: backend, check and network."""
    if "backend" in request.fixturenames:
        asked = request.node.callspec.params
        record_property(ABOUT, (asked["backend"], asked["check"].name, asked["name"]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """For each backend the networks that it runs, and what it refuses, with the reason."""
    for name in asked():
        found = _network_reports(terminalreporter, name)
        if not found:
            continue
        reasons = {case: _reason(report) for case, report in found.items()}
        refused = {case: r for case, r in reasons.items() if r.startswith(REFUSED)}
        equal = sum(report.passed for report in found.values())
        terminalreporter.section(f"conformance of {name}")
        terminalreporter.line(
            f"{equal} of {len(found)} networks equal, {len(refused)} refused by name"
        )
        for case, reason in refused.items():
            terminalreporter.line(f"  {case}: {reason.removeprefix(REFUSED)}")


def _network_reports(reporter: pytest.TerminalReporter, name: str) -> dict[str, pytest.TestReport]:
    """How each network fared, spike for spike."""
    found = {}
    for outcome in ("passed", "failed", "skipped"):
        for report in reporter.stats.get(outcome, []):
            about = dict(getattr(report, "user_properties", [])).get(ABOUT)
            if about is not None and tuple(about[:2]) == (name, "every_step"):
                found[about[2]] = report
    return found


def _reason(report: pytest.TestReport) -> str:
    told = report.longrepr
    return told[2].removeprefix("Skipped: ") if report.skipped and isinstance(told, tuple) else ""
