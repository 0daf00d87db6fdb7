"""Every error that snndeploy raises on purpose.

    SnnDeployError                  exit code 2
    ├── InputError                  what the user handed in cannot be used
    │   ├── FileFormatError         a file is missing, malformed, hostile or too large
    │   ├── DataError               samples or labels of the wrong shape, type or range
    │   ├── UnsupportedModelError   the model has parts that cannot become a spiking network
    │   └── ProfileError            an unknown or malformed hardware profile
    ├── DoesNotFitError             a network exceeds a profile's limits or an integer word
    ├── BackendError                a backend failed while it ran
    │   ├── BackendMissingError     a backend, or a package that it needs, is not installed
    │   └── WorkerError             a worker process died, hung or reported an error
    └── CheckFailedError            exit code 1
        ├── SpikesDifferError       two backends do not agree
        └── CertificateRefusedError a premise of exactness does not hold

A message says where, what was found, what the limit is, and what to do.
"""

from __future__ import annotations


class SnnDeployError(Exception):
    """Root of the tree.

    Args:
        problem: what was found, and the limit that it breaks.
        where: the file, layer or argument concerned.
        remedy: what the user can do about it.
    """

    exit_code = 2

    def __init__(self, problem: str, *, where: str = "", remedy: str = "") -> None:
        self.problem, self.where, self.remedy = problem, where, remedy
        text = f"{where}: {problem}" if where else problem
        super().__init__(f"{text}; {remedy}" if remedy else text)


class InputError(SnnDeployError):
    """What the user handed in cannot be used."""


class FileFormatError(InputError):
    """A file is missing, malformed, hostile or too large."""


class DataError(InputError):
    """Samples or labels have the wrong shape, type or range."""


class UnsupportedModelError(InputError):
    """The model has parts that cannot become a spiking network."""


class ProfileError(InputError):
    """A hardware profile is unknown or malformed."""


class DoesNotFitError(SnnDeployError):
    """A network exceeds a profile's limits or an integer word."""


class BackendError(SnnDeployError):
    """A backend failed while it ran."""


class BackendMissingError(BackendError):
    """A backend, or a package that it needs, is not installed."""


class WorkerError(BackendError):
    """A worker process died, hung or reported an error."""


class CheckFailedError(SnnDeployError):
    """A check that the user asked for did not hold."""

    exit_code = 1


class SpikesDifferError(CheckFailedError):
    """Two backends do not agree."""


class CertificateRefusedError(CheckFailedError):
    """A premise of exactness does not hold."""
