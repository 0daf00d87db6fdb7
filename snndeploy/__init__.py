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
    agree,
    calibrate_exit,
    certify,
    compare,
    convert,
    estimate,
    fidelity,
    from_torch,
    headroom,
    integer_ann,
    load,
    lower,
    rescale,
    run,
)
from snndeploy.errors import SnnDeployError
from snndeploy.export import export
from snndeploy.foreign import NirTrace, run_nir
from snndeploy.hardware import HardwareProfile, hardware
from snndeploy.headroom import Headroom
from snndeploy.network import Network
from snndeploy.nirfile import save
from snndeploy.program import Program
from snndeploy.report import Report, report
from snndeploy.streaming import StreamingSession, StreamStep, session
from snndeploy.sweep import Sweep, SweepPoint, sweep
from snndeploy.trace import Trace
from snndeploy.verify.agreement import Agreement
from snndeploy.verify.certificate import Certificate
from snndeploy.verify.comparison import BackendResult, Planted
from snndeploy.verify.fidelity import FidelityReport

__version__ = "0.1.0"

__all__ = [
    "load",
    "from_torch",
    "convert",
    "save",
    "export",
    "hardware",
    "headroom",
    "rescale",
    "agree",
    "lower",
    "run",
    "session",
    "run_nir",
    "compare",
    "certify",
    "calibrate_exit",
    "load_policy",
    "estimate",
    "estimate_ann",
    "integer_ann",
    "fidelity",
    "sweep",
    "report",
    "Network",
    "Program",
    "HardwareProfile",
    "Trace",
    "NirTrace",
    "StreamingSession",
    "StreamStep",
    "BackendResult",
    "Planted",
    "Headroom",
    "Agreement",
    "Certificate",
    "FidelityReport",
    "ExitPolicy",
    "Estimate",
    "Report",
    "Sweep",
    "SweepPoint",
    "SnnDeployError",
]
