"""Known deviations: subclasses of the reference, each with one thing that an implementation does otherwise."""

from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.conformance.deviations.registry import DEVIATIONS, compose

__all__ = ["DEVIATIONS", "Deviation", "compose"]
