"""Quick clipping writes what the general way writes, or says that it cannot decide."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numba_kernels.cpu.quick_clipping import QuickClipping

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
Pair, numbers = agreement["Pair"], agreement["numbers"]

TIE = [2.0**24, 4096.0, 4096.0, 1.0, 2.0**-20]
"""The norm is so close to the middle of two float32 that only the exact sum tells them apart."""


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return the list of the results of quick clipping."""
    seen: list[bool] = []
    clip = QuickClipping.clip

    def noted(self: Any) -> bool:
        seen.append(clip(self))
        return seen[-1]

    monkeypatch.setattr(QuickClipping, "clip", noted)
    return seen


@pytest.mark.parametrize("dtype", agreement["DTYPES"], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "settings", [{"clipnorm": 0.5}, {"global_clipnorm": 2.5, "loss_scale_factor": 4.0}], ids=str
)
def test_clipping_has_the_bits_of_the_reference(
    settings: dict[str, float], threads: int, dtype: Any, decisions: list[bool]
) -> None:
    generator = np.random.default_rng(5)
    shapes = (3, 2), (200,), (0, 4), ()
    pair = Pair([numbers(generator, shape, dtype) for shape in shapes], threads=threads, **settings)
    for special in (0.0, 0.0, 0.0, 0.3, 0.0):
        pair.apply([numbers(generator, shape, dtype, special) for shape in shapes])
    # The first call makes the plan; float64 needs compensated sums.
    assert len(decisions) == (0 if dtype.itemsize == 8 else 4)


@pytest.mark.parametrize("value", [0.0, np.inf, np.nan])
@pytest.mark.parametrize("setting", ["clipnorm", "global_clipnorm"])
def test_norms_that_are_zero_or_not_finite(setting: str, value: float, decisions: list[bool]) -> None:
    pair = Pair([np.ones(5, np.float32)], **{setting: 0.5})
    for _ in range(2):
        pair.apply([np.array([value] * 5, np.float32)])
    assert decisions == [True]


@pytest.mark.parametrize("setting", ["clipnorm", "global_clipnorm"])
def test_a_norm_that_is_not_decided_is_computed_exactly(setting: str, decisions: list[bool]) -> None:
    pair = Pair([np.ones(5, np.float32), np.ones(3, np.float32)], **{setting: 0.5})
    for gradient in (np.ones(5), np.array(TIE), np.ones(5)):
        pair.apply([gradient.astype(np.float32), np.zeros(3, np.float32)])
    assert decisions == [False, True]
