"""Where figures go: JSON files beside the scripts, tables in `README.md`, rows kept until done."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
Row = dict[str, Any]


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", text)
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"


class Rows:
    """The rows of one result file, each saved when it is there, so that a run can be resumed.

    Until the run is complete they lie in `<name>.partial.json`; a row that is there is not
    measured again.
    """

    def __init__(self, name: str, fresh: bool = False, keep: bool = True) -> None:
        self.path = HERE / f"{name}.json"
        self.partial = HERE / f"{name}.partial.json"
        self.keep, self.machine = keep, machine()
        self.rows: dict[str, Row] = {}
        self.notes: dict[str, Row] = {}
        if keep and not fresh and self.partial.exists():
            found = json.loads(self.partial.read_text(encoding="utf-8"))
            if all(found["machine"].get(key) == value for key, value in self.machine.items()):
                self.rows, self.notes = found["rows"], found.get("notes", {})

    def get(self, key: str) -> Row | None:
        """The row of an earlier run that was not completed."""
        return self.rows.get(key)

    def add(self, key: str, row: Row) -> None:
        """Keep a row."""
        self.rows[key] = row
        self._save()

    def note(self, key: str, value: Row) -> None:
        """Keep what is needed to go on, and is no result."""
        self.notes[key] = value
        self._save()

    def _save(self) -> None:
        if self.keep:
            found = {"machine": self.machine, "rows": self.rows, "notes": self.notes}
            _write(self.partial, found)

    def finish(self, **about: Any) -> None:
        """Make these the results."""
        if self.keep:
            _write(self.path, {"machine": self.machine, **about, "rows": list(self.rows.values())})
            self.partial.unlink(missing_ok=True)


def _write(path: Path, value: Any) -> None:
    """As JSON, to a temporary name first."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def put(section: str, text: str, page: Path = HERE / "README.md") -> None:
    """Replace what lies between `<!-- section -->` and `<!-- end of section -->` in a page."""
    old = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {section} -->", f"<!-- end of {section} -->"
    pattern = re.compile(re.escape(begin) + ".*" + re.escape(end), re.DOTALL)
    if not pattern.search(old):
        raise SystemExit(f"{page.name} has no place {begin} .. {end}")
    new = pattern.sub(lambda _: f"{begin}\n{text}\n{end}", old)
    page.write_text(new, encoding="utf-8")
