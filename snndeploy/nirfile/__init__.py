"""`.nir` files: integer networks as NIR graphs in the *native form*, and back without loss.

The native form uses standard NIR nodes only. What NIR cannot say (soft reset, `>=`, signed
spikes, the exact bias of a window, pools on counts) lies in one JSON string of metadata a node.
"""

from snndeploy.nirfile.file import MOST_BYTES, load, save
from snndeploy.nirfile.reader import from_nir
from snndeploy.nirfile.writer import to_nir

__all__ = ["MOST_BYTES", "from_nir", "load", "save", "to_nir"]
