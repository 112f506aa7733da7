"""The kernels that write: how many there are, what machine code they are, and what they are called with."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from numba_kernels.cpu import cache
from numba_kernels.cpu.addresses import IS_ARM, IS_X86
from numba_kernels.cpu.kernels import accumulation_kernel, update_kernel
from numba_kernels.shared.constants import Constants
from numba_kernels.shared.element import (
    ACCUMULATED,
    CLASSIC,
    DIVIDED,
    NESTEROV,
    NO_MOMENTUM,
    PLAIN,
    VARIANTS,
    Variant,
)
from numba_kernels.shared.slots import COLUMNS, GRADIENT, INDIRECT, MISSING, SETTINGS, VARIABLE
from sgd_ref.base.settings import Settings

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
FLOAT16, BFLOAT16, FLOAT32, FLOAT64 = DTYPES
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)

MOST_KERNELS_OF_A_DTYPE = 32

FUSED = re.compile(r"\bfmaf?\b|\bvfn?m(?:add|sub)|\bfn?ml[as]\b|\bfn?m(?:add|sub)\b")
FUNCTION = re.compile(r"^_{1,2}ZN[^\s:]*:", re.MULTILINE)
PACKED = {
    "mul": {
        4: re.compile(r"\bv?mulps\b|\bfmul[.\s]+(?:4s|v)"),
        8: re.compile(r"\bv?mulpd\b|\bfmul[.\s]+(?:2d|v)"),
    },
    "div": {
        4: re.compile(r"\bv?divps\b|\bfdiv[.\s]+(?:4s|v)"),
        8: re.compile(r"\bv?divpd\b|\bfdiv[.\s]+(?:2d|v)"),
    },
}


def all_settings() -> list[Settings]:
    """Return settings of every combination of features, as the constructors check them."""
    found = []
    clippings: list[dict[str, float]] = [{}, {"clipnorm": 1.0}, {"clipvalue": 1.0}, {"global_clipnorm": 1.0}]
    for momentum, nesterov, decay, clipping, ema, scale, steps in itertools.product(
        (0.0, 0.5, 1.0), (False, True), (None, 0.5), clippings, (False, True), (None, 8.0), (None, 2)
    ):
        chosen: dict[str, Any] = {
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": decay,
            "clipnorm": None,
            "clipvalue": None,
            "global_clipnorm": None,
            "use_ema": ema,
            "ema_momentum": 0.5,
            "ema_overwrite_frequency": 3 if ema else None,
            "name": "SGD",
            "loss_scale_factor": scale,
            "gradient_accumulation_steps": steps,
        }
        found.append(Settings.checked(**{**chosen, **clipping}))
    return found


@every_dtype
def test_no_dtype_has_more_than_32_elementwise_kernels(dtype: Any) -> None:
    needed = {
        Constants(settings, dtype).variant(has_loss_scale)
        for settings in all_settings()
        for has_loss_scale in (False, True)
    }
    assert needed == set(VARIANTS)
    # What updates a row or a variable with a wide factor is one of them, for a gradient used as it comes.
    assert {variant._replace(gradient=PLAIN) for variant in needed} <= needed
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    assert len(VARIANTS) + 1 <= MOST_KERNELS_OF_A_DTYPE


def fresh_kernel(dtype: Any, variant: Variant | None, folder: Path) -> Any:
    """Return a kernel that was compiled just now, since one from the cache has no assembly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "base_folder", lambda: folder)
        if variant is None:
            return accumulation_kernel.__wrapped__(dtype)
        return update_kernel.__wrapped__(dtype, variant)


def products(variant: Variant | None) -> int:
    """Return the number of products that a variant has in its loops, at least."""
    if variant is None:
        return 0
    # Clipping, decay twice, the rate, and the averages of variables with and without a gradient.
    return 4 + (0, 1, 2)[variant.momentum] + 4 * variant.averages


def quotients(variant: Variant | None) -> int:
    """Return the same for quotients."""
    return 1 if variant is None else (0, 2, 3)[variant.gradient]


def assert_packed_and_not_fused(kernel: Any, dtype: Any, variant: Variant | None) -> None:
    (assembly,) = kernel.inspect_asm().values()
    fused = FUSED.search(assembly)
    assert fused is None, fused
    # The kernel and its wrapper for Python: a helper that is called keeps a loop from being vectorised.
    assert len(FUNCTION.findall(assembly)) <= 2
    itemsize = max(dtype.itemsize, 4)
    for operation, expected in (("mul", products(variant)), ("div", quotients(variant))):
        packed = PACKED[operation][itemsize].findall(assembly)
        assert len(packed) >= expected, (operation, dtype, variant)


