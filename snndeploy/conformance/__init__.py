"""The conformance suite: what a backend must do, on networks of every kind, shown and not told.

    snndeploy backends check NAME --all
    pytest --pyargs snndeploy.conformance

The second runs every backend that can run here, or those that `SNNDEPLOY_BACKEND` names. The
definition is the backend `judge`; all spikes, all logits and all steps are held to it.
"""

from __future__ import annotations

from snndeploy.conformance.cases import Case, case, case_names
from snndeploy.conformance.checks import CHECKS, Check, Refused
from snndeploy.conformance.pipelined import Pipelined
from snndeploy.conformance.suite import Finding, SuiteReport, run_suite

__all__ = [
    "Case",
    "case",
    "case_names",
    "Check",
    "CHECKS",
    "Refused",
    "Finding",
    "SuiteReport",
    "run_suite",
    "Pipelined",
]
