"""Known deviations: subclasses of the reference, each of which does one thing otherwise."""

from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.conformance.deviations.registry import DEVIATIONS, compose

__all__ = ["DEVIATIONS", "Deviation", "compose"]
