"""Hardware profiles: one chip's limits, prices and times, each constant with its source."""

from snndeploy.hardware.constants import (
    GRADES,
    Constant,
    Energy,
    Grade,
    Inside,
    MemoryLevel,
    Power,
    Time,
)
from snndeploy.hardware.differences import Difference, differences
from snndeploy.hardware.files import hardware, profile_folder, profile_names, read_profile
from snndeploy.hardware.profile import (
    ALL_IN_EVENTS,
    Capability,
    HardwareProfile,
    Limits,
    Sourced,
)

__all__ = [
    "ALL_IN_EVENTS",
    "GRADES",
    "Capability",
    "Constant",
    "Difference",
    "Energy",
    "Grade",
    "HardwareProfile",
    "Inside",
    "Limits",
    "MemoryLevel",
    "Power",
    "Sourced",
    "Time",
    "differences",
    "hardware",
    "profile_folder",
    "profile_names",
    "read_profile",
]
