"""The tables and the plot of `docs/exit-study.md`, from the rows of `controllers.py`."""

from __future__ import annotations

from collections.abc import Mapping

from results import HERE, Row, put, table

PAGE = HERE.parent / "docs" / "exit-study.md"
PROFILES = {"loihi2": "Loihi 2-like, µJ", "digital_snn_45nm": "digital 45 nm, µJ"}
PUBLISHED = {1: 78.76, 2: 84.28, 4: 88.89, 8: 92.17, 12: 93.18, 16: 93.76, 20: 94.01, 27: 94.27}
"""Accuracy in per cent after fixed steps: ResNet-18, 2 bits, the log of the paper's code."""


def render(rows: Mapping[str, Row]) -> None:
    """Write what there are rows for."""
    found = list(rows.values())
    put("policies", policies([row for row in found if "policies" in row]), PAGE)
    put("lossless", lossless([row for row in found if "policies" in row]), PAGE)
    put("caps", caps([row for row in found if "caps" in row]), PAGE)
    put("splits", splits([row for row in found if "promises" in row]), PAGE)
    put("speed", speed([row for row in found if "time_saved" in row]), PAGE)
    put("backends", backends([row for row in found if "same_exits" in row]), PAGE)


def policies(rows: list[Row]) -> str:
    """A table for each network."""
    head = ["policy", "accuracy", "mean steps", "p95", "p99", "spikes", *PROFILES.values()]
    parts = []
    for row in rows:
        body = []
        for found in row["policies"]:
            energies = found.get("energy", {})
            body.append(
                [
                    found["policy"],
                    f"{found['accuracy']:.2%}",
                    f"{found['mean_steps']:.2f}",
                    str(found["p95_steps"]),
                    str(found["p99_steps"]),
                    f"{found['spike_share']:.0%}",
                    *(energy(energies.get(name, {})) for name in PROFILES),
                ]
            )
        parts.append(
            f"**{row['network']}**: {row['held_out']:,} samples held out, {row['test']:,} to test."
            + "\n\n"
            + table(head, body)
        )
    return "\n\n".join(parts)


def energy(found: Row) -> str:
    """Microjoules with their interval."""
    if "nominal" not in found:
        return "not priced" if found else ""
    return f"{found['nominal']:.3g} ({found['low']:.3g} to {found['high']:.3g})"


def lossless(rows: list[Row]) -> str:
    """The same policies on images without JPEG."""
    head = ["network", "policy", "images", "settled", "with exit", "mean steps"]
    body = [
        [
            row["network"],
            found["policy"],
            str(found["lossless"]["samples"]),
            f"{found['lossless']['settled_accuracy']:.1%}",
            f"{found['lossless']['accuracy']:.1%}",
            f"{found['lossless']['mean_steps']:.2f}",
        ]
        for row in rows
        for found in row["policies"]
        if "lossless" in found
    ]
    return table(head, body)


def caps(rows: list[Row]) -> str:
    """Fixed steps beside Dynamic Confidence, beside the published log."""
    head = ["cap", "fixed", "with exit", "mean steps", "steps saved", "spikes", "published, fixed"]
    parts = []
    for row in rows:
        body = [
            [
                str(found["cap"]),
                f"{found['fixed_accuracy']:.2%}",
                f"{found['accuracy']:.2%}",
                f"{found['mean_steps']:.2f}",
                f"{1 - found['mean_steps'] / found['cap']:.0%}",
                f"{found['spike_share']:.0%}",
                f"{PUBLISHED[found['cap']]:.2f}%",
            ]
            for found in row["caps"]
        ]
        parts.append(f"**{row['network']}**\n\n" + table(head, body))
    return "\n\n".join(parts)


def splits(rows: list[Row]) -> str:
    """Promises, and how often they were broken."""
    head = ["network", "promise", "may break", "broke", "mean drop", "largest", "mean steps"]
    body = [
        [
            row["network"],
            f"drop up to {found['max_accuracy_drop']:.1%} at {found['confidence']:.0%}",
            f"{(1 - found['confidence']) * found['splits']:.0f} of {found['splits']}",
            str(found["broken"]),
            f"{100 * found['mean_drop']:+.2f} points",
            f"{100 * found['largest_drop']:+.2f} points",
            f"{found['mean_steps']:.2f}",
        ]
        for row in rows
        for found in row["promises"]
    ]
    return table(head, body)


def speed(rows: list[Row]) -> str:
    """Time saved over steps saved."""
    head = ["network", "images/s", "with exit", "steps saved", "time saved", "time over steps"]
    body = [
        [
            row["network"],
            f"{row['whole_images_per_s']:.0f}",
            f"{row['early_images_per_s']:.0f}",
            f"{row['steps_saved']:.1%}",
            f"{row['time_saved']:.1%}",
            f"{row['time_over_steps']:.2f}",
        ]
        for row in rows
    ]
    return table(head, body)


def backends(rows: list[Row]) -> str:
    """Exits that are the same elsewhere."""
    head = ["network", "backend", "samples", "same step and answer"]
    body = [
        [row["network"], name, str(found["samples"]), str(found["same_exits"])]
        for row in rows
        for name, found in row["same_exits"].items()
    ]
    return table(head, body)
