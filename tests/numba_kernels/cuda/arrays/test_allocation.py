"""Arrays of Numba in every dtype, though Numba copies from buffers, and those know no bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.arrays.allocation import fresh_like, from_host, to_host, to_numba
from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda
from sgd_ref.arithmetic.formats import FORMATS

every_dtype = pytest.mark.parametrize("dtype", FORMATS, ids=lambda dtype: dtype.name)


@pytest.fixture(autouse=True)
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the simulator copy and view what Numba copies and views for a device."""
    if not IS_SIMULATED:
        return
    array_class = type(cuda.to_device(np.zeros(1)))
    to_device, copy_to_device, view = cuda.to_device, array_class.copy_to_device, array_class.view

    def made(values: Any) -> Any:
        memoryview(values)
        return to_device(values)

    def copied(array: Any, values: Any) -> None:
        memoryview(values)
        copy_to_device(array, values)

    def viewed(array: Any, dtype: Any) -> Any:
        if not array.ndim:
            raise TypeError("unhashable type: 'list'")
        return view(array, dtype)

    monkeypatch.setattr(array_class, "view", viewed)
    monkeypatch.setattr(cuda, "to_device", made)
    monkeypatch.setattr(array_class, "copy_to_device", copied)


@every_dtype
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)], ids=str)
def test_copies_to_a_device_and_back(dtype: Any, shape: tuple[int, ...]) -> None:
    values = np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    array = to_numba(values)
    assert (array.dtype, tuple(array.shape), array.strides) == (dtype, shape, values.strides)
    np.testing.assert_array_equal(to_host(array), values, strict=True)
    fresh = fresh_like(array, shape, dtype)
    np.testing.assert_array_equal(to_host(fresh), np.zeros(shape, dtype), strict=True)
    from_host(fresh, values)
    np.testing.assert_array_equal(to_host(fresh), values, strict=True)
