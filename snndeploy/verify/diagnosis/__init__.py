"""Why two backends differ at the first place where they do."""

from snndeploy.verify.diagnosis.causes import CAUSES, Cause
from snndeploy.verify.diagnosis.diagnose import diagnose
from snndeploy.verify.diagnosis.place import Run
from snndeploy.verify.diagnosis.result import Diagnosis, NeuronState

__all__ = ["CAUSES", "Cause", "Diagnosis", "NeuronState", "Run", "diagnose"]
