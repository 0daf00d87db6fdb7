"""Entry point of the worker: `python -I main.py <snndeploy folder> [<run folder>]`.

Without a run folder it only imports Lava and prints the versions. With one it serves
the parent, in the protocol of `frames.py`.

The environment has no snndeploy, and the parent's site-packages must stay off its path (they
hold another NumPy). So the two packages are made of their folders alone: their modules can be
imported, their `__init__` is not run.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import types
from pathlib import Path


def package_from_folder(name: str, folder: Path) -> None:
    """Make `name` importable as the package that lies in `folder`."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


def check() -> int:
    """Import all that a run needs and print the versions as JSON."""
    from importlib.metadata import version  # noqa: PLC0415

    from snndeploy_backends.lava.worker.mends import import_lava  # noqa: PLC0415

    import_lava()
    import snndeploy_backends.lava.worker.processes.layers  # noqa: F401, PLC0415

    print(json.dumps({name: version(name) for name in ("lava-nc", "lava-dl", "numpy")}))
    return 0


def work(folder: Path) -> int:
    """Serve the parent: frames go to what was standard output, prints to the errors."""
    replies = os.dup(1)
    os.dup2(2, 1)
    from snndeploy_backends.lava.worker.heart import Heart  # noqa: PLC0415
    from snndeploy_backends.lava.worker.run import serve  # noqa: PLC0415

    heart = Heart(folder, 0, replies)
    heart.start()
    try:
        serve(folder, heart)
    except Exception:  # noqa: BLE001 - the parent has been told
        traceback.print_exc()
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Check the environment, or serve."""
    package_from_folder("snndeploy", Path(arguments[0]))
    package_from_folder("snndeploy_backends", Path(__file__).resolve().parents[2])
    return work(Path(arguments[1])) if arguments[1:] else check()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
