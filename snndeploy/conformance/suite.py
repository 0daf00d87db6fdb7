"""All checks on one backend, without a test framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from snndeploy.backend import Backend
from snndeploy.conformance.cases import case, case_names
from snndeploy.conformance.checks import CHECKS, Check, Refused
from snndeploy.errors import SnnDeployError
from snndeploy.simulate import Progress

Result: TypeAlias = Literal["passed", "refused", "failed", "not offered"]


@dataclass(frozen=True)
class Finding:
    """How one check went on one case; `reason` is empty where it passed."""

    check: str
    case: str
    result: Result
    reason: str = ""


@dataclass(frozen=True)
class SuiteReport:
    """How a backend fared."""

    backend: str
    findings: tuple[Finding, ...]

    def having(self, result: Result, check: str = "") -> tuple[Finding, ...]:
        """The findings of one result, of one check if it is named."""
        return tuple(f for f in self.findings if f.result == result and check in ("", f.check))

    @property
    def conforms(self) -> bool:
        """Whether nothing failed; what is refused by name is no failure."""
        return not self.having("failed")

    @property
    def sentence(self) -> str:
        """How many networks ran with the definition's spikes, and how many were refused."""
        check = "every_step"
        equal, refused = (len(self.having(kind, check)) for kind in ("passed", "refused"))
        total = sum(f.check == check for f in self.findings)
        rest = "" if self.conforms else f", {len(self.having('failed'))} checks failed"
        return f"{equal} of {total} networks equal, {refused} refused by name{rest}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        total = [f for f in self.findings if f.check == "every_step"]
        return {
            "backend": self.backend,
            "conforms": self.conforms,
            "networks": len(total),
            "equal": len(self.having("passed", "every_step")),
            "refused": [
                {"network": f.case, "reason": f.reason}
                for f in self.having("refused", "every_step")
            ],
            "failed": [
                {"check": f.check, "network": f.case, "reason": f.reason}
                for f in self.having("failed")
            ],
            "not_offered": sorted({f.check for f in self.having("not offered")}),
        }


def planned(names: Sequence[str] | None = None) -> Iterator[tuple[Check, str]]:
    """Every check with every case that it is asked on; of the cases named only, if they are."""
    for check in CHECKS:
        asked = check.cases or case_names()
        yield from ((check, name) for name in asked if names is None or name in names)


def run_check(backend: Backend, check: Check, name: str) -> Finding:
    """One check on one case; whatever the backend raises is a failure."""
    if not check.offered(backend):
        return Finding(check.name, name, "not offered")
    try:
        check.run(backend, case(name))
    except Refused as refusal:
        return Finding(check.name, name, "refused", str(refusal))
    except SnnDeployError as error:
        return Finding(check.name, name, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - other people's code, told as it is
        return Finding(check.name, name, "failed", f"{type(error).__name__}: {error}")
    return Finding(check.name, name, "passed")


def run_suite(
    backend: Backend, names: Sequence[str] | None = None, progress: Progress | None = None
) -> SuiteReport:
    """Run the suite.

    Args:
        backend: who is held to the definition.
        names: cases; default all.
        progress: told (checks done, checks in all).
    """
    plan = list(planned(names))
    findings = []
    for done, (check, name) in enumerate(plan, 1):
        findings.append(run_check(backend, check, name))
        if progress is not None:
            progress(done, len(plan))
    return SuiteReport(backend.name, tuple(findings))
