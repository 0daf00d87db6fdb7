"""Failures inside the worker: the first one of any of its processes is the one that is told."""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from pathlib import Path
from typing import Any

from snndeploy.errors import DoesNotFitError

FILE = "failure.json"


def described(error: Exception, where: str) -> dict[str, Any]:
    """An exception as JSON, with the trace if nobody foresaw it."""
    if isinstance(error, DoesNotFitError):
        return {
            "kind": "does_not_fit",
            "problem": error.problem,
            "where": error.where,
            "remedy": error.remedy,
        }
    return {
        "kind": "crash",
        "problem": f"{type(error).__name__}: {error}"[:1000],
        "where": where,
        "remedy": "report it with this trace:\n" + traceback.format_exc()[-8000:],
    }


def record_failure(folder: Path, failure: dict[str, Any]) -> None:
    """Keep a failure in the run folder, whole, unless another process was first."""
    draft = folder / f"failure.{os.getpid()}.json"
    draft.write_text(json.dumps(failure), encoding="utf-8")
    with contextlib.suppress(FileExistsError):
        os.link(draft, folder / FILE)
    draft.unlink()


def read_failure(folder: Path) -> dict[str, Any] | None:
    """The failure that was recorded first, or None."""
    try:
        failure: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return failure
