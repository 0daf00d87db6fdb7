"""`.pt2` files, as `torch.export.save` writes them, read without trusting them.

`torch.export.load` unpickles whatever an archive asks it to, and compiles names and shapes that it
finds there. Its zip reader also sees other members than Python's (the first of two, any case). So
it is never given the file: each known member is read and checked here, and an archive made anew of
nothing else is what it loads.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from snndeploy import quantized_ops
from snndeploy.errors import FileFormatError
from snndeploy.frontends.torch_export import from_exported
from snndeploy.network import Network

_ = quantized_ops  # registers the operators that exports refer to

MAX_FILE_BYTES = 2 << 30
REMEDY = "write it with torch.export.save(torch.export.export(model, (example,)), path)"

_SYMBOL = re.compile(r"[su]\d+|Symbol\('[su]\d+', (positive=True, )?integer=True\)")
_NAME = re.compile(r"[\w.]*")
_TARGET = re.compile(r"torch\.ops\.(aten|snndeploy|quantized_decomposed)\.[\w.]+|_operator\.\w+")
_JSON = re.compile(
    r"models/model\.json|data/(weights/model_weights|constants/model_constants)_config\.json"
)
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_DATA = re.compile(r"data/weights/weight_\d+|data/constants/tensor_\d+")
_PLAIN = re.compile(r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)")
_SAMPLES = "data/sample_inputs/model.pt"


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
    clean = _made_anew(content, where)
    import_module("torch.ao.quantization.fx._decomposed")  # registers PT2E's operators
    try:
        exported = torch.export.load(clean)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FileFormatError(f"torch.export.load failed: {first[:300]}", where=where) from error
    return from_exported(exported, re.sub(r"\W", "_", path.stem))


def _made_anew(content: bytes, where: str) -> io.BytesIO:
    """An archive of the checked members alone."""
    made = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(made, "w") as clean:
            expanded = sum(info.file_size for info in given.infolist())
            if expanded > MAX_FILE_BYTES:
                raise FileFormatError(f"expands to {expanded} bytes", where=where, remedy=REMEDY)
            names = given.namelist()
            prefix = names[0].split("/")[0] if names else ""
            if f"{prefix}/archive_format" not in names:
                raise FileFormatError("is not a PT2 archive", where=where, remedy=REMEDY)
            if len({name.casefold() for name in names}) != len(names):
                raise FileFormatError(
                    "holds two members of one name", where=where, remedy="refused as unsafe"
                )
            for name in names:
                member = name.removeprefix(f"{prefix}/")
                clean.writestr(f"model/{member}", _checked(member, given.read(name), where))
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        RecursionError,
        NotImplementedError,
        RuntimeError,  # an encrypted member
    ) as error:
        problem = f"is not a PT2 archive: {error}"
        raise FileFormatError(problem, where=where, remedy=REMEDY) from error
    made.seek(0)
    return made


def _checked(member: str, content: bytes, where: str) -> bytes:
    """The content of one known member; raises for an unknown one, or one that could run code."""
    if _JSON.fullmatch(member):
        value = json.loads(content)
        for problem in _problems(value):
            raise FileFormatError(f"{member}: {problem}", where=where, remedy="refused as unsafe")
    elif member == _SAMPLES:
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except Exception as error:
            raise FileFormatError(
                f"{member} holds more than tensors", where=where, remedy="refused as unsafe"
            ) from error
    elif not (_DATA.fullmatch(member) or _PLAIN.fullmatch(member)):
        raise FileFormatError(
            f"holds {member[:80]!r}, which no plain export has",
            where=where,
            remedy="refused as unsafe",
        )
    return content


def _problems(value: Any) -> list[str]:
    """Everything in a JSON value that would make the loader unpickle, compile or evaluate."""
    if isinstance(value, list):
        return [p for item in value for p in _problems(item)]
    if not isinstance(value, dict):
        return []
    found = [p for item in value.values() for p in _problems(item)]
    if value.get("use_pickle"):
        found.append("a tensor stored as a pickle")
    if "path_name" in value and not _PAYLOAD.fullmatch(str(value["path_name"])):
        found.append(f"a custom object {str(value['path_name'])[:80]!r}")
    if "expr_str" in value and not _SYMBOL.fullmatch(str(value["expr_str"])):
        found.append(f"a shape given by the expression {str(value['expr_str'])[:80]!r}")
    if "as_graph" in value or value.get("guards_code"):
        found.append("a graph inside the graph, or code that guards it")
    for key, allowed in (("name", _NAME), ("target", _TARGET)):
        text = value.get(key)
        if isinstance(text, str) and not allowed.fullmatch(text):
            found.append(f"the {key} {text[:80]!r}")
    if "tensor_values" in value:
        found += [f"the name {k[:80]!r}" for k in value["tensor_values"] if not _NAME.fullmatch(k)]
    return found
