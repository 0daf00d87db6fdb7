"""The Lava worker may run on Python 3.10, and must find its files readable there."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import snndeploy
from snndeploy_backends import lava

CORE = Path(snndeploy.__file__).parent
LOADED = ["errors", "numerics", "nodes", "network", "layers", "linear_ops"]
ALLOWED = {"numpy", *(f"snndeploy.{name}" for name in LOADED), "snndeploy"}


def _imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_files_that_the_worker_loads_are_python_3_10_and_import_only_each_other():
    for name in LOADED:
        tree = ast.parse((CORE / f"{name}.py").read_text(), feature_version=(3, 10))
        for module in _imports(tree):
            top = module.split(".")[0]
            known = module in ALLOWED or top == "numpy" or top in sys.stdlib_module_names
            assert known, f"{name} imports {module}"


def test_the_worker_itself_is_python_3_10():
    files = sorted((Path(lava.__file__).parent / "worker").rglob("*.py"))
    assert len(files) > 5
    for file in files:
        ast.parse(file.read_text(), feature_version=(3, 10))
