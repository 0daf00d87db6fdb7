"""What `import snndeploy` offers, pinned."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import snndeploy

PUBLIC = [
    "Agreement",
    "BackendResult",
    "Certificate",
    "Estimate",
    "ExitPolicy",
    "FidelityReport",
    "HardwareProfile",
    "Headroom",
    "Network",
    "NirTrace",
    "Planted",
    "Program",
    "Report",
    "SnnDeployError",
    "StreamStep",
    "StreamingSession",
    "Sweep",
    "SweepPoint",
    "Trace",
    "agree",
    "calibrate_exit",
    "certify",
    "compare",
    "convert",
    "estimate",
    "estimate_ann",
    "export",
    "fidelity",
    "from_torch",
    "hardware",
    "headroom",
    "integer_ann",
    "load",
    "load_policy",
    "lower",
    "report",
    "rescale",
    "run",
    "run_nir",
    "save",
    "session",
    "sweep",
]


def test_public_names_are_pinned():
    assert sorted(snndeploy.__all__) == PUBLIC
    for name in PUBLIC:
        assert getattr(snndeploy, name).__doc__


def test_functions_are_not_shadowed_by_modules_of_the_same_name():
    for name in ("export", "hardware", "headroom", "integer_ann", "report", "sweep"):
        import_module(f"snndeploy.{name}")
    assert callable(snndeploy.hardware)
    assert callable(snndeploy.integer_ann)
    assert callable(snndeploy.report)


def test_import_does_not_load_the_heavy_libraries():
    code = (
        "import sys, snndeploy; heavy = {'torch', 'matplotlib', 'norse', 'sklearn'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
