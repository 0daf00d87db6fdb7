"""What all frontends share: how an operator that cannot be read says so, names and shapes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from snndeploy.errors import UnsupportedModelError
from snndeploy.nodes import Shape

MAX_LEVELS = 1 << 16


class Unsupported(Exception):  # noqa: N818  (a signal inside this package, never seen outside)
    """What one operator of a model holds that cannot be converted."""


def network_shape(shape: tuple[int, ...]) -> Shape:
    """The shape in a network of what has `shape` in a model: no batch, signals of height one."""
    return (shape[1], 1, shape[2]) if len(shape) == 3 else shape[1:]


def identifier(candidates: Iterable[str], taken: Collection[str]) -> str:
    """The first candidate that is a free name once it is spelled as an identifier."""
    for candidate in candidates:
        name = re.sub(r"\W", "_", candidate, flags=re.ASCII)
        if name and not name[0].isdigit() and name not in taken:
            return name
    raise Unsupported("no name is left for it")


def refuse_all(problems: Sequence[str], where: str) -> None:
    """Raise one `UnsupportedModelError` with every problem, if there is any."""
    if problems:
        count = f"{len(problems)} operator{'s' * (len(problems) > 1)}"
        raise UnsupportedModelError(
            f"{count} cannot become spiking: " + "; ".join(problems), where=where
        )
