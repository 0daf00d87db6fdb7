"""Controllers that stop an inference as soon as it is sure, and their calibration."""

from snndeploy.control.bounds import drop_bound, samples_needed
from snndeploy.control.calibration import Search, calibrate
from snndeploy.control.conformal import Conformal
from snndeploy.control.curve import ExitPoint, exit_points, stop_steps
from snndeploy.control.dynamic_confidence import DynamicConfidence
from snndeploy.control.exit_policy import ExitPolicy, FrontPoint, Promise, load_policy
from snndeploy.control.families import FAMILIES, FITTED, FamilyName, policy_path
from snndeploy.control.fixed_step import FixedStep
from snndeploy.control.oracle import Oracle, oct_steps, oracle
from snndeploy.control.policy import Policy
from snndeploy.control.softmax import MIN_TEMPERATURE
from snndeploy.control.study import exit_curve
from snndeploy.control.top_k_gap import TopKGap

__all__ = [
    "FAMILIES",
    "FITTED",
    "MIN_TEMPERATURE",
    "Conformal",
    "DynamicConfidence",
    "ExitPoint",
    "ExitPolicy",
    "FamilyName",
    "FixedStep",
    "FrontPoint",
    "Oracle",
    "Policy",
    "Promise",
    "Search",
    "TopKGap",
    "calibrate",
    "drop_bound",
    "exit_curve",
    "exit_points",
    "load_policy",
    "oct_steps",
    "oracle",
    "policy_path",
    "samples_needed",
    "stop_steps",
]
