"""What a backend is, and how backends are found.

A backend is an object with the members of `Backend`, published under the entry-point group
`snndeploy.backends`. The core knows none by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from snndeploy.errors import BackendMissingError, InputError
from snndeploy.nirfile import ForeignGraph
from snndeploy.numerics import BoolArray, FloatArray, Int8Array, Int64Array
from snndeploy.program import Program

GROUP = "snndeploy.backends"


@dataclass(frozen=True)
class Step:
    """The result of one logical step for the n samples still running.

    Attributes:
        logits: int64 (n, classes), the readout's membrane after the step.
        spikes: int8 (n, *shape) per spiking layer, in topological order.
        events: int64 (n,) per spiking layer, spikes of either sign, if the backend counts them.
    """

    logits: Int64Array
    spikes: Mapping[str, Int8Array]
    events: Mapping[str, Int64Array] | None = None


class Session(Protocol):
    """A batch of samples being simulated."""

    def step(self) -> Step:
        """Advance all running samples by one logical step."""
        ...

    def keep(self, rows: BoolArray) -> None:
        """Go on with these of the running samples only."""
        ...

    def close(self) -> None:
        """Free what the session holds. Safe to call twice."""
        ...


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can run here.

    Attributes:
        versions: package name to version, of what the backend uses.
        missing: what is lacking and how to get it; empty if it can run.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""

    @property
    def available(self) -> bool:
        """True if nothing is missing."""
        return not self.missing


@runtime_checkable
class Backend(Protocol):
    """A simulator or a chip.

    Attributes:
        name: as in the entry point.
        summary: one line for the list of backends.
        streams: whether a session computes step by step, so that a controller can stop it and
            save the rest. If False, `open` runs all of `steps` at once.
    """

    name: str
    summary: str
    streams: bool

    def status(self) -> BackendStatus:
        """Versions, and what is missing. Must be quick and never raise."""
        ...

    def open(self, program: Program, inputs: Int64Array, steps: int) -> Session:
        """Start simulating grid integers (N, *input shape) for at most `steps` steps."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A backend that can hold only so many samples at a time."""

    def most_samples(self, program: Program) -> int:
        """The most samples of one batch; 1 or more."""
        ...


@dataclass(frozen=True)
class Folded:
    """The record of n samples that ran to their end without a controller.

    T is the limit on the steps, or, in exact mode, any number from which on the window is over
    and all layers of all samples are silent: step T is the first such step or a later one.

    Attributes:
        logits: int64 (n, T, classes), the readout's membrane after each step.
        spikes: int8 (n, T, *shape) per spiking layer, in topological order; empty if the spikes
            were not asked for.
        events: int64 (n, T) per spiking layer: spikes of either sign at each step.
    """

    logits: Int64Array
    spikes: Mapping[str, Int8Array]
    events: Mapping[str, Int64Array]


@runtime_checkable
class Folding(Protocol):
    """A backend that can also run layer by layer, all steps of a layer at once."""

    def fold(
        self, program: Program, inputs: Int64Array, steps: int, record: bool
    ) -> Sequence[Folded]:
        """Simulate grid integers (N, *input shape) for at most `steps` steps.

        Args:
            record: whether the spikes are wanted; events always are.

        Returns:
            Parts that cover the samples in order.
        """
        ...


class Driven(Protocol):
    """Samples that a driver stops, and that are computed several steps at a time."""

    def admit(self, inputs: Int64Array) -> None:
        """Begin with grid integers (n, *input shape); the samples before them are forgotten."""
        ...

    def advance(self, steps: int) -> Folded:
        """The next steps of the running samples: 1 to `steps` of them.

        In exact mode the record may end at any step by which all samples have settled.
        """
        ...

    def keep(self, rows: BoolArray) -> None:
        """Go on with these of the running samples only."""
        ...

    def overhead(self, samples: int) -> float:
        """What `advance` of so many samples takes beside its steps, in steps, about."""
        ...

    def close(self) -> None:
        """Free what is held. Safe to call twice."""
        ...


@runtime_checkable
class Driving(Protocol):
    """A backend that can compute steps ahead, batch after batch, where a controller stops it."""

    def drive(self, program: Program, steps: int, record: bool) -> Driven:
        """Get ready for samples of at most `steps` steps.

        Args:
            record: whether the spikes are wanted; events always are.
        """
        ...


