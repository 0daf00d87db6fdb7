"""Profiles from YAML files, checked on the way in; what is wrong is named with line and key."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from snndeploy.errors import ProfileError
from snndeploy.hardware.profile import HardwareProfile

MAX_PROFILE_BYTES = 1 << 20


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases and without keys that occur twice.

    A few aliases, nested, unfold into gigabytes; of two equal keys the first would be lost.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse `*name`."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is there already."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: the key '{key.value}' occurs twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def profile_folder() -> Path:
    """Where the profiles that ship with snndeploy lie: in the wheel, or in the checkout."""
    package = Path(__file__).parents[1]
    shipped = package / "hw_profiles"
    return shipped if shipped.is_dir() else package.parent / "hw_profiles"


def profile_names() -> list[str]:
    """The names of the profiles that ship with snndeploy."""
    return sorted(path.stem for path in profile_folder().glob("*.yaml"))


def hardware(name: str) -> HardwareProfile:
    """A profile by name, or by the path of a YAML file of your own.

    Raises:
        ProfileError: there is no such profile, or it is malformed; says which key and why.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in profile_names():
            raise ProfileError(
                f"no hardware profile is called '{name}'",
                where="profile",
                remedy=f"known: {', '.join(profile_names())}; or give the path of a .yaml file",
            )
        path = profile_folder() / f"{name}.yaml"
    return read_profile(path)


def read_profile(path: Path) -> HardwareProfile:
    """Read and check one profile file.

    Raises:
        ProfileError: it cannot be read, or a key is missing, unknown or out of range; each
            problem with the line and the key.
    """
    where = f"profile {path}"
    try:
        if path.stat().st_size > MAX_PROFILE_BYTES:
            raise ProfileError(f"is larger than {MAX_PROFILE_BYTES} bytes", where=where)
        loader = _PlainLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        raw = None if root is None else loader.construct_document(root)
    except OSError as error:
        raise ProfileError(f"cannot be read: {error.strerror}", where=where) from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError, TypeError) as error:
        raise ProfileError(f"is not valid YAML: {error}", where=where) from error
    if root is None or not isinstance(raw, dict):
        raise ProfileError("is not a mapping of keys", where=where)
    try:
        return HardwareProfile.model_validate(raw)
    except ValidationError as error:
        raise ProfileError(_explain(error, root), where=where) from error


def _explain(error: ValidationError, root: yaml.Node) -> str:
    problems: list[str] = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "the profile"
        found: Any = item["input"]
        shown = f" (found {reprlib.repr(found)})" if not isinstance(found, dict) else ""
        problems.append(f"line {_line(root, item['loc'])}, {key}: {item['msg']}{shown}")
    return "; ".join(problems)


def _line(root: yaml.Node, keys: Iterable[int | str]) -> int:
    """The line of a key, counted from 1, or of the innermost part of its path that is there."""
    node, line = root, root.start_mark.line
    for key in keys:
        if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
            line = node.start_mark.line
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = [(name, value) for name, value in pairs if name.value == str(key)]
        if not found:
            break
        line, node = found[0][0].start_mark.line, found[0][1]
    return line + 1
