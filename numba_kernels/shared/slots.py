"""The slots of the tables that a step hands to the kernels."""

from __future__ import annotations

VARIABLE, GRADIENT, VELOCITY, AVERAGE, ACCUMULATOR = range(5)


COLUMNS = 5


MISSING, INDIRECT = 0, -1
"""Replacements for the address of a gradient: there is no gradient, or the row is indirect and the kernel
skips it."""


LOSS_SCALE, STEPS, HIGHEST, WEIGHT_DECAY, LEARNING_RATE, MOMENTUM, EMA_MOMENTUM, EMA_COMPLEMENT = range(8)


FIRST_AVERAGE, OVERWRITE = 8, 9


SETTINGS = 10
