"""The judges with tolerances say what the functions that they stand for say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.audit.tolerances import TOLERANCES, accepts

OFFSETS = 10.0 ** np.arange(-9, 0)


def trajectory(array: Array) -> list[dict[str, Any]]:
    return [{"variables": [array]}]


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=str)
def test_pytorch_is_what_pytorch_says(dtype: np.dtype[Any]) -> None:
    torch = pytest.importorskip("torch")
    verdicts = set()
    for offset in OFFSETS:
        expected = convert(np.array([1.0, -3.0, 0.0]), dtype)
        observed = convert(convert(expected, FLOAT64) * (1 + offset), dtype)
        tensors = [
            torch.tensor(convert(a, FLOAT64)).to(getattr(torch, dtype.name)) for a in (observed, expected)
        ]
        try:
            torch.testing.assert_close(*tensors)
            theirs = True
        except AssertionError:
            theirs = False
        ours = accepts("torch.testing.assert_close", trajectory(expected), trajectory(observed))
        assert ours is theirs, offset
        verdicts.add(ours)
    assert verdicts == {True, False}


def test_numpy_is_what_numpy_says() -> None:
    for offset in OFFSETS:
        expected, observed = np.array([1.0, -3.0]), np.array([1.0, -3.0]) * (1 + offset)
        assert accepts("numpy.allclose", trajectory(expected), trajectory(observed)) is bool(
            np.allclose(observed, expected)
        )


@pytest.mark.parametrize("name", TOLERANCES)
def test_special_values_are_compared(name: str) -> None:
    one = np.array([np.nan, np.inf, 0.0], FLOAT32)
    assert accepts(name, trajectory(one), trajectory(-one * -1))
    assert not accepts(name, trajectory(one), trajectory(np.array([np.nan, -np.inf, 0.0], FLOAT32)))
    assert not accepts(name, trajectory(one), trajectory(np.array([1.0, np.inf, 0.0], FLOAT32)))
