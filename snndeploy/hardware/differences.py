"""What differs between two profiles, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from snndeploy.hardware.profile import HardwareProfile


class Difference(NamedTuple):
    """One key, and what each profile has there; None where it has nothing."""

    key: str
    left: Any
    right: Any


def differences(left: HardwareProfile, right: HardwareProfile) -> tuple[Difference, ...]:
    """Every key in which two profiles differ, in the order of the schema; names left out."""
    a, b = (dict(_leaves(profile.model_dump(mode="json"))) for profile in (left, right))
    keys = [key for key in dict.fromkeys((*a, *b)) if key != "name" and a.get(key) != b.get(key)]
    return tuple(Difference(key, a.get(key), b.get(key)) for key in keys)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Scalars by dotted key. Keys without a value are left out."""
    items: list[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        items = list(enumerate(value))
    else:
        if value is not None and value != []:
            yield key, value
        return
    for name, item in items:
        yield from _leaves(item, f"{key}.{name}" if key else str(name))
