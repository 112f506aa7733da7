"""The conformance kit: real implementations in, verdicts out."""

from sgd_ref.conformance.case import Case, LossScaling, State, Unsupported
from sgd_ref.conformance.catalogue import cases
from sgd_ref.conformance.checking import Profile, Report, Verdict, check
from sgd_ref.conformance.golden.recording import compare_recorded, record

__all__ = [
    "Case",
    "LossScaling",
    "Profile",
    "Report",
    "State",
    "Unsupported",
    "Verdict",
    "cases",
    "check",
    "compare_recorded",
    "record",
]
