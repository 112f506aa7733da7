"""Faithful variants: evaluations of the documented formulas that the judge must never reject.

Each is equal to the reference in real arithmetic and differs from it in roundings alone. Where a formula of a
variant would have other special values, as ``w * (1 - d)`` has for an infinite weight, it gives way to the
definition. Signs of zeros that are computed may differ, and an intermediate result may overflow in one
evaluation and not in another. What the definition copies is copied.
"""

from sgd_ref.conformance.faithful.registry import FAITHFUL
from sgd_ref.conformance.faithful.variant import Faithful

__all__ = ["FAITHFUL", "Faithful"]
