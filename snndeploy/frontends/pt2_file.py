"""`.pt2` files, as `torch.export.save` writes them, read without trusting them.

`torch.export.load` unpickles whatever an archive asks it to, and evaluates symbolic shapes. So
the archive is scanned first, and refused if it holds a pickle, a custom object or an expression.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from snndeploy import quantized_ops
from snndeploy.errors import FileFormatError
from snndeploy.frontends.torch_export import from_exported
from snndeploy.network import Network

_ = quantized_ops  # registers the operators that exports refer to

MAX_FILE_BYTES = 2 << 30
_SYMBOL = re.compile(r"[su]\d+|Symbol\('[su]\d+', (positive=True, )?integer=True\)")
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")


def load_pt2(path: Path) -> Network:
    """Read an exported PyTorch model into a float network.

    Raises:
        FileFormatError: the file is missing, malformed, too large, or holds what could run code.
        UnsupportedModelError: the model holds operators that cannot become spiking.
    """
    where = str(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FileFormatError(f"{size} bytes, the limit is {MAX_FILE_BYTES}", where=where)
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot be read: {error.strerror}", where=where) from error
    _scan(content, where)
    try:
        exported = torch.export.load(io.BytesIO(content))
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileFormatError(f"torch.export.load failed: {first[:300]}", where=where) from error
    return from_exported(exported, re.sub(r"\W", "_", path.stem))


def _scan(content: bytes, where: str) -> None:
    remedy = "write it with torch.export.save(torch.export.export(model, (example,)), path)"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            expanded = sum(info.file_size for info in archive.infolist())
            if expanded > MAX_FILE_BYTES:
                raise FileFormatError(f"expands to {expanded} bytes", where=where, remedy=remedy)
            if not any(name.endswith("/archive_format") for name in names):
                raise FileFormatError("is not a PT2 archive", where=where, remedy=remedy)
            for name in names:
                _scan_member(archive, name, where)
    except (zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError) as error:
        raise FileFormatError(
            f"is not a PT2 archive: {error}", where=where, remedy=remedy
        ) from error


def _scan_member(archive: zipfile.ZipFile, name: str, where: str) -> None:
    if name.endswith(".json"):
        for problem in _problems(json.loads(archive.read(name))):
            raise FileFormatError(f"{name}: {problem}", where=where, remedy="refused as unsafe")
    elif "/sample_inputs/" in name:
        try:
            torch.load(io.BytesIO(archive.read(name)), weights_only=True)
        except Exception as error:
            raise FileFormatError(
                f"{name} holds more than tensors", where=where, remedy="refused as unsafe"
            ) from error
    elif name.endswith((".pt", ".pkl")):
        raise FileFormatError(f"{name} is a pickle", where=where, remedy="refused as unsafe")


def _problems(value: Any) -> list[str]:
    """Everything in a JSON value that would make the loader unpickle or evaluate something."""
    if isinstance(value, list):
        return [p for item in value for p in _problems(item)]
    if not isinstance(value, dict):
        return []
    found = [p for item in value.values() for p in _problems(item)]
    if value.get("use_pickle"):
        found.append("a tensor stored as a pickle")
    if "path_name" in value and not _PAYLOAD.fullmatch(str(value["path_name"])):
        found.append(f"a custom object {value['path_name']!r}")
    if "expr_str" in value and not _SYMBOL.fullmatch(str(value["expr_str"])):
        found.append(f"a shape given by the expression {value['expr_str']!r}")
    return found
