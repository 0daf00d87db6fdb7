"""Controllers that stop an inference as soon as it is sure."""

from snndeploy.control.dynamic_confidence import (
    DynamicConfidence,
    ExitPolicy,
    calibrate,
    load_policy,
)

__all__ = ["DynamicConfidence", "ExitPolicy", "calibrate", "load_policy"]
