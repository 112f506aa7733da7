"""The extent of a check: the cases, the kernels, the random numbers and the number of processes."""

from __future__ import annotations

import os
import re
import shlex
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_kernels.shared.element import VARIANTS, Variant
from sgd_ref.arithmetic.formats import FLOAT64, FORMATS

QUICK, STANDARD, FULL = "quick", "standard", "full"

SEED = 20261122


def usable_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Extent:
    """The extent of a check.

    Attributes
    ----------
    tier : str
        "quick": about a minute once kernels are compiled. "standard": every combination of features that
        changes what kernels do. "full": every combination of features; hours.
    seed : int
        The seed of everything that is random.
    pattern : pattern or None
        If given, only cases whose id contains a match of it are run.
    processes : int
        The number of processes that work at once, at least 1.
    device : str
        "cpu" or "cuda".
    share : (int, int)
        The position of this share of the cases, and the number of shares: each case is in one share.

    Examples
    --------
    >>> Extent(QUICK).command("sizes/float32/plain/offset-3")
    "sgd-ref check --quick -k '^sizes/float32/plain/offset-3$'"
    """

    tier: str = STANDARD
    seed: int = SEED
    pattern: re.Pattern[str] | None = None
    processes: int = 1
    device: str = "cpu"
    share: tuple[int, int] = (0, 1)

    def wants(self, identifier: str) -> bool:
        """Whether a case should be run."""
        position, shares = self.share
        if shares > 1 and zlib.crc32(identifier.encode()) % shares != position:
            return False
        return self.pattern is None or self.pattern.search(identifier) is not None

    def variants(self, dtype: np.dtype[Any]) -> tuple[Variant, ...]:
        """Return the kernels of a dtype that may be compiled.

        A kernel takes about a second to compile. The quick tier has a third of the variants in three dtypes,
        the same variants in each, for models with several dtypes. It has the other variants in float64,
        together with the plainest variant for models with all four dtypes. So each variant occurs somewhere,
        and each dtype has every momentum and every kind of gradient, with and without averages.
        """
        if self.tier != QUICK:
            return VARIANTS
        shared = [variant for variant in VARIANTS if (variant.momentum + variant.gradient) % 3 == 0]
        if dtype != FLOAT64:
            return tuple(shared)
        return (VARIANTS[0], *(variant for variant in VARIANTS if variant not in shared))

    def kernels(self) -> list[tuple[np.dtype[Any], Variant]]:
        """Return all kernels that may be compiled."""
        return [(dtype, variant) for dtype in FORMATS for variant in self.variants(dtype)]

    def command(self, identifier: str) -> str:
        """Return the command that runs one case again."""
        parts = ["sgd-ref", "check"]
        if self.device != "cpu":
            parts += ["--device", self.device]
        if self.tier != STANDARD:
            parts.append(f"--{self.tier}")
        if self.seed != SEED:
            parts += ["--seed", str(self.seed)]
        parts += ["-k", f"^{_escaped(identifier)}$"]
        return shlex.join(parts)


def _escaped(text: str) -> str:
    # re.escape also escapes what has no meaning outside of brackets, such as the hyphens of these ids.
    return re.sub(r"([.+*?^$()\[\]{}|\\])", r"\\\1", text)
