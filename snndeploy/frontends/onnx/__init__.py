"""ONNX models to float networks: QDQ, QOperator, QONNX and plain floating point.

`file` reads bytes that nobody vouches for, `scan` checks their structure, `graph` puts the
operators in order, `walk` reads them one by one. An operator's handler is found in `handlers`; a
tensor on the way is a constant array or a `Signal`, and the network grows in a `Builder`.
"""

from snndeploy.frontends.onnx.file import load_onnx

__all__ = ["load_onnx"]
