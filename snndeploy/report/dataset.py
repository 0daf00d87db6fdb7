"""`Dataset`: the raw figures behind a plot or a table; all forms of a report show these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from snndeploy import units
from snndeploy.report.tables import Table

Cell: TypeAlias = str | int | float | None

_UNITS = {"_pj": (units.PJ, "J"), "_us": (units.US, "s"), "_s": (1.0, "s"), "_mw": (1e-3, "W")}
_SHARES = ("share", "accuracy")


@dataclass(frozen=True)
class Dataset:
    """Figures, one row a thing. Units end the names of columns: `energy_pj`, `latency_us`.

    Attributes:
        name: an identifier, such as `accuracy_by_step`.
        title: for readers.
        columns: names; those that end in `share` or `accuracy` are shares of one.
        rows: a cell for each column; None where there is no figure.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, name: str, title: str, columns: str, rows: Iterable[Iterable[Any]]) -> Dataset:
        """From names with spaces between them and rows of any scalars, NumPy's too."""
        return cls(name, title, tuple(columns.split()), tuple(tuple(map(_cell, r)) for r in rows))

    def column(self, name: str) -> list[Any]:
        """The cells of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def records(self) -> list[dict[str, Cell]]:
        """One mapping a row, for JSON."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def table(self) -> Table:
        """The figures as text, with their units."""
        rows = tuple(tuple(map(_text, self.columns, row)) for row in self.rows)
        words = [any(isinstance(cell, str) for cell in self.column(name)) for name in self.columns]
        return Table(
            tuple(map(_head, self.columns)), rows, "".join("l" if w else "r" for w in words)
        )


def _cell(value: Any) -> Cell:
    """A NumPy scalar as Python's own."""
    found: Cell = value.item() if hasattr(value, "item") else value
    return found


def _unit(column: str) -> str | None:
    return next((end for end in _UNITS if column.endswith(end)), None)


def _head(column: str) -> str:
    end = _unit(column)
    return column.removesuffix(end or "").replace("_", " ")


def _text(column: str, value: Cell) -> str:
    if value is None:
        return units.NONE
    if isinstance(value, str):
        return value
    end = _unit(column)
    if end is not None:
        factor, unit = _UNITS[end]
        return units.engineering(value * factor, unit)
    if column.endswith(_SHARES):
        return units.percent(value, 2)
    return f"{value:,}" if isinstance(value, int) else units.count(value)
