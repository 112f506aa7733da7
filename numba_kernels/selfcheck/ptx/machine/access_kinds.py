"""The kinds of memory access that the detection of races distinguishes."""

from __future__ import annotations

READ, WRITE, ATOMIC_ADD = 0, 1, 2
