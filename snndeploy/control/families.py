"""The families of policies, and for each the path along which it is searched."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from snndeploy.control.conformal import Conformal, conformal_path
from snndeploy.control.dynamic_confidence import DynamicConfidence, dynamic_confidence_path
from snndeploy.control.fixed_step import FixedStep, fixed_step_path
from snndeploy.control.temperature import likeliest_temperature
from snndeploy.control.top_k_gap import TopKGap, top_k_gap_path
from snndeploy.network import Network
from snndeploy.numerics import Int64Array
from snndeploy.trace import Trace

FamilyName = Literal["dynamic-confidence", "top-k-gap", "conformal", "fixed-step"]

FAMILIES: tuple[FamilyName, ...] = get_args(FamilyName)

FITTED: tuple[FamilyName, ...] = ("top-k-gap", "conformal")
"""Families with parameters for each step, fitted to data."""


def fit_share(family: FamilyName, temperature: float | None) -> float:
    """The share of the samples that a family's path is fitted to; the others test it.

    A tenth fits the temperature of Dynamic Confidence, a single number. With a given temperature,
    and for fixed steps, the path does not depend on data.
    """
    if family in FITTED:
        return 0.5
    return 0.1 if family == "dynamic-confidence" and temperature is None else 0.0


AnyPolicy = Annotated[
    DynamicConfidence | TopKGap | Conformal | FixedStep, Field(discriminator="policy")
]


def policy_path(
    family: FamilyName,
    network: Network,
    trace: Trace,
    labels: Int64Array,
    temperature: float | None = 1.0,
) -> tuple[AnyPolicy, ...]:
    """A family's policies from the most careful to the most eager.

    Args:
        family: its name.
        network: the network that ran.
        trace: a run without stopping. What is fitted is fitted to it; of fixed steps
            it gives the number, as later ones stop no sample.
        labels: (N,) of that run.
        temperature: divides the logits, where there is a softmax; None: the likeliest.
    """
    if temperature is None and family in ("dynamic-confidence", "conformal"):
        temperature = likeliest_temperature(network, trace, labels)
    temperature = 1.0 if temperature is None else temperature
    if family == "dynamic-confidence":
        return dynamic_confidence_path(network, temperature)
    if family == "top-k-gap":
        return top_k_gap_path(trace)
    if family == "conformal":
        return conformal_path(network, trace, labels, temperature)
    return fixed_step_path(trace.steps)
