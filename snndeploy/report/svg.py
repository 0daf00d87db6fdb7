"""From a Matplotlib figure to inline SVG that takes its colours from the page.

Charts are painted in placeholder colours, one a role. The SVG refers to the page's variables
instead, so that one file serves a light screen, a dark one and paper.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import StringIO
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
GOOD, BAD = "#0a0b05", "#0a0b06"
ACCENT, CONTRAST = "#0a0c01", "#0a0c02"
SERIES = (ACCENT, CONTRAST, "#0a0c03", "#0a0c04", "#0a0c05", "#0a0c06", "#0a0c07")
"""Placeholders of the categories, the accent first and the grey for the rest last."""

MARKED = "choice-"
"""Parts of a chart with this in their name keep it as their id, so that a script can find them."""

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--paper",
    GOOD: "--good",
    BAD: "--bad",
    **{colour: f"--c{i}" for i, colour in enumerate(SERIES, start=1)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "image.composite_image": False,
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 12.0,
    "axes.titlesize": 12.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 1.0,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 12.0,
    "lines.linewidth": 2.0,
}
_NOISE = re.compile(
    r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|font-family: [^;\"]*;? ?", re.S
)
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def draw(
    name: str,
    label: str,
    paint: Callable[[Axes], None],
    width: int = 520,
    height: int = 280,
    legend: int = 0,
) -> Markup:
    """A chart as an `<svg>` element.

    Args:
        name: an identifier, unique on the page.
        label: what the chart shows, for readers who do not see it.
        paint: draws on the axes.
        width, height: in CSS pixels, at which text has its nominal size.
        legend: columns of the legend below the axes; none if 0.
    """
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        paint(axes)
        if legend:
            handles, labels = axes.get_legend_handles_labels()
            below = figure.legend(handles, labels, loc="outside lower left", ncols=legend)
            for entry in below.get_texts():
                entry.set_parse_math(False)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    return Markup(_inline(text.getvalue(), name, label))  # noqa: S704 - made by Matplotlib


def _inline(text: str, name: str, label: str) -> str:
    _, _, body = text.partition("<svg ")
    viewbox = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body)
    assert viewbox is not None
    width, height = viewbox.groups()
    body = body[body.index(">") + 1 :]
    body = _NOISE.sub("", body)
    body = re.sub(r"#0a0[bc]0\d", _variable, body)
    used = set(re.findall(r'(?:url\(|xlink:href=")#([\w.-]+)', body))
    body = re.sub(
        r' id="([^"]*)"',
        lambda hit: f' id="{name}-{hit[1]}"' if hit[1] in used or MARKED in hit[1] else "",
        body,
    )
    body = re.sub(r'(url\(|xlink:href=")#', rf"\g<1>#{name}-", body).replace("xlink:href", "href")
    body = re.sub(r"\n\s*", " ", body)
    opening = f'<svg class="chart" role="img" aria-label="{escape(label)}" '
    size = f'viewBox="0 0 {width} {height}" style="max-width:{float(width):.0f}px">'
    return opening + size + body.strip()


def _variable(hit: re.Match[str]) -> str:
    role = _VARIABLES.get(hit[0])
    return f"var({role})" if role else hit[0]
