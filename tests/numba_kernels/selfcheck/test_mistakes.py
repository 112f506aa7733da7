"""Each mistake that a kernel could make is found by the check that is for it."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest

import numba_kernels
import sgd_ref
from numba_kernels.cpu import rounding
from numba_kernels.cpu.plan import CHUNK, Group
from numba_kernels.cpu.target import target
from numba_kernels.selfcheck import (
    golden_data,
    gradient_forms,
    layouts,
    norms,
    product,
    sizes,
    special,
    threads_check,
)
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.machine_code import cpu as machine_code
from numba_kernels.selfcheck.machine_code.compiling import kernels_of
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.slots import LEARNING_RATE, MOMENTUM
from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, FORMATS
from sgd_ref.base.call import Call

ExtentOf = Callable[..., Extent]
Check = Callable[..., Result]

SMALL = "sizes/float32/.*/small-and-middle$"
LARGE = rf"sizes/float32/.*/{2 * CHUNK + 1}$"
COMBINATION = "^product/axes/nesterov/(.*/)?averages/accumulation-2/fixed(/|$)"


class Mistaken(numba_kernels.SGD):
    """Makes a mistake after each step."""

    def perform(self, call: Call, loss_scale: Any) -> None:
        super().perform(call, loss_scale)
        self.spoil(call)

    def spoil(self, call: Call) -> None:
        raise NotImplementedError


class WrongLane(Mistaken):
    """One element of each vector of 16 is a unit off."""

    def spoil(self, call: Call) -> None:
        for variable in call.state.variables:
            if variable.flags.c_contiguous:
                elements = variable.reshape(-1)
                elements[13::16] = np.nextafter(elements[13::16], elements.dtype.type(np.inf))


class WritesBehind(Mistaken):
    """The element behind a variable is written, too."""

    def spoil(self, call: Call) -> None:
        variable = call.state.variables[-1]
        ctypes.memset(variable.ctypes.data + variable.nbytes, 0, 1)


class TwoThreadsDiffer(Mistaken):
    """With two threads one element is wrong."""

    def spoil(self, call: Call) -> None:
        if self.threads == 2:
            call.state.variables[0][-1] += 1


class Shared(Mistaken):
    """What one optimizer has written, another one overwrites."""

    last: Any = None

    def spoil(self, call: Call) -> None:
        first = call.state.variables[0]
        if Shared.last is not None and Shared.last is not first and len(first) == len(Shared.last):
            first[0] = 2 * Shared.last[0] + 1
        Shared.last = first


class SubnormalsAreLost(Mistaken):
    """Subnormal numbers become zero, as under flush-to-zero."""

    def spoil(self, call: Call) -> None:
        for variable in call.state.variables:
            tiny = np.abs(variable.astype(FLOAT64)) < float(np.finfo(FLOAT32).smallest_normal)
            variable[tiny & (variable != 0)] = 0


class SwappedOperands(numba_kernels.SGD):
    """Momentum and learning rate are taken for one another."""

    def _loaded_plan(self, call: Call, loss_scale: Any) -> Any:
        plan = super()._loaded_plan(call, loss_scale)
        for group in plan.groups:
            values = group.constants.values
            values[LEARNING_RATE] = float(np.float32(self.momentum))
            values[MOMENTUM] = float(call.learning_rate)
        return plan


class ShortChunk(numba_kernels.SGD):
    """The last element of a chunk of full length is left out."""

    def _loaded_plan(self, call: Call, loss_scale: Any) -> Any:
        plan = super()._loaded_plan(call, loss_scale)
        for group in plan.groups:
            group.chunks[group.chunks[:, 2] == CHUNK, 2] = CHUNK - 1
        return plan


class StaleResult(numba_kernels.SGD):
    """The second call changes nothing."""

    def perform(self, call: Call, loss_scale: Any) -> None:
        if call.state.calls != 1:
            super().perform(call, loss_scale)


class FallsBack(numba_kernels.SGD):
    """The formula of the reference is used."""

    def perform(self, call: Call, loss_scale: Any) -> None:
        super().perform(call, loss_scale)
        rule.move(call.state.variables[0], call.state.variables[0])


class FirstOfDuplicates(numba_kernels.SGD):
    """A row that occurs again is dropped, not added."""

    def accepted(self, gradient: Any, variable: Any) -> Any:
        if isinstance(gradient, sgd_ref.SparseRows):
            _, first = np.unique(gradient.indices, return_index=True)
            gradient = sgd_ref.SparseRows(gradient.indices[first], gradient.values[first], gradient.shape)
        return super().accepted(gradient, variable)


CASES: list[tuple[Check, Any, str]] = [
    (sizes.check, WrongLane, SMALL),
    (sizes.check, SwappedOperands, SMALL),
    (sizes.check, StaleResult, SMALL),
    (sizes.check, FallsBack, SMALL),
    (sizes.check, ShortChunk, LARGE),
    (sizes.check, WrongLane, "same-everywhere$"),
    (sizes.check, WritesBehind, "/variables-offset-3$"),
    (product.check, WrongLane, COMBINATION),
    (product.check, SwappedOperands, COMBINATION),
    (product.check, StaleResult, COMBINATION),
    (product.check, FallsBack, COMBINATION),
    (special.check, SubnormalsAreLost, "/clipped$"),
    (gradient_forms.check, FirstOfDuplicates, "/clipvalue/rows$"),
    (threads_check.check, TwoThreadsDiffer, "/clipvalue/2$"),
    (threads_check.check, Shared, "/clipvalue/1-at-once$"),
    (golden_data.check, SwappedOperands, "^golden/axes/nesterov"),
]


@pytest.mark.share(4)
@pytest.mark.parametrize(("check", "optimizer", "pattern"), CASES)
def test_a_mistake_is_found(check: Check, optimizer: Any, pattern: str, one_kernel: ExtentOf) -> None:
    extent = one_kernel(pattern)
    fine = check(extent)
    assert fine.cases > 0
    assert fine.compared > 0
    assert (fine.differing, fine.differences) == (0, [])
    assert check(extent, optimizer).differing > 0


def test_threads_share_the_work(one_kernel: ExtentOf, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    shares = Group.shares

    def counted(self: Group, threads: int) -> list[tuple[int, int]]:
        found = shares(self, threads)
        counts.append(len(found))
        return found

    monkeypatch.setattr(Group, "shares", counted)
    threads_check.check(one_kernel("/clipvalue/2$"))
    assert set(counts) == {2}


def test_a_norm_that_is_a_unit_off_is_found(one_kernel: ExtentOf) -> None:
    def off(arrays: Any, dtype: Any) -> float:
        right = norms.norm_by_kernels(arrays, dtype)
        return float(np.nextafter(dtype.type(right), dtype.type(0)))

    extent = one_kernel("^norms/float32/below-")
    assert norms.check(extent).differing == 0
    found = norms.check(extent, norm_of=off)
    assert found.differing == found.cases > 0


def test_a_bound_on_sums_that_is_too_small_is_found(
    one_kernel: ExtentOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba_kernels.cpu.rounding.ERROR_OF_PLAIN_SUM", -4 * 2.0**-53)
    assert norms.check(one_kernel("^norms/float32/(above|below)-[0-9]+$")).differing > 0


def test_near_ties_are_not_decided_by_the_bound(
    one_kernel: ExtentOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided: list[float | None] = []
    narrow = rounding.decided_narrow_norm
    monkeypatch.setattr(
        rounding, "decided_narrow_norm", lambda *given: decided.append(narrow(*given)) or decided[-1]
    )
    for question in norms.questions(one_kernel()):
        if question.identifier.startswith("norms/float32/below-"):
            norms.norm_by_kernels(question.arrays, question.dtype)
    assert decided.count(None) > len(decided) // 2 > 0


def test_a_wrong_conversion_is_found(one_kernel: ExtentOf, monkeypatch: pytest.MonkeyPatch) -> None:
    extent = one_kernel("conversion-by-bits$")
    fine = special.check(extent)
    assert (fine.cases, fine.differing) == (2, 0)
    rounded = special._rounded
    # One unit too much wherever the last bit is set: a rounding away from even.
    monkeypatch.setattr(
        special,
        "_rounded",
        lambda given, dtype, in_hardware: (rounded(given, dtype, in_hardware).view(np.uint16) | 1).view(
            dtype
        ),
    )
    assert special.check(extent).differing > 0


def _compiled(may_fuse: bool = False, **options: Any) -> Any:
    @numba.njit("void(float32[::1], float32[::1])", error_model="numpy", **options)
    def updated(w: Any, g: Any) -> None:
        for i in range(w.shape[0]):
            w[i] = w[i] - g[i] * np.float32(0.1)

    return SimpleNamespace(
        name="fake",
        compiled=lambda: updated,
        is_elementwise=not may_fuse,
        computes_in=FLOAT32,
        may_fuse=may_fuse,
    )


def test_fused_multiply_adds_are_found(one_kernel: ExtentOf) -> None:
    if platform.machine() not in ("aarch64", "arm64") and "fma" not in target().present():
        pytest.skip("Numba compiles for a processor without fused multiply-adds")
    assert machine_code.check(one_kernel(), [_compiled()]).differing == 0
    found = machine_code.check(one_kernel(), [_compiled(fastmath={"contract"})])
    assert found.differing > 0
    assert "fuses products and sums" in found.differences[0]
    asked = machine_code.check(one_kernel(), [_compiled(may_fuse=True, fastmath={"contract"})])
    assert asked.differing == 0


def test_only_sums_for_norms_in_float64_may_fuse() -> None:
    may = {kernel.name for kernel in kernels_of(Extent()) if kernel.may_fuse}
    assert may == {f"sum/{dtype.name}/{gradient}/true" for dtype in FORMATS for gradient in range(3)}


ON_ARM = """
\tldp\tq0, q1, [x8], #32
\tfmul\tv2.4s, v0.4s, v16.4s
\tfmul.4s\tv3, v1, v17
\tfmul\ts4, s0, s1
\tfmla\tv2.4s, v0.4s, v1.4s
\tfnmsub\ts4, s0, s1, s2
"""


def test_the_instructions_of_arm_are_known() -> None:
    found = machine_code.instructions(ON_ARM, FLOAT32, "arm")
    assert found == machine_code.Instructions(2, ("fmla", "fnmsub"))


def test_a_loop_that_is_not_vectorised_is_found(one_kernel: ExtentOf) -> None:
    @numba.njit("void(float32[::1], float32[::1])", error_model="numpy")
    def updated(w: Any, g: Any) -> None:
        # Each element depends on the one before.
        for i in range(1, w.shape[0]):
            w[i] = w[i - 1] * g[i]

    kernel = SimpleNamespace(name="fake", compiled=lambda: updated, is_elementwise=True, computes_in=FLOAT32)
    found = machine_code.check(one_kernel(), [kernel])
    assert "has no packed multiplication" in found.differences[0]


def test_the_first_difference_is_told_with_bits_and_a_command(one_kernel: ExtentOf) -> None:
    (text, *_) = sizes.check(one_kernel(SMALL), WrongLane).differences
    assert text.startswith(
        "sizes/float32/nesterov_accumulated_averages/small-and-middle\n  call 0, variables of v14[13]"
    )
    assert "expected 0x" in text
    assert text.endswith(
        "again: sgd-ref check --quick -k '^sizes/float32/nesterov_accumulated_averages/small-and-middle$'"
    )


def test_the_layout_of_a_misaligned_array_is_one() -> None:
    placed = layouts.misaligned(np.ones(3, np.float32))
    assert not placed.array.flags.aligned
    assert not layouts.with_gaps(np.ones((2, 2))).array.flags.c_contiguous
