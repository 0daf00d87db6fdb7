"""The report in a browser: drawn, without complaint, the slider moves, light, dark, on paper."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import numpy as np
import pytest
from browser import Page, chromium
from report_networks import placed_report

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    file = placed_report().save(folder / "report.html")
    assert file.stat().st_size < 3_000_000
    found = Page(file, folder / "profile")
    yield found
    found.close()


def test_the_browser_has_nothing_to_complain_about(page):
    assert page.complaints == []
    assert [url.split(":")[0] for url in page.fetched if not url.startswith("data:")] == ["file"]


def test_every_plot_is_drawn(page):
    drawn = page.evaluate(
        """[...document.querySelectorAll("svg.chart")].map(svg => ({
          label: svg.getAttribute("aria-label"),
          marks: [...svg.querySelectorAll("path, use, image")].filter(
            mark => { const b = mark.getBoundingClientRect(); return b.width + b.height > 0; }
          ).length,
          wide: svg.getBoundingClientRect().width,
          tall: svg.getBoundingClientRect().height,
        }))"""
    )
    names = " ".join(chart["label"] for chart in drawn)
    for expected in (
        "Raster", "Spikes of layer", "Histogram of spikes", "Operations by layer",
        "Dynamic energy by layer", "Energy over the steps", "Accuracy against steps",
        "Accuracy against mean steps", "Cores by layer", "Steps at which samples stop",
        "The easiest samples", "The hardest samples", "Energy of single", "Latency of single",
        "Saved by early exit", "Steps until a sample settles",
    ):  # fmt: skip
        assert expected in names
    assert [chart["label"] for chart in drawn if chart["marks"] < 3] == []
    assert all(chart["wide"] > 200 and chart["tall"] > 60 for chart in drawn)
    assert page.evaluate('document.querySelectorAll("table.matrix td:not(:empty)").length') == 25


def test_the_slider_moves_the_figures_and_the_ring(page):
    settings = json.loads(
        page.evaluate('document.querySelector("[data-settings]").dataset.settings')
    )
    assert len(settings) > 2
    shown = [_moved(page, i) for i in range(len(settings))]
    assert [figures for figures, _ in shown] == settings
    assert [ring for _, ring in shown] == [[i] for i in range(len(settings))]
    steps = [float(setting["mean_steps"]) for setting in settings]
    assert steps == sorted(steps)
    for name in ("mean_steps", "accuracy", "energy_pj", "latency_us"):
        assert len({setting[name] for setting in settings}) > 1


def _moved(page: Page, place: int) -> tuple[dict[str, str], list[int]]:
    """The figures, and the rings that are seen, with the slider at a place."""
    return tuple(
        page.evaluate(
            f"""(() => {{
              const slider = document.querySelector("#exit-slider");
              slider.value = {place};
              slider.dispatchEvent(new Event("input"));
              const figures = {{}};
              const box = document.querySelector("[data-settings]");
              const given = JSON.parse(box.dataset.settings)[{place}];
              for (const name of Object.keys(given)) {{
                const out = box.querySelector(`[data-figure=${{name}}]`);
                figures[name] = out ? out.textContent : given[name];
              }}
              const rings = [...document.querySelectorAll("svg [id*=choice-]")];
              const seen = rings.filter(r => getComputedStyle(r).visibility == "visible");
              return [figures, seen.map(r => Number(r.id.split("choice-")[1]))];
            }})()"""
        )
    )


def test_light_and_dark_have_their_own_colours(page):
    colours = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.call("Emulation.setEmulatedMedia", media="screen", features=[feature])
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = page.evaluate("getComputedStyle(document.body).color")
        bar = page.evaluate(
            """getComputedStyle([...document.querySelectorAll("svg.chart path")].find(
              p => (p.getAttribute("style") || "").includes("--c1"))).fill"""
        )
        assert _contrast(paper, ink) > 7
        colours.append((paper, ink, bar))
    assert all(a != b for a, b in zip(*colours, strict=True))


def _contrast(one: str, other: str) -> float:
    """WCAG contrast ratio of two `rgb(r, g, b)`."""
    lights = []
    for colour in (one, other):
        parts = np.array([int(part) for part in colour[4:-1].split(",")]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_it_prints(page):
    page.call("Emulation.setEmulatedMedia", media="print", features=[])
    hidden = 'getComputedStyle(document.querySelector("#exit-slider")).display'
    assert page.evaluate(hidden) == "none"
    made = base64.b64decode(page.call("Page.printToPDF", printBackground=True)["data"])
    assert made.startswith(b"%PDF")
    assert len(made) > 50_000
    page.call("Emulation.setEmulatedMedia", media="screen", features=[])


def test_nothing_is_wider_than_a_narrow_window(page):
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=400, height=800, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.call("Emulation.clearDeviceMetricsOverride")
    assert wide <= 400
