"""Damage ONNX models and load them: each must load, or give one snndeploy error.

    python benchmarks/fuzz_onnx.py [--minutes 10] [--first 0]

Mutants are numbered, and a number always gives the same one (`tests/onnx_mutants.py`). Each is
read in a process of its own group with a limit on memory and time. Prints what became of them,
and every one that ended in another way, with its number; the exit code is 1 if there is any.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from onnx_mutants import mutant, seeds  # noqa: E402

from snndeploy.errors import SnnDeployError  # noqa: E402
from snndeploy.frontends.onnx.file import from_bytes  # noqa: E402

MEMORY_BYTES = 4 << 30
SECONDS = 20


class TooSlowError(Exception):
    """A mutant took longer than the limit."""


def outcome(content: bytes) -> str:
    """What became of one mutant: `loads`, the name of an error of ours, or a traceback."""
    signal.alarm(SECONDS)
    try:
        from_bytes(content)
    except SnnDeployError as error:
        return type(error).__name__
    except BaseException:  # noqa: BLE001  (that is what is looked for)
        return traceback.format_exc()
    finally:
        signal.alarm(0)
    return "loads"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()

    def too_slow(*_: object) -> None:
        raise TooSlowError(f"took longer than {SECONDS} s")

    signal.signal(signal.SIGALRM, too_slow)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, before[1]))
    warnings.simplefilter("error")
    models, counts, found = seeds(), Counter(), {}
    number, slowest, end = options.first, 0.0, time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        started = time.monotonic()
        result = outcome(mutant(number, models))
        slowest = max(slowest, time.monotonic() - started)
        if "\n" in result:
            last = result.strip().splitlines()[-1]
            place = [line for line in result.splitlines() if "snndeploy" in line][-1:]
            found.setdefault((last[:100], *place), (number, result))
            result = "other errors"
        counts[result] += 1
        number += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"mutants {options.first} to {number - 1}: {dict(counts)}")
    print(f"slowest {slowest:.2f} s, most memory {peak:.0f} MiB")
    for at, text in found.values():
        print(f"\nmutant {at}:\n{text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
