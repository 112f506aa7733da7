"""An extent of one kernel, so that little is compiled."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.making import MOST
from numba_kernels.shared.element import Variant
from sgd_ref.arithmetic.formats import FLOAT32

ExtentOf = Callable[..., Extent]


@pytest.fixture
def one_kernel(monkeypatch: pytest.MonkeyPatch) -> ExtentOf:
    """Return the function from a pattern to an extent that has the kernel of float32 with everything on."""

    def variants(self: Extent, dtype: np.dtype[Any]) -> tuple[Variant, ...]:
        return (MOST,) if dtype == FLOAT32 else ()

    monkeypatch.setattr(Extent, "variants", variants)
    return lambda pattern="": Extent(QUICK, pattern=re.compile(pattern))
