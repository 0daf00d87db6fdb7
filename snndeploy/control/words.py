"""What a calibrated policy promises, in words."""

from __future__ import annotations

from snndeploy.control.exit_policy import ExitPolicy

COMMON_CONFIDENCE = 0.95


def sentences(found: ExitPolicy) -> tuple[str, ...]:
    """What is promised or seen, against what, and what a tighter promise needs."""
    told = [_promised(found) if found.policy is not None else _nothing(found), _floor(found)]
    promise = found.promise
    if promise.confidence is None:
        told.append(
            f"This is no guarantee: --confidence {COMMON_CONFIDENCE} asks for one on new data."
        )
    elif promise.max_accuracy_drop and promise.tighter_samples is not None:
        told.append(
            f"Half the drop ({_points(promise.tighter_drop)}) could be promised from "
            f"{promise.tighter_samples:,} held-out samples on, if a policy changes no answer on "
            "them; each answer lost takes more."
        )
    return tuple(told)


def _promised(found: ExitPolicy) -> str:
    promise = found.promise
    seen = (
        f"{_count(promise.losses, 'answer')} lost and {promise.gains:,} gained on "
        f"{_count(promise.samples, 'held-out sample')}"
    )
    if promise.confidence is None:
        return f"Seen: {seen}, within the {_points(promise.max_accuracy_drop)} allowed."
    assert promise.drop_bound is not None
    return (
        f"Promised with {promise.confidence:.6g} confidence: on new samples, drawn independently "
        "like the held-out ones, expected accuracy is at most "
        f"{_points(promise.max_accuracy_drop)} below that of {_settled(found)}. "
        f"Seen: {seen}; that bounds the drop by {_points(promise.drop_bound)}."
    )


def _nothing(found: ExitPolicy) -> str:
    promise = found.promise
    asked = f"a drop of at most {_points(promise.max_accuracy_drop)}"
    if promise.confidence is None:
        return (
            f"No policy that stops a sample early has {asked} on these samples. So every sample "
            "runs to its end."
        )
    reason = (
        f"{_count(found.held_out_samples, 'held-out sample')} cannot show {asked} with "
        f"{promise.confidence:.6g} confidence, of any policy that was searched. So every sample "
        "runs to its end, and loses nothing."
    )
    if promise.max_accuracy_drop == 0:
        return f"{reason} No number of samples can show a drop of 0: allow a small one."
    if promise.samples_needed is None:
        return f"{reason} The policies lose more than that: more samples would not help."
    needed = f"About {promise.samples_needed:,} would"
    return f"{reason} {needed}, of the most careful policy that stops any."


def _floor(found: ExitPolicy) -> str:
    if found.mode == "exact":
        return (
            "Settled, this network is the integer quantized ANN. So the floor of accuracy is the "
            f"quantized ANN's less {_points(found.promise.max_accuracy_drop)}."
        )
    return (
        f"In rate mode nothing settles: accuracy is compared with that after the last step, "
        f"{found.steps}."
    )


def _settled(found: ExitPolicy) -> str:
    return "the settled network" if found.mode == "exact" else f"all {found.steps} steps"


def _points(share: float) -> str:
    """A share of the samples as percentage points."""
    points = f"{100 * share:.3g}"
    return f"{points} percentage point{'' if points == '1' else 's'}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
