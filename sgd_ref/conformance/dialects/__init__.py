"""Dialects: documented rules other than that of Keras, as deviations of the definition that are meant."""

from sgd_ref.conformance.dialects.dialect import KERAS, Dialect
from sgd_ref.conformance.dialects.rules import RULES, Part, Rule

__all__ = ["KERAS", "RULES", "Dialect", "Part", "Rule"]
