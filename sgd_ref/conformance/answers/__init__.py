"""Answers to open questions: the right results for each contested question, and the bounds to judge them by.

The documentation leaves these questions open, so several answers are right. Each is a variant of the
reference with bounds of its own. An implementation must give the same answer in all cases of a question.
"""

from sgd_ref.conformance.answers.answer import Answer, Composed, composed
from sgd_ref.conformance.answers.registry import ANSWERS, combinations

__all__ = ["ANSWERS", "Answer", "Composed", "combinations", "composed"]