@dataclass(frozen=True)
class Probe:
    """What the neurons of one layer received and held, as the backend itself has it.

    Attributes:
        currents: int64 (n, T, *shape), the input current of each step, bias included.
        membranes: int64 (n, T + 1, *shape), at the start and after each step, its reset done.
        spikes: int8 (n, T, *shape).
    """

    currents: Int64Array
    membranes: Int64Array
    spikes: Int8Array


@runtime_checkable
class Probing(Protocol):
    """A backend whose membranes can be looked at."""

    def probe(self, program: Program, inputs: Int64Array, steps: int, layer: str) -> Probe:
        """Simulate grid integers (N, *input shape) for `steps` steps, watching one layer.

        Args:
            layer: of neurons; not a max-pool or the readout.
        """
        ...


@dataclass(frozen=True)
class Response:
    """What a foreign NIR graph did with n samples in T steps.

    Attributes:
        outputs: float64 (n, T, *output shape).
        spikes: int8 (n, T, *shape) per node that emits zeros and ones; empty if not asked for.
        events: int64 (n, T) per such node: how many ones.
    """

    outputs: FloatArray
    spikes: Mapping[str, Int8Array]
    events: Mapping[str, Int64Array]


@runtime_checkable
class RunsForeign(Protocol):
    """A backend that runs NIR graphs with float dynamics, which other tools wrote."""

    def respond(self, graph: ForeignGraph, inputs: FloatArray, record: bool) -> Response:
        """Simulate float64 (n, T, *input shape) as `snndeploy.nirfile.foreign` defines it.

        Args:
            record: whether the spikes are wanted; events always are.
        """
        ...


@runtime_checkable
class Installable(Protocol):
    """A backend that needs an environment of its own and can make it."""

    def install(self, say: Callable[[str], None]) -> None:
        """Make or mend the environment, telling each stage. Raises `BackendError`."""
        ...


def backend_names() -> list[str]:
    """The names of all installed backends, sorted."""
    return sorted(e.name for e in entry_points(group=GROUP))


def find_backend(name: str) -> Backend:
    """Load the backend published under `name`.

    Args:
        name: alone, or with arguments of the backend's constructor: `norse:device=cuda,workers=1`.

    Raises:
        InputError: no such backend is installed, or it has no such option or value.
        BackendMissingError: it is installed but cannot be imported.
    """
    name, _, options = name.partition(":")
    points = [e for e in entry_points(group=GROUP) if e.name == name]
    if not points:
        raise InputError(
            f"no backend '{name}' is installed",
            where="backend",
            remedy=f"known here: {', '.join(backend_names()) or 'none'}",
        )
    return _load(points[0], options)


def require_backend(name: str) -> Backend:
    """Like `find_backend`, and raise `BackendMissingError` if it cannot run here."""
    backend = find_backend(name)
    missing = backend.status().missing
    if missing:
        raise BackendMissingError(missing, where=f"backend '{name}'")
    return backend


def _load(point: EntryPoint, options: str) -> Backend:
    try:
        loaded = point.load()
        backend = loaded(**_arguments(loaded, options, f"backend '{point.name}'"))
    except ImportError as error:
        raise BackendMissingError(
            f"cannot be imported: {error}",
            where=f"backend '{point.name}'",
            remedy=f"install the packages that {point.value} needs",
        ) from error
    if not isinstance(backend, Backend):
        raise BackendMissingError(
            f"{point.value} lacks members of snndeploy.backend.Backend",
            where=f"backend '{point.name}'",
        )
    return backend


def _arguments(constructor: Callable[..., Any], text: str, where: str) -> dict[str, Any]:
    """`key=value,key=value` as arguments of the types that a constructor declares."""
    declared = inspect.signature(constructor, eval_str=True).parameters if text else {}
    found: dict[str, Any] = {}
    for option in text.split(",") if text else ():
        key, _, value = (part.strip() for part in option.partition("="))
        if key not in declared or key in found:
            problem = "given twice" if key in found else "unknown"
            remedy = f"its options: {', '.join(declared) or 'none'}"
            raise InputError(f"option '{key}' is {problem}", where=where, remedy=remedy)
        kind = declared[key].annotation
        adapter = TypeAdapter(str if kind is inspect.Parameter.empty else kind)
        try:
            found[key] = adapter.validate_strings(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]["msg"]
            raise InputError(f"option {key}={value}: {first}", where=where) from error
    return found