needs_known_processor = pytest.mark.skipif(
    not (IS_X86 or IS_ARM), reason="the instructions of this processor are not known here"
)


@pytest.mark.share(2)
@needs_known_processor
@pytest.mark.parametrize(
    ("dtype", "variant"),
    [
        (FLOAT32, Variant(NESTEROV, DIVIDED, True)),
        (FLOAT64, Variant(NO_MOMENTUM, PLAIN, False)),
        (BFLOAT16, Variant(NESTEROV, ACCUMULATED, True)),
        (FLOAT16, None),
    ],
    ids=str,
)
def test_machine_code_has_packed_operations_and_no_fused_ones(
    dtype: Any, variant: Variant | None, tmp_path: Path
) -> None:
    assert_packed_and_not_fused(fresh_kernel(dtype, variant, tmp_path), dtype, variant)


@needs_known_processor
@every_dtype
def test_all_kernels_have_packed_operations_and_no_fused_ones(
    dtype: Any, tmp_path: Path, sweep: Any, subtests: pytest.Subtests
) -> None:
    if not sweep.complete:
        pytest.skip("compiling them all takes minutes: --sweep does")
    for variant in (*VARIANTS, None):
        with subtests.test(dtype=dtype.name, variant=variant):
            assert_packed_and_not_fused(fresh_kernel(dtype, variant, tmp_path), dtype, variant)


def arguments(array: Any) -> list[Any]:
    table = np.zeros((1, COLUMNS), np.int64)
    table[0, VARIABLE] = array.ctypes.data
    chunks = np.array([[0, 0, array.size]], np.int64)
    return [table, chunks, 0, 1, np.ones(SETTINGS), np.ones((1, 2)), np.zeros(1, bool)]


@every_dtype
@pytest.mark.parametrize("variant", [Variant(CLASSIC, PLAIN, False), None], ids=str)
def test_a_kernel_has_one_signature_and_refuses_others(dtype: Any, variant: Variant | None) -> None:
    kernel = accumulation_kernel(dtype) if variant is None else update_kernel(dtype, variant)
    assert len(kernel.signatures) == 1
    array = np.ones(3, dtype)
    given = arguments(array)
    kernel(*given)
    others = [
        (0, given[0].astype(np.int32)),
        (0, np.asfortranarray(np.zeros((2, COLUMNS), np.int64))),
        (4, given[4].astype(np.float32)),
        (4, np.ones(2 * SETTINGS)[::2]),
        (5, np.ones(2)),
        (6, np.zeros(1, np.int8)),
    ]
    for position, other in others:
        with pytest.raises(TypeError, match="No matching definition"):
            kernel(*given[:position], other, *given[position + 1 :])
    assert len(kernel.signatures) == 1
    assert array.tolist() == [1, 1, 1]


@every_dtype
def test_a_kernel_releases_the_lock(dtype: Any) -> None:
    for kernel in (accumulation_kernel(dtype), update_kernel(dtype, Variant(CLASSIC, PLAIN, False))):
        assert kernel.targetoptions["nogil"]
        assert not kernel.targetoptions["fastmath"]


@every_dtype
@pytest.mark.parametrize("address", [MISSING, INDIRECT])
def test_without_a_gradient_nothing_is_touched(dtype: Any, address: int) -> None:
    array = np.ones(7, dtype)
    given = arguments(array)
    given[0][0, GRADIENT] = address
    for kernel in (accumulation_kernel(dtype), update_kernel(dtype, Variant(CLASSIC, PLAIN, False))):
        kernel(*given)
    assert array.tolist() == [1] * 7


def test_only_the_chunks_from_the_first_to_the_last_are_worked_on() -> None:
    w, g = np.zeros(12, np.float32), np.ones(12, np.float32)
    table = np.zeros((1, COLUMNS), np.int64)
    table[0, VARIABLE], table[0, GRADIENT] = w.ctypes.data, g.ctypes.data
    chunks = np.array([[0, start, 3] for start in range(0, 12, 3)], np.int64)
    settings, factors, decays = np.ones(SETTINGS), np.ones((1, 2)), np.zeros(1, bool)
    update_kernel(FLOAT32, Variant(NO_MOMENTUM, PLAIN, False))(table, chunks, 1, 3, settings, factors, decays)
    assert w.tolist() == [0.0] * 3 + [-1.0] * 6 + [0.0] * 3
