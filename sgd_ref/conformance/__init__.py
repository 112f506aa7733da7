"""The conformance kit: it runs an implementation of SGD on cases and gives each case a verdict."""

from sgd_ref.conformance.catalogue.case import Case, LossScaling, State, Unsupported
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.catalogue.within import cases_within
from sgd_ref.conformance.golden.tools.recording import compare_recorded, record
from sgd_ref.conformance.grading.check import check
from sgd_ref.conformance.grading.velocities import Velocities
from sgd_ref.conformance.grading.verdict import Profile, Report, Verdict
from sgd_ref.conformance.protocol.bits import from_bits, from_float32, to_bits, to_float32
from sgd_ref.conformance.pytest_plugin.decorator import parametrize_with_cases
from sgd_ref.conformance.watching.watch import watch

__all__ = [
    "Case",
    "LossScaling",
    "Profile",
    "Report",
    "State",
    "Unsupported",
    "Velocities",
    "Verdict",
    "cases",
    "cases_within",
    "check",
    "compare_recorded",
    "from_bits",
    "from_float32",
    "parametrize_with_cases",
    "record",
    "to_bits",
    "to_float32",
    "watch",
]
