"""The tables of `docs/models.md`, from the rows of `models.py`; what has no row is left open."""

from __future__ import annotations

from collections.abc import Sequence

from results import HERE, Row, put, table

PAGE = HERE.parent / "docs" / "models.md"
METHODS = ("none", "light", "advanced")
RATE_STEPS = (8, 16, 32)

BEST = {15: "advanced", 7: "advanced", 3: "advanced", 31: "light", 63: "light"}
"""How a network is calibrated, by its number of levels; tuned weights add nothing to many."""

GOALS = {
    "resnet8": ("ResNet8 int8 (CIFAR-10)", {15: 1.0, 7: 2.5}),
    "resnet20": ("ResNet-20 float (CIFAR-10)", {15: 1.0, 7: 2.5}),
    "dscnn": ("DS-CNN int8 (keywords)", {15: 1.0}),
    "mnist8": ("mnist-8 float (MNIST)", {15: 0.3}),
    "sinabs_mnist": ("sinabs CNN float (MNIST)", {15: 0.3}),
    "tfc_1w2a": ("TFC 1W2A (MNIST)", {0: 0.3}),
    "tfc_2w2a": ("TFC 2W2A (MNIST)", {0: 0.3}),
}
"""Models, and the points that they may lose at most, by the number of levels; 0: their own."""

PUBLISHED = {
    "source": "Li et al. 2021, SNN Calibration, table 2, CIFAR-10, 32 steps (printed as 16)",
    "ResNet-20": {"ann": 95.68, "none": 67.88, "light": 93.89, "advanced": 94.33},
    "VGG-16": {"ann": 95.76, "none": 64.52, "light": 93.30, "advanced": 93.65},
}
"""Accuracies in per cent."""


def render(rows: Sequence[Row]) -> None:
    """Write the tables of the page."""
    put("goals", goals(rows), PAGE)
    put("own levels", own_levels(rows), PAGE)
    put("few levels", few_levels(rows), PAGE)
    put("jpeg", jpeg(rows), PAGE)
    put("rate", rate(rows), PAGE)


def goals(rows: Sequence[Row]) -> str:
    """What was to be reached, and what was."""
    head = ["model", "levels", "original", "spiking", "loss (points)", "goal", "reached"]
    body = []
    for name, (title, goal) in GOALS.items():
        for levels, points in goal.items():
            row = _at(rows, name, "exact", levels, BEST.get(levels, "none"))
            reached = "not measured yet"
            if row is not None:
                reached = "yes" if _points(row) <= points + 1e-9 else "no"
            own = str(levels or "its own")
            shares = _share(row, "original_accuracy"), _share(row, "accuracy"), _loss(row)
            body.append([title, own, *shares, f"{points}", reached])
    return table(head, body)


def own_levels(rows: Sequence[Row]) -> str:
    """Converted without calibration."""
    head = ["model", "samples", "original", "spiking", "loss (points)", "same answer", "steps"]
    body = [
        [
            row["model"],
            f"{row['images']:,}",
            f"{_share(row, 'original_accuracy')} ({row['runs_in']})",
            _share(row, "accuracy"),
            _loss(row),
            _share(row, "agreement"),
            f"{row['mean_steps']:.1f}",
        ]
        for row in rows
        if row["levels"] == 0
    ]
    return table(head, body)


def few_levels(rows: Sequence[Row]) -> str:
    """A heading and a table for each model; a row for each number of levels."""
    parts = []
    for name, (title, _) in GOALS.items():
        own = [r for r in rows if r["key"] == name and r["mode"] == "exact" and r["levels"]]
        if not own:
            continue
        head = ["levels", "not calibrated", "calibrated", "by", "loss (points)", "same answer"]
        parts.append(
            f"### {title}\n\n{own[0]['runs_in']}: {_share(own[0], 'original_accuracy')} of "
            f"{own[0]['images']:,} test samples. Calibrated on {own[0]['calibration_images']}.\n\n"
            + table([*head, "steps", "spikes a neuron"], [_few(own, n) for n in sorted(BEST)])
        )
    return "\n\n".join(parts)


def _few(rows: Sequence[Row], levels: int) -> list[str]:
    """The accuracies without calibration and with; the rest of the latter."""
    key = rows[0]["key"]
    plain = _at(rows, key, "exact", levels, "none")
    best = _at(rows, key, "exact", levels, BEST[levels])
    counts = ["", ""]
    if best is not None:
        counts = [f"{best['mean_steps']:.1f}", f"{best['spikes'] / best['neurons']:.2f}"]
    shares = _share(plain, "accuracy"), _share(best, "accuracy")
    return [str(levels), *shares, BEST[levels], _loss(best), _share(best, "agreement"), *counts]


def jpeg(rows: Sequence[Row]) -> str:
    """The same networks on other images."""
    head = ["model", "levels", "samples", "original", "spiking", "loss (points)", "same answer"]
    body = [
        [
            row["model"],
            str(row["levels"]),
            f"{row['jpeg_images']:,}",
            _share(row, "jpeg_original_accuracy"),
            _share(row, "jpeg_accuracy"),
            f"{100 * (row['jpeg_original_accuracy'] - row['jpeg_accuracy']):+.2f}",
            _share(row, "jpeg_agreement"),
        ]
        for row in rows
        if "jpeg_images" in row
    ]
    return table(head, body)


def rate(rows: Sequence[Row]) -> str:
    """Rate mode beside what was published."""
    head = ["network", "steps", "float", *METHODS, "loss of the best (points)"]
    body = []
    for steps in RATE_STEPS:
        found = [_at(rows, "resnet20", "rate", steps, method) for method in METHODS]
        known = [row for row in found if row is not None]
        original = _share(known[0], "original_accuracy") if known else ""
        loss = f"{min(_points(row) for row in known):+.2f}" if len(known) == len(found) else ""
        body.append(
            ["ours", str(steps), original, *(_share(row, "accuracy") for row in found), loss]
        )
    for network in ("ResNet-20", "VGG-16"):
        printed = PUBLISHED[network]
        accuracies = [f"{printed[method]:.2f}%" for method in METHODS]
        loss = f"{printed['ann'] - max(printed[method] for method in METHODS):+.2f}"
        body.append([f"published {network}", "32", f"{printed['ann']:.2f}%", *accuracies, loss])
    return table(head, body)


def _at(rows: Sequence[Row], key: str, mode: str, levels: int, method: str) -> Row | None:
    wanted = (key, mode, levels, method)
    found = (r for r in rows if (r["key"], r["mode"], r["levels"], r["calibrate"]) == wanted)
    return next(found, None)


def _share(row: Row | None, name: str) -> str:
    return "" if row is None else f"{row[name]:.2%}"


def _points(row: Row) -> float:
    return 100 * (row["original_accuracy"] - row["accuracy"])


def _loss(row: Row | None) -> str:
    """In points, with the standard error of a difference of pairs."""
    if row is None:
        return ""
    error = (row["only_original_right"] + row["only_ours_right"]) ** 0.5 / row["images"]
    return f"{_points(row):+.2f} ± {100 * error:.2f}"
