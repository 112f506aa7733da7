"""Known deviations: subclasses of the reference, each of which does one thing differently.

``mistakes`` holds the deviations that any implementation may have; ``observed`` holds those that a backend of
Keras, PyTorch or Optax was seen to have.

A docstring gives the evidence for its deviation. If the evidence is a file, the file is of Keras 3.15.1 and
was read. If it is a compiler or a library, the evidence is the bits: they equal these formulas in every
standard case, on a CPU with fused multiply-add. How the compiler arrives at these bits is then an inference.
"""

from sgd_ref.conformance.deviations.basis import DEFINITION, Basis
from sgd_ref.conformance.deviations.deviation import Deviation
from sgd_ref.conformance.deviations.registry import DEVIATIONS, compose, is_contradiction

__all__ = ["DEFINITION", "DEVIATIONS", "Basis", "Deviation", "compose", "is_contradiction"]
