"""snndeploy: quantized neural networks as spiking networks, exact and priced.

    network = sd.load("model.pt2")            # a quantized network
    snn = sd.convert(network)                 # integers, spikes, NIR
    program = sd.lower(snn, "loihi1")         # placed on cores, ranges checked
    trace = sd.run(program, x)                # reference engine, until settled
    sd.certify(program, x)                    # equal to the quantized network

The README tells the whole story; `docs/` says why it is exact.
"""

from snndeploy.control import ExitPolicy, load_policy
from snndeploy.cost import Estimate, estimate_ann
from snndeploy.deploy import (
    calibrate_exit,
    certify,
    compare,
    convert,
    estimate,
    from_torch,
    integer_ann,
    load,
    lower,
    run,
)
from snndeploy.errors import SnnDeployError
from snndeploy.hardware import HardwareProfile, hardware
from snndeploy.network import Network
from snndeploy.nirfile import save
from snndeploy.program import Program
from snndeploy.report import Report, report
from snndeploy.trace import Trace
from snndeploy.verify.certificate import Certificate
from snndeploy.verify.comparison import BackendResult, Planted

__version__ = "0.1.0"

__all__ = [
    "load",
    "from_torch",
    "convert",
    "save",
    "hardware",
    "lower",
    "run",
    "compare",
    "certify",
    "calibrate_exit",
    "load_policy",
    "estimate",
    "estimate_ann",
    "integer_ann",
    "report",
    "Network",
    "Program",
    "HardwareProfile",
    "Trace",
    "BackendResult",
    "Planted",
    "Certificate",
    "ExitPolicy",
    "Estimate",
    "Report",
    "SnnDeployError",
]
