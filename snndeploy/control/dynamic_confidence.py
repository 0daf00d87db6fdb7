"""Dynamic Confidence: stop a sample as soon as its softmax confidence passes a threshold.

    z_t = logits_t * (window / min(t, window)) / temperature
    confidence_t = max softmax(z_t),    stop at the first t with confidence_t > threshold

The logits are membranes, hence already running sums, which is the smoothing of the published
form `z_t = sum_k logits_k / c`; the factor makes steps inside the window comparable with later
ones. Source: Li et al., "Unleashing the Potential of Spiking Neural Networks with Dynamic
Confidence", ICCV 2023, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snndeploy.errors import FileFormatError, InputError
from snndeploy.files import save_text
from snndeploy.network import Network
from snndeploy.numerics import BoolArray, FloatArray, Int64Array
from snndeploy.trace import Trace

MAX_CANDIDATES = 2_000
MIN_TEMPERATURE = 1e-6


class ExitPolicy(BaseModel):
    """A calibrated policy; also the schema of a policy file.

    Attributes:
        threshold: confidence above which a sample stops; 1.0 never stops one.
        temperature: divides the logits, in the model's units.
        network_hash: of the network that it was calibrated for.
        held_out_samples, held_out_hash: the data that it was calibrated on.
        settled_accuracy: on that data, without stopping.
        expected_accuracy, expected_steps: on that data, with stopping.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    threshold: float = Field(ge=0, le=1)
    temperature: float = Field(ge=MIN_TEMPERATURE, allow_inf_nan=False)
    network_hash: str
    held_out_samples: int = Field(ge=1)
    held_out_hash: str
    settled_accuracy: float = Field(ge=0, le=1)
    expected_accuracy: float = Field(ge=0, le=1)
    expected_steps: float = Field(ge=1)

    def controller(self, network: Network) -> DynamicConfidence:
        """The running form. Raises `InputError` if the policy belongs to another network."""
        if network.hash != self.network_hash:
            raise InputError(
                f"was calibrated for network {self.network_hash[:12]}, this is {network.hash[:12]}",
                where="exit policy",
                remedy="run calibrate-exit on this network",
            )
        return DynamicConfidence(
            self.threshold, self.temperature, network.output.scale, network.window
        )

    def save(self, path: str | Path) -> None:
        """Write the policy as JSON, to a temporary name first."""
        save_text(self.model_dump_json(indent=2) + "\n", Path(path))


def load_policy(path: str | Path) -> ExitPolicy:
    """Read and check a policy file."""
    try:
        return ExitPolicy.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise FileFormatError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise FileFormatError(
            f"is not an exit policy: {key}: {first['msg']}",
            where=str(path),
            remedy="make one with calibrate-exit",
        ) from error


@dataclass(frozen=True)
class DynamicConfidence:
    """The controller of one network. `scale` turns its membranes into the model's units."""

    threshold: float
    temperature: float
    scale: float
    window: int

    def confidence(self, logits: Int64Array, step: Int64Array) -> FloatArray:
        """Softmax confidence (n,) of logits (n, classes) after 1-based steps (n,)."""
        injected = self.window / np.minimum(step, self.window)
        z = logits * (self.scale * injected / self.temperature)[:, None]
        z = z - z.max(axis=-1, keepdims=True)
        confidence: FloatArray = 1.0 / np.exp(z).sum(axis=-1)
        return confidence

    def stop(self, logits: Int64Array, step: Int64Array) -> BoolArray:
        """Rows (n,) whose confidence has passed the threshold."""
        return self.confidence(logits, step) > self.threshold


def calibrate(
    network: Network,
    trace: Trace,
    labels: Int64Array,
    held_out_hash: str,
    max_accuracy_drop: float = 0.0,
    temperature: float = 1.0,
) -> ExitPolicy:
    """The threshold with the fewest mean steps whose held-out accuracy is high enough.

    Searches the confidences that occur in the recorded run (at most 2,000, evenly ranked).

    Args:
        network: the network that ran.
        trace: its run on held-out data, without stopping.
        labels: (N,) of that data.
        held_out_hash: of that data.
        max_accuracy_drop: how far accuracy may fall below the settled network's, in [0, 1].
        temperature: divides the logits.
    """
    probe = DynamicConfidence(1.0, temperature, network.output.scale, network.window)
    steps = trace.steps
    seen = np.stack(
        [probe.confidence(trace.logits[:, t], np.full(len(trace), t + 1)) for t in range(steps)],
        axis=1,
    )
    right = trace.logits.argmax(axis=-1) == labels[:, None]
    settled_accuracy = float(right[:, -1].mean())
    best = (1.0, float(trace.stop_steps.mean()), settled_accuracy)
    candidates = np.unique(seen)
    spread = np.linspace(0, len(candidates) - 1, min(len(candidates), MAX_CANDIDATES)).round()
    for threshold in candidates[spread.astype(np.int64)]:
        passed = seen > threshold
        first = np.where(passed.any(axis=1), passed.argmax(axis=1) + 1, steps)
        stop = np.minimum(first, trace.stop_steps)
        accuracy = float(right[np.arange(len(stop)), stop - 1].mean())
        allowed = settled_accuracy - max_accuracy_drop - 1e-12
        # Among equal mean steps the higher threshold, met later in the loop, is the safer one.
        if accuracy >= allowed and stop.mean() <= best[1]:
            best = (float(threshold), float(stop.mean()), accuracy)
    return ExitPolicy(
        threshold=best[0],
        temperature=temperature,
        network_hash=network.hash,
        held_out_samples=len(labels),
        held_out_hash=held_out_hash,
        settled_accuracy=settled_accuracy,
        expected_accuracy=best[2],
        expected_steps=best[1],
    )
