"""What known readers of NIR would do with a file other than NIR says: the semantic lint.

Each rule was read in the source of the reader's version that is named: `norse.torch.from_nir`,
`snntorch.import_nir`, `sinabs.from_nir`, SpikingJelly's `import_from_nir`, `nir.read`. Lava has no
reader of NIR that could be checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from snndeploy.errors import UnsupportedModelError
from snndeploy.nirfile.file import blamed, tree
from snndeploy.nirfile.foreign import flattened
from snndeploy.nirfile.records import KEY

Effect: TypeAlias = Literal["changes", "drops", "refuses"]
Fields: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """What a reader does with some nodes.

    Attributes:
        reader: package and version.
        effect: `changes` what they mean, `drops` them without an error, or `refuses` the file.
        nodes: their names.
    """

    reader: str
    effect: Effect
    nodes: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Rule:
    """What a reader does with nodes of some kinds, where `holds`."""

    reader: str
    effect: Effect
    kinds: tuple[str, ...]
    text: str
    holds: Callable[[Fields], bool] = lambda _: True


def lint(path: str | Path) -> tuple[Finding, ...]:
    """What the known readers would do with a file other than NIR says, reader by reader.

    Raises:
        FileFormatError: as `load`.
        UnsupportedModelError: a graph without nodes or edges.
    """
    root = tree(path)
    problems: list[str] = []
    with blamed(path):
        nodes, _ = flattened(root, problems)
        if problems:
            raise UnsupportedModelError("; ".join(problems), where="NIR graph")
        found = [_finding(rule, nodes) for rule in RULES]
    return tuple(finding for finding in found if finding.nodes)


def _finding(rule: Rule, nodes: Mapping[str, Fields]) -> Finding:
    names = [n for n, f in nodes.items() if f.get("type") in rule.kinds and rule.holds(f)]
    return Finding(rule.reader, rule.effect, tuple(names), rule.text)


def _other(field: str, value: float) -> Callable[[Fields], bool]:
    """Whether a field is there and not that value."""
    return lambda fields: bool((np.asarray(fields.get(field, value)) != value).any())


def _unlike(*names: str) -> Callable[[Fields], bool]:
    """Whether neurons of a population differ in one of these."""
    return lambda fields: any(np.unique(fields[name]).size > 1 for name in names if name in fields)


def _ours(fields: Fields) -> bool:
    metadata = fields.get("metadata")
    return isinstance(metadata, Mapping) and KEY in metadata


def _not_square(fields: Fields) -> bool:
    shape = np.shape(fields.get("weight", 0))
    return len(shape) == 4 and shape[2] != shape[3]


EVERY: Final = "every reader but snndeploy"
NIR: Final = "nir 1.0.8"
NORSE: Final = "norse 1.1.0"
SINABS: Final = "sinabs 3.1.3"
SNNTORCH: Final = "snntorch 1.0.0"
SPIKINGJELLY: Final = "spikingjelly 2.0.0"

_GROUPED, _LEAKY = _other("groups", 1), ("LIF", "CubaLIF")

RULES: Final = (
    Rule(
        EVERY,
        "changes",
        ("IF",),
        "takes it for NIR's IF: without the signed spikes, the soft reset, `>=`, the initial "
        "membrane, the cap and the exact bias that its metadata say",
        _ours,
    ),
    Rule(NIR, "refuses", ("Conv2d",), "grouped convolutions fail its type check", _GROUPED),
    Rule(NIR, "refuses", ("Conv2d",), "computes a wrong type for kernels not square", _not_square),
    Rule(
        NORSE,
        "drops",
        ("LI", "I", "Scale", "Threshold", "Delay", "AvgPool2d", "Conv1d", "CubaLI"),
        "has no module for these, and goes on without",
    ),
    Rule(NORSE, "refuses", ("Conv2d",), "cannot build grouped convolutions", _GROUPED),
    Rule(NORSE, "changes", ("IF",), "adds the input as it is, which is right for r = 1 / dt only"),
    Rule(NORSE, "changes", ("LIF",), "leaves r out", _other("r", 1)),
    Rule(NORSE, "changes", ("IF", *_LEAKY), "resets to 0, not to v_reset", _other("v_reset", 0)),
    Rule(NORSE, "changes", ("CubaLIF",), "lets currents leak to v_leak", _other("v_leak", 0)),
    Rule(NORSE, "changes", _LEAKY, "steps of 1 ms, unless from_nir is given another dt"),
    Rule(NORSE, "changes", ("SumPool2d",), "leaves the padding out", _other("padding", 0)),
    Rule(
        SINABS,
        "drops",
        ("Linear", "I", "Scale", "Threshold", "Delay", "AvgPool2d", "CubaLIF", "CubaLI"),
        "has no module for these, and goes on without",
    ),
    Rule(
        SINABS,
        "changes",
        ("IF", "LIF"),
        "subtracts the threshold instead of resetting to v_reset, fires at `>=`, several times a "
        "step if the membrane is that high, and leaves r out",
    ),
    Rule(SINABS, "changes", ("IF",), "holds membranes above minus the threshold"),
    Rule(SINABS, "changes", ("LIF", "LI"), "takes tau in steps, and decays by exp(-1 / tau)"),
    Rule(SINABS, "refuses", ("LIF", "LI"), "v_leak must be 0", _other("v_leak", 0)),
    Rule(SINABS, "refuses", ("LI",), "r must be 1", _other("r", 1)),
    Rule(SINABS, "refuses", ("Conv1d",), "cannot read the weights of these"),
    Rule(SINABS, "changes", ("SumPool2d",), "leaves the padding out", _other("padding", 0)),
    Rule(
        SNNTORCH,
        "drops",
        ("LI", "I", "Scale", "Threshold", "Delay", "SumPool2d", "Conv1d", "CubaLI"),
        "prints a warning that it could not parse these, and goes on without",
    ),
    Rule(
        SNNTORCH,
        "changes",
        ("IF",),
        "makes it leak (`Leaky`, beta = 0.9), and subtracts the threshold",
    ),
    Rule(SNNTORCH, "changes", _LEAKY, "steps of 0.1 ms, always"),
    Rule(SNNTORCH, "changes", _LEAKY, "resets to 0, not to v_reset", _other("v_reset", 0)),
    Rule(SNNTORCH, "refuses", _LEAKY, "v_leak must be 0", _other("v_leak", 0)),
    Rule(SNNTORCH, "refuses", ("IF",), "r must be 1", _other("r", 1)),
    Rule(
        SNNTORCH,
        "refuses",
        ("IF", *_LEAKY),
        "one threshold a population",
        _unlike("v_threshold"),
    ),
    Rule(
        SPIKINGJELLY,
        "refuses",
        ("LI", "I", "Scale", "Threshold", "Delay", "CubaLI"),
        "has no module for these",
    ),
    Rule(SPIKINGJELLY, "refuses", ("IF",), "r must be 1 / dt; steps of 0.1 ms by default"),
    Rule(SPIKINGJELLY, "refuses", ("Conv1d", "Conv2d"), "grouped convolutions", _GROUPED),
    Rule(
        SPIKINGJELLY,
        "refuses",
        ("IF", *_LEAKY),
        "one value of each parameter a population",
        _unlike("tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in"),
    ),
    Rule(SPIKINGJELLY, "refuses", ("CubaLIF",), "v_leak must be 0", _other("v_leak", 0)),
)
