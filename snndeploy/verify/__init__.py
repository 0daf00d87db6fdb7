"""Proof and comparison: the certificate of exactness, and backends held to each other."""

from snndeploy.verify.certificate import Certificate, certify
from snndeploy.verify.comparison import BackendResult, Planted, compare
from snndeploy.verify.diagnosis import Diagnosis

__all__ = ["BackendResult", "Certificate", "Diagnosis", "Planted", "certify", "compare"]
