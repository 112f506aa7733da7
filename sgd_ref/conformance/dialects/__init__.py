"""Dialects: documented rules other than that of Keras, as intended deviations from the definition."""

from sgd_ref.conformance.dialects.dialect import KERAS, Dialect
from sgd_ref.conformance.dialects.rules import RULES, Part, Rule

__all__ = ["KERAS", "RULES", "Dialect", "Part", "Rule"]
