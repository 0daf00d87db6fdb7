"""Integer networks as NIR graphs, in the *native form*, and back without loss.

The native form uses standard NIR nodes only. What NIR cannot say (soft reset, `>=`, signed
spikes, the exact bias of a window, pools on counts) lies in one JSON string of metadata a node.
"""

from snndeploy.nir_graph.reader import from_nir
from snndeploy.nir_graph.writer import to_nir

__all__ = ["to_nir", "from_nir"]
