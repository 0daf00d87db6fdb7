"""`ExitPolicy`: a calibrated policy with what it promises; also the schema of a policy file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snndeploy.control.families import AnyPolicy, FamilyName
from snndeploy.errors import FileFormatError, InputError
from snndeploy.files import save_text
from snndeploy.network import Mode, Network

FORMAT: Literal[2] = 2


class Frozen(BaseModel):
    """A part of the file: no unknown keys, no guessed types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Promise(Frozen):
    """What was asked of the accuracy drop, and what the held-out samples show of it.

    Attributes:
        max_accuracy_drop: how far accuracy may fall below the settled network's.
        confidence: that of the guarantee; None: the drop was only seen on the held-out samples.
        method: how it was shown.
        families: the families that were searched; they share the error that confidence leaves.
        samples: held-out samples that tested the policy. Where parameters were fitted, others.
        losses, gains: answers among them that are worse and better than the settled ones.
        drop_bound: what the expected drop does not exceed, at that confidence.
        samples_needed: held-out samples for the asked drop where none were enough, if any are.
        tighter_drop, tighter_samples: half the drop, and the fewest held-out samples with which
            it could be promised, of a policy that changes no answer on them.
    """

    max_accuracy_drop: float = Field(ge=0, le=1)
    confidence: float | None = Field(gt=0, lt=1)
    method: str
    families: tuple[FamilyName, ...] = Field(min_length=1, strict=False)
    samples: int = Field(ge=0)
    losses: int = Field(ge=0)
    gains: int = Field(ge=0)
    drop_bound: float | None
    samples_needed: int | None
    tighter_drop: float
    tighter_samples: int | None


class FrontPoint(Frozen):
    """A policy that none of those searched beats in accuracy, mean and tail steps at once.

    Attributes:
        policy: it.
        samples: held-out samples that the figures are of.
        accuracy, accuracy_drop: on them; the drop is against the settled network.
        mean_steps, p95_steps, p99_steps: logical steps.
        energy_pj: mean of one inference on the profile, where one was asked for and has all
            prices.
    """

    policy: AnyPolicy
    samples: int
    accuracy: float
    accuracy_drop: float
    mean_steps: float
    p95_steps: int
    p99_steps: int
    energy_pj: float | None = None


class ExitPolicy(Frozen):
    """A calibrated policy, the data and the network that it belongs to, and its promise.

    Attributes:
        format: of the file.
        policy: when to stop; None: no policy keeps the promise, every sample runs to its end.
        network_hash, mode: of the network that it was calibrated for.
        steps: in rate mode, those of a sample that is not stopped; None in exact mode, where
            they are those until it settles.
        held_out_samples, held_out_hash: the data that it was calibrated on.
        seed: of the split of these data, for families whose parameters are fitted.
        settled_accuracy, settled_steps: on these data, without stopping.
        expected_accuracy, expected_steps, p95_steps, p99_steps: with stopping, on those of the
            data that test the policy.
        promise: what was asked, and what is shown.
        front: the best of all policies that were searched, by mean steps.
        profile, energy_samples: what the front is priced on, and of how many samples.
        settled_energy_pj: mean of one inference without stopping, on that profile.
    """

    format: Literal[2] = FORMAT
    policy: AnyPolicy | None
    network_hash: str
    mode: Mode
    steps: int | None = Field(ge=1)
    held_out_samples: int = Field(ge=1)
    held_out_hash: str
    seed: int
    settled_accuracy: float = Field(ge=0, le=1)
    settled_steps: float = Field(ge=1)
    expected_accuracy: float = Field(ge=0, le=1)
    expected_steps: float = Field(ge=1)
    p95_steps: int = Field(ge=1)
    p99_steps: int = Field(ge=1)
    promise: Promise
    front: tuple[FrontPoint, ...] = Field(default=(), strict=False)
    profile: str | None = None
    energy_samples: int = 0
    settled_energy_pj: float | None = None

    def controller(self, network: Network) -> AnyPolicy | None:
        """The running form, or None if nothing is to be stopped.

        Raises:
            InputError: the policy belongs to another network.
        """
        if network.hash != self.network_hash:
            raise InputError(
                f"was calibrated for network {self.network_hash[:12]}, this is {network.hash[:12]}",
                where="exit policy",
                remedy="run calibrate-exit on this network",
            )
        return self.policy

    def __str__(self) -> str:
        return "run to the end" if self.policy is None else str(self.policy)

    def save(self, path: str | Path) -> None:
        """Write the policy as JSON, to a temporary name first."""
        save_text(self.model_dump_json(indent=2) + "\n", Path(path))


def load_policy(path: str | Path) -> ExitPolicy:
    """Read and check a policy file. Raises `FileFormatError`."""
    try:
        return ExitPolicy.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise FileFormatError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise FileFormatError(
            f"is not an exit policy of format {FORMAT}: {key}: {first['msg']}",
            where=str(path),
            remedy="make one with calibrate-exit",
        ) from error
