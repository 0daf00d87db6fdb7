"""The drawing of the cores: which layer lies where, and how full each core is."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from snndeploy import units
from snndeploy.hardware import Limits
from snndeploy.report import svg
from snndeploy.report.charts import Chart
from snndeploy.report.data import ReportData
from snndeploy.report.energy_figures import cores

MAX_CHIPS = 4
_COLUMNS, _MOST_EMPTY = 16, 256
_FAINTEST = 0.25


def mesh(data: ReportData) -> Chart | None:
    """A square a core: the colour and number of its layer, darker the fuller it is."""
    found = cores(data)
    profile = data.program.profile
    if found is None or profile is None:
        return None
    place = _Mesh(profile.limits)
    used = dict(zip(found.column("core"), found.rows, strict=True))
    used = {core: row for core, row in used.items() if place.chip(core) < MAX_CHIPS}
    names = [x.name for x in data.program.layers[1:] if x.name in found.column("layer")]
    drawn = place.drawn(list(used))
    right = max(place.at(core)[0] for core in drawn) + 1
    bottom = max(place.at(core)[1] for core in drawn) + 1

    def paint(ax: Axes) -> None:
        for core in drawn:
            colour, share, text = svg.LINE, 0.5, ""
            if core in used:
                name, full = used[core][2], used[core][5]
                number = names.index(str(name))
                colour, text = _colour(number), str(number + 1)
                share = 1.0 if full is None else _FAINTEST + (1 - _FAINTEST) * min(float(full), 1.0)
            x, y = place.at(core)
            ax.add_patch(Rectangle((x, y), 0.9, 0.9, color=colour, alpha=share, linewidth=0))
            ax.text(x + 0.45, y + 0.48, text, ha="center", va="center", fontsize=9, color=svg.INK)
        for number, name in enumerate(units.shorten_all(names, 14)[:_MOST_NAMED]):
            label = f"{number + 1}  {name}"
            ax.add_patch(Rectangle((0, 0), 0, 0, color=_colour(number), label=label))
        ax.set(xlim=(-0.2, max(right, 8) + 0.2), ylim=(bottom + 0.2, -0.2), aspect="equal")
        ax.axis("off")

    chips = 1 + max(place.chip(int(core)) for core in found.column("core"))
    fullest = max(found.rows, key=lambda row: float(row[5] or 0.0))
    caption = f"{len(found.rows):,} cores in use. A square is a core; its number is its layer's."
    if fullest[5] is not None:
        caption += (
            " The darker, the nearer to its tightest limit; the fullest is core "
            f"{fullest[0]} with {units.percent(float(fullest[5]))} of its {fullest[4]}."
        )
    if not place.known:
        caption += " The profile describes no mesh: cores are drawn in the order of their numbers."
    if chips > MAX_CHIPS:
        caption += f" The first {MAX_CHIPS} of {chips} chips are drawn."
    label = f"Cores by layer: {len(found.rows)} in use on {chips} chips"
    wide = max(right, 8) + 0.4
    height = (
        min(900.0, 500 * (bottom + 0.4) / wide) + 26 + 20 * -(-min(len(names), _MOST_NAMED) // 3)
    )
    return Chart(svg.draw("mesh", label, paint, 500, round(height), 3), caption, found.table())


_MOST_NAMED = 24


def _colour(number: int) -> str:
    return svg.SERIES[number % (len(svg.SERIES) - 1)]


class _Mesh:
    """Where a core is drawn: tiles row by row, a tile as a square, chips one below another."""

    def __init__(self, limits: Limits) -> None:
        self.cores = limits.cores
        self.known = bool(limits.tile_columns and limits.cores_per_tile and limits.cores)
        self.columns = limits.tile_columns if self.known and limits.tile_columns else _COLUMNS
        self.tile = limits.cores_per_tile if self.known and limits.cores_per_tile else 1
        self.side = max(1, round(self.tile**0.5))

    def chip(self, core: int) -> int:
        return core // self.cores if self.cores else 0

    def at(self, core: int) -> tuple[float, float]:
        """Left and top of a core."""
        chip = self.chip(core)
        tile, within = divmod(core - chip * (self.cores or 0), self.tile)
        gap = 0.35 if self.tile > 1 else 0.0
        x = (tile % self.columns) * (self.side + gap) + within % self.side
        y = (tile // self.columns) * (self.side + gap) + within // self.side
        return x, y + chip * (self._rows() * (self.side + gap) + 0.8)

    def drawn(self, used: list[int]) -> list[int]:
        """The cores in use and, where a chip has few enough, its empty ones."""
        if not self.cores or self.cores > _MOST_EMPTY:
            return used
        chips = sorted({self.chip(core) for core in used})
        return [chip * self.cores + i for chip in chips for i in range(self.cores)]

    def _rows(self) -> int:
        tiles = -(-(self.cores or 0) // self.tile)
        return -(-tiles // self.columns)
