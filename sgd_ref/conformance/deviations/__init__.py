"""Known deviations: subclasses of the reference, each of which does one thing otherwise.

Where the evidence in a docstring is a file, it is of Keras 3.15.1 and was read. Where it is a compiler or
a library, it is the bits: they equal these formulas in every standard case, on a CPU with fused
multiply-add. What the compiler does to get there is then an inference.
"""

from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.conformance.deviations.registry import DEVIATIONS, compose

__all__ = ["DEVIATIONS", "Deviation", "compose"]
