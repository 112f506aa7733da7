"""Observed deviations: wrong answers that a real framework was seen to give, reproduced to the bit.

Each docstring has the evidence. Answers that are not wrong but only rounded differently are in
``conformance.faithful``. Mistakes that were not seen in these frameworks are in ``deviations.mistakes``.
"""
