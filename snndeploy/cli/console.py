"""What the command line shows: tables, progress bars, JSON. Results go to stdout, the rest not."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PIPED_WIDTH = 200
"""Columns of a table that goes to a file or another program: no row of ours is wider."""

PARAGRAPH_WIDTH = 100
"""The most columns of text that is broken into lines."""


def _console() -> Console:
    """Standard output. Where it is no terminal, tables are not squeezed into 80 columns."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, soft_wrap=True, width=PIPED_WIDTH if piped else None)


out = _console()
err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str = "") -> None:
    """One line for the reader, on stdout, without markup."""
    out.print(text, markup=False)


def paragraph(text: str) -> None:
    """Text for the reader, on stdout, its lines broken between words."""
    out.print(text, markup=False, soft_wrap=False, width=min(out.width, PARAGRAPH_WIDTH))


def silent(text: str = "") -> None:
    """Nothing."""


def tell(text: str) -> None:
    """One line on what is going on, on stderr."""
    err.print(text, markup=False, style="dim")


def fail(text: str) -> None:
    """An error, on stderr."""
    err.print(f"error: {text}", markup=False, style="bold red")


def as_json(value: Any) -> None:
    """The result for machines, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """A table on stdout. A column whose name starts with `>` is right-aligned."""
    grid = Table(
        title=title or None,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        show_header=any(columns),
    )
    for column in columns:
        right = column.startswith(">")
        justify: Literal["left", "right"] = "right" if right else "left"
        grid.add_column(column.lstrip(">"), justify=justify, no_wrap=right, overflow="fold")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    out.print(grid)


@contextmanager
def progress(text: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr; yields a callback that takes (done, total)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    )
    with bar:
        task = bar.add_task(text, total=None)

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield update
