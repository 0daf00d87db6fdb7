"""Modules with Brevitas quantizers, by way of Brevitas' own export to QONNX.

QONNX states each quantizer as one operator, with any number of bits. So what a `QuantConv2d` or a
`QuantReLU` computes stays Brevitas' business.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor, nn

from snndeploy.errors import InputError, UnsupportedModelError
from snndeploy.network import Network


def has_brevitas(module: nn.Module) -> bool:
    """Whether a module of Brevitas is among a module's parts."""
    return any(type(part).__module__.startswith("brevitas.") for part in module.modules())


def from_brevitas(module: nn.Module, example: Tensor, name: str) -> Network:
    """Export a module in eval mode and read it.

    Args:
        module: maps (N, *shape) to logits (N, classes).
        example: one or more samples, (N, *shape).
        name: of the network.

    Raises:
        InputError: a package that the export needs is not installed.
        UnsupportedModelError: the export fails, or holds operators that cannot be converted.
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            _export(module, example, path)
            network: Network = import_module("snndeploy.frontends.onnx").load_onnx(path)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the export needs a package that is missing: {error}",
            where=f"model '{name}'",
            remedy="pip install 'snndeploy[brevitas]'",
        ) from error
    except UnsupportedModelError as error:
        raise UnsupportedModelError(
            error.problem, where=f"model '{name}'", remedy=error.remedy
        ) from error
    finally:
        for part, training in modes.items():
            part.training = training
    return replace(network, name=name)


def _export(module: nn.Module, example: Tensor, path: Path) -> None:
    export = import_module("brevitas.export").export_qonnx
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own, about its own future
            export(module, args=(example,), export_path=str(path), dynamo=False)
    except ModuleNotFoundError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedModelError(
            f"Brevitas' export failed: {first[:300]}",
            remedy="make `brevitas.export.export_qonnx(model, args=(example,), dynamo=False)` work",
        ) from error
