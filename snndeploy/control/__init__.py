"""Controllers that stop an inference as soon as it is sure."""

from snndeploy.control.dynamic_confidence import (
    MIN_TEMPERATURE,
    DynamicConfidence,
    ExitPolicy,
    calibrate,
    load_policy,
)

__all__ = ["MIN_TEMPERATURE", "DynamicConfidence", "ExitPolicy", "calibrate", "load_policy"]
