"""snndeploy: quantized neural networks as spiking networks, exact and priced.

import snndeploy as sd

network = sd.load("model.pt2")                          # quantized ANN
snn = sd.convert(network)                               # integer spiking network
program = sd.lower(snn, sd.hardware("loihi1"))          # placed, range-checked
trace = sd.run(program, test)                           # reference engine
sd.run(program, test[:16], backend="lava").assert_same_spikes(trace[:16])
policy = sd.calibrate_exit(program, held_out, labels)   # Dynamic Confidence
estimate = sd.estimate(program, trace)                  # energy and latency
sd.certify(program, test)                               # equal to the quantized ANN
sd.report(program, trace, estimate=estimate).save("report.html")
sd.save(snn, "model.nir")
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
    load,
    lower,
    run,
)
from snndeploy.errors import SnnDeployError
from snndeploy.hardware import HardwareProfile, hardware
from snndeploy.integer_ann import integer_ann
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
