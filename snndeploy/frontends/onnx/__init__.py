"""ONNX models to float networks: QDQ, QOperator, QONNX and plain floating point.

`file` reads bytes that nobody vouches for, `scan` checks their structure, `graph` puts the
operators in order, `walk` reads them one by one: what to do with each is in `handlers`, `constants`
computes what depends on stored tensors alone.

On the way a tensor is a constant array or a `Signal`: some node's value, its elements in some
order. Operators that move elements change the signal and leave no node. What another operator may
yet absorb is `pending` beside it: an affine map of the input, bounds, zeros around it. `grids` says
what a quantizer becomes, `parts` what slices become. The network grows in a `Builder`.
"""

from snndeploy.frontends.onnx.file import load_onnx

__all__ = ["load_onnx"]
