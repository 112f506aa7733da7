"""In the simulator the operations refuse two numbers for which the device has no single instruction."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
from typing import Any

import ml_dtypes
import numba
import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import device
from numba_kernels.cuda.device import operations
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.shared import operations as shared

pytestmark = pytest.mark.skipif(not IS_SIMULATED, reason="calls functions of kernels as Python")

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
NUMBERS = [1.0, 1, True, *(kind(1) for kind in (np.float16, np.float32, np.float64, np.int64, np.bool_))]
every_operation = pytest.mark.parametrize("name", shared.Operations._fields)


@every_operation
@pytest.mark.parametrize(
    ("a", "b"), list(itertools.product(NUMBERS, NUMBERS)), ids=lambda x: type(x).__name__
)
def test_pairs_are_taken_to_which_numba_gives_one_type(name: str, a: Any, b: Any) -> None:
    found = {numba.typeof(a), numba.typeof(b)}
    operation = getattr(operations, name)
    if found in ({numba.float32}, {numba.float64}):
        result, wanted = operation(a, b), getattr(shared, name)(a, b)
        assert (type(result), result) == (type(wanted), wanted)
    else:
        message = f"^{name} must be given two float32 or two float64, got {type(a).__name__} and "
        with pytest.raises(TypeError, match=message):
            operation(a, b)


@every_operation
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_the_operations_of_every_dtype_refuse_a_float_of_python_beside_float32(dtype: Any, name: str) -> None:
    operation, number = getattr(storage(dtype).operations, name), storage(dtype).compute.type(1)
    assert type(operation(number, number)) is type(number)
    if dtype == np.float64:
        assert operation(number, 1.0) == operation(number, number)
        return
    for pair in ((number, 1.0), (1.0, number)):
        with pytest.raises(TypeError, match=f"^{name} must be given two float32 or two float64"):
            operation(*pair)


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=lambda dtype: dtype.name)
def test_half_types_are_made_of_float32_alone(dtype: Any) -> None:
    stored = storage(dtype)
    for name, function in (("store", stored.store), ("rounding", stored.rounded)):
        function(np.float32(0.5))
        for x in (0.5, np.float64(0.5), np.float16(0.5), 1):
            with pytest.raises(TypeError, match=f"^{name} must be given float32, got {type(x).__name__}$"):
                function(x)


def test_no_kernel_takes_the_operations_that_check_nothing() -> None:
    unchecked = {id(operation) for operation in shared.IN_THE_DTYPE}
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.iter_modules(device.__path__, device.__name__ + ".")
    ]
    assert len(modules) > 10
    assert not [
        (module.__name__, name)
        for module in modules
        for name, value in vars(module).items()
        if id(value) in unchecked
    ]
