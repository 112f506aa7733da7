"""Faithful variants: right ways to evaluate the documented formulas, which the judge must never reject.

Wrong answers of real frameworks are in ``deviations.observed``.

Each variant equals the reference in real arithmetic and differs from it only in roundings. Where the formula
of a variant would give other special values, the variant returns those of the definition. An example is
``w * (1 - d)`` with an infinite weight. Signs of computed zeros may differ. An intermediate result may
overflow in one evaluation and not in another. A variant copies every value that the definition copies.
"""

from sgd_ref.conformance.faithful.registry import FAITHFUL
from sgd_ref.conformance.faithful.variant import Faithful

__all__ = ["FAITHFUL", "Faithful"]
