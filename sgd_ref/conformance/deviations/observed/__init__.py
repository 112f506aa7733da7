"""Observed deviations: wrong answers that a real framework was seen to give, reproduced to the bit.

Each docstring has the evidence. Answers that are only rounded differently are not wrong; they are in
``conformance.faithful``. Mistakes that were not seen in these frameworks are in ``deviations.mistakes``.
"""
