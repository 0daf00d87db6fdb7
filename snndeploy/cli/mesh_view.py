"""The cores of the chips, drawn as text: which layer each holds, and how full it is.

    a█a█a▓b░ b░· · ·

A core is a letter, its layer's, and a shade, the share of the limit that it is nearest to. Tiles
stand apart. Rows that hold no layer at a chip's end are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_letters, digits

from rich.text import Text

from snndeploy.measure.placement import core_shares
from snndeploy.program import Program

LETTERS = ascii_letters + digits
SHADES = "░▒▓█"
"""Up to a quarter, a half, three quarters, all."""

EMPTY, UNKNOWN = "· ", " "
COLORS = ("cyan", "magenta", "yellow", "green", "blue", "red", "bright_cyan", "bright_magenta")
ROW = 32
"""Cores in a row, where the profile describes no mesh."""

Cell = tuple[str, str]
"""Two characters and a style."""


def legend(program: Program) -> dict[str, str]:
    """The letter of each layer; after 62 layers letters come again."""
    names = [layer.name for layer in program.layers[1:]]
    return {name: LETTERS[index % len(LETTERS)] for index, name in enumerate(names)}


def draw(program: Program) -> Iterator[Text]:
    """The chips in use, line by line.

    Raises:
        InputError: the program is not placed.
    """
    cells = _cells(program)
    assert program.profile is not None
    limits = program.profile.limits
    per_chip = limits.cores or 1 + max(cells)
    per_tile, columns = limits.cores_per_tile, limits.tile_columns
    if per_tile is None or columns is None:
        per_tile, columns = 1, ROW
    for chip in sorted({core // per_chip for core in cells}):
        yield Text(f"chip {chip + 1}")
        first = chip * per_chip
        last = max(core for core in cells if core // per_chip == chip)
        for start in range(first, last + 1, per_tile * columns):
            row = range(start, min(start + per_tile * columns, first + per_chip))
            yield Text.assemble(*_spaced(row, per_tile, cells))


def _spaced(row: range, per_tile: int, cells: dict[int, Cell]) -> Iterator[Cell]:
    """The cells of a row of tiles, which stand apart if they hold several cores."""
    for index, core in enumerate(row):
        if index and per_tile > 1 and index % per_tile == 0:
            yield " ", ""
        yield cells.get(core, (EMPTY, "dim"))


def _cells(program: Program) -> dict[int, Cell]:
    """What is drawn for each core in use; of a core that holds several layers, the first."""
    shares, letters = core_shares(program), legend(program)
    order = {name: index for index, name in enumerate(letters)}
    found: dict[int, Cell] = {}
    for part in program.placement:
        _, share = shares[part.core]
        color = COLORS[order[part.layer] % len(COLORS)]
        found.setdefault(part.core, (letters[part.layer] + _shade(share), color))
    return found


def _shade(share: float | None) -> str:
    if share is None:
        return UNKNOWN
    return SHADES[min(int(share * len(SHADES)), len(SHADES) - 1)]
