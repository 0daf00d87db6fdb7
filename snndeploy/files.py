"""Files written whole or not at all: to a temporary name first, then renamed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snndeploy.errors import FileFormatError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place if the block succeeds.

    Raises:
        FileFormatError: the folder is missing or cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise FileFormatError(f"cannot be written: {error.strerror}", where=str(path)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise FileFormatError(
            f"cannot be written: {error.strerror or error}", where=str(path)
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises `FileFormatError` if that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileFormatError(f"cannot be made: {error.strerror}", where=str(path)) from error


def save_text(text: str, path: Path) -> None:
    """Write UTF-8 text."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_json(value: Any, path: Path) -> None:
    """Write a value as indented JSON."""
    save_text(json.dumps(value, indent=2, allow_nan=False) + "\n", path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
