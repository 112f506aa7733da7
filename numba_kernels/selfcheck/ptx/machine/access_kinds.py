"""The kinds of access to memory that races are made of."""

from __future__ import annotations

READ, WRITE, ATOMIC_ADD = 0, 1, 2
