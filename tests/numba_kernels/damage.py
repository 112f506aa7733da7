"""Files of compiled code in all kinds of damage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def damaged(contents: bytes, generator: np.random.Generator, flips: int | None = None) -> Iterator[bytes]:
    """Yield contents that are cut, lengthened, replaced, or have one bit flipped: at some places, or all."""
    size = len(contents)
    yield b""
    for length in (1, 31, 32, 33, size // 2, size - 1):
        yield contents[:length]
    yield contents + b"\0"
    yield generator.bytes(size)
    yield b"\0" * size
    for place in range(size) if flips is None else generator.integers(0, size, flips).tolist():
        yield contents[:place] + bytes([contents[place] ^ (1 << place % 8)]) + contents[place + 1 :]
