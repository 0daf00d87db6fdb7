"""`.nir` files: integer networks as NIR graphs in the *native form*, and back without loss.

The native form uses standard NIR nodes only. What NIR cannot say (soft reset, `>=`, signed
spikes, the exact bias of a window, pools on counts) lies in one JSON string of metadata a node.
Files that other tools wrote have float dynamics: `load_foreign`.
"""

from snndeploy.nirfile.file import MOST_BYTES, is_foreign, load, save
from snndeploy.nirfile.foreign import ForeignGraph, ForeignNode, load_foreign
from snndeploy.nirfile.lint import Finding, lint
from snndeploy.nirfile.reader import from_nir
from snndeploy.nirfile.writer import to_nir

__all__ = [
    "MOST_BYTES",
    "Finding",
    "ForeignGraph",
    "ForeignNode",
    "from_nir",
    "is_foreign",
    "lint",
    "load",
    "load_foreign",
    "save",
    "to_nir",
]
