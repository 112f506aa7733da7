"""The kernels have the bits of the reference: combinations, layouts, dtypes, sparse and missing gradients."""

from __future__ import annotations

import copy
import os
import pathlib
import runpy
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import numba_kernels
import sgd_ref
from numba_kernels.cpu import optimizer as optimizer_module
from numba_kernels.cpu import plan, rounding
from numba_kernels.cpu.factors import factor_kernel, global_factor
from numba_kernels.cpu.kernels import accumulation_kernel, update_kernel
from numba_kernels.cpu.quick_clipping import common_norm_kernel, own_norms_kernel
from numba_kernels.cpu.sums import exact_kernel, sum_kernel
from numba_kernels.cpu.totals import totals_kernel, wide_totals_kernel
from sgd_ref import SparseRows, conformance
from sgd_ref.conformance import strategies
from sgd_ref.conformance.catalogue.axes import combination, full_product
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

HERE = pathlib.Path(__file__).parent
SGD_REF = HERE.parents[1] / "sgd_ref"


agreement = SimpleNamespace(**runpy.run_path(str(HERE.parent / "agreement.py")))
DTYPES, LAYOUTS, Pair, numbers = agreement.DTYPES, agreement.LAYOUTS, agreement.Pair, agreement.numbers
EVERYTHING = agreement.EVERYTHING
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)


def assert_same_trajectory(case: Case) -> None:
    comparison = compare(case, reference.run(case), reference.run(case, numba_kernels.SGD))
    assert comparison.equal, f"{case.id}: {comparison.difference}"


@pytest.mark.share(10)
@pytest.mark.parametrize("case", conformance.cases(tier="standard"), ids=lambda case: case.id)
def test_the_standard_tier(case: Case) -> None:
    assert_same_trajectory(case)


def test_a_share_of_the_full_product(sweep: Any) -> None:
    number = sum(1 for _ in full_product()) if sweep.complete else 30
    for index in sweep.generator.choice(933_120, min(number, 20_000), replace=False).tolist():
        assert_same_trajectory(make_case(combination(index)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.cases())
def test_cases_that_are_drawn(case: Case) -> None:
    assert_same_trajectory(case)


@every_dtype
@pytest.mark.parametrize("size", [*range(1, 20), 31, 32, 33, 63, 64, 65, 127, 129, 255, 257, 65535, 65537])
def test_every_size_around_the_vectors(dtype: Any, size: int) -> None:
    generator = np.random.default_rng(size)
    pair = Pair([numbers(generator, size, dtype, 0.05)], loss_scale_factor=8.0, **EVERYTHING)
    for _ in range(2 if size > 1000 else 4):
        pair.apply([numbers(generator, size, dtype)])


@every_dtype
def test_every_alignment(dtype: Any) -> None:
    generator = np.random.default_rng(7)
    for offset in range(1, 17):
        values = numbers(generator, 83, dtype, 0.05)

        def shifted(array: Any, offset: int = offset) -> Any:
            view = np.zeros(array.size + offset, array.dtype)[offset:]
            view[...] = array
            return view

        pair = Pair([values], layout=shifted, **EVERYTHING)
        for _ in range(3):
            pair.apply([shifted(numbers(generator, 83, dtype))])


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("steps", [None, 2])
def test_any_memory_of_variables_and_gradients(dtype: Any, layout: Any, steps: int | None) -> None:
    generator = np.random.default_rng(11)
    shapes = [(9, 5), (130,), (3, 4, 6)]
    variables = [numbers(generator, shape, dtype, 0.05) for shape in shapes]
    pair = Pair(variables, layout=layout, gradient_accumulation_steps=steps, **EVERYTHING)
    for call in range(4):
        gradients = [numbers(generator, shape, dtype, 0.02) for shape in shapes]
        pair.apply([layout(g) if (call + index) % 2 else g for index, g in enumerate(gradients)])


def test_a_view_of_several_chunks() -> None:
    generator = np.random.default_rng(12)
    shape = (400, 401)
    pair = Pair([numbers(generator, shape, np.float32)], layout=agreement.transposed, **EVERYTHING)
    for _ in range(3):
        pair.apply([numbers(generator, shape, np.float32)])


@pytest.mark.share(2)
@pytest.mark.parametrize("clipping", [{}, {"clipnorm": 0.5}, {"clipvalue": 0.1}, {"global_clipnorm": 0.5}])
@pytest.mark.parametrize("steps", [None, 2])
def test_variables_of_several_dtypes(clipping: dict[str, float], steps: int | None) -> None:
    generator = np.random.default_rng(13)
    pairs = [
        Pair(
            [numbers(generator, 40, dtype, 0.02) for dtype in chosen],
            learning_rate=0.1,
            momentum=0.9,
            weight_decay=0.1,
            gradient_accumulation_steps=steps,
            scaling=scaling,
            **clipping,
        )
        for chosen in (DTYPES, DTYPES[:2], DTYPES[1:3], DTYPES[:3])
        for scaling in (None, (8.0, 2))
    ]
    for pair in pairs:
        for call in range(5):
            gradients = [numbers(generator, 40, w.dtype) for w in pair.variables[0]]
            if call == 3:
                gradients[-1] = None
            pair.apply(gradients)


@pytest.mark.parametrize("wide", DTYPES[2:], ids=lambda dtype: dtype.name)
def test_gradients_narrower_than_their_variables(wide: Any) -> None:
    generator = np.random.default_rng(14)
    narrow = [dtype for dtype in DTYPES if dtype.itemsize < wide.itemsize]
    pair = Pair([numbers(generator, (7, 6), wide) for _ in narrow], loss_scale_factor=3.0, **EVERYTHING)
    for _ in range(4):
        pair.apply([numbers(generator, (7, 6), dtype, 0.01) for dtype in narrow])


@every_dtype
@pytest.mark.parametrize(
    "given_settings",
    [
        {"learning_rate": 0.1},
        {"learning_rate": -0.1},
        {"learning_rate": 0.1, "clipnorm": 0.5},
        {"learning_rate": 0.1, "global_clipnorm": 0.5, "loss_scale_factor": 8.0},
        {"learning_rate": 0.1, "weight_decay": 0.1},
        {"learning_rate": 0.1, "gradient_accumulation_steps": 2, "clipvalue": 0.5},
        EVERYTHING,
    ],
    ids=str,
)
def test_sparse_gradients(dtype: Any, given_settings: dict[str, Any]) -> None:
    generator = np.random.default_rng(15)
    shape = (50, 3, 2)
    # Negative zeros show whether a row that is not touched is left alone where it must not be.
    variables = [numbers(generator, shape, dtype, 0.2), numbers(generator, (30, 4), dtype, 0.2)]
    pair = Pair(variables, **given_settings)
    for call in range(4):
        count = int(generator.integers(0, 120))
        values = numbers(generator, (count, *shape[1:]), dtype, 0.02 if call == 2 else 0.0)
        rows = SparseRows(generator.integers(0, 50, count), values, shape)
        pair.apply([rows, numbers(generator, (30, 4), dtype)])


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_matrices_of_scipy(dtype: Any, momentum: float) -> None:
    generator = np.random.default_rng(16)
    pair = Pair([numbers(generator, (20, 8), dtype, 0.2)], learning_rate=0.1, momentum=momentum)
    for _ in range(3):
        places = generator.integers(0, 20, 60), generator.integers(0, 8, 60)
        matrix = scipy.sparse.coo_array((numbers(generator, 60, dtype), places), shape=(20, 8))
        pair.apply([matrix])
        pair.apply([scipy.sparse.csr_array(matrix)])


def test_rows_that_a_sparse_gradient_does_not_have_are_not_read() -> None:
    w = np.zeros((1_000_000, 16), np.float32)
    optimizer = numba_kernels.SGD(0.5)
    optimizer.build([w])
    rows = SparseRows([5, 999_999, 5], np.ones((3, 16), np.float32), w.shape)
    optimizer.apply([rows])
    assert w[5].tolist() == [-1.0] * 16
    assert w[999_999].tolist() == [-0.5] * 16
    assert np.count_nonzero(w) == 32


@every_dtype
@pytest.mark.parametrize("special", [0.05, 0.5])
def test_special_values_everywhere(dtype: Any, special: float) -> None:
    generator = np.random.default_rng(17)
    for given_settings in (EVERYTHING, {"momentum": 0.9, "clipvalue": 0.5, "gradient_accumulation_steps": 2}):
        pair = Pair([numbers(generator, 300, dtype, special)], **given_settings)
        for _ in range(4):
            pair.apply([numbers(generator, 300, dtype, special)])


@every_dtype
def test_the_number_of_threads_changes_no_bit(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "FEWEST_FOR_A_THREAD", 1000)
    generator = np.random.default_rng(18)
    shapes = [(300, 700), (65536 * 2 + 1,), (17,), (131, 1009)]
    pairs = [
        Pair(
            [numbers(np.random.default_rng(1), shape, dtype) for shape in shapes],
            threads=threads,
            **EVERYTHING,
        )
        for threads in (1, 2, 3)
    ]
    for _ in range(2):
        gradients = [numbers(generator, shape, dtype) for shape in shapes]
        for pair in pairs:
            pair.apply(gradients)


@every_dtype
def test_skipped_calls_and_growth_of_the_loss_scale(dtype: Any) -> None:
    generator = np.random.default_rng(19)
    for steps in (None, 2):
        pair = Pair(
            [numbers(generator, (4, 9), dtype), numbers(generator, 70, dtype)],
            scaling=(4.0, 2),
            gradient_accumulation_steps=steps,
            **EVERYTHING,
        )
        for call in range(8):
            gradients = [numbers(generator, (4, 9), dtype), numbers(generator, 70, dtype)]
            if call in (2, 5):
                gradients[1][69] = [np.inf, np.nan][call == 5]
            pair.apply(gradients)


@pytest.mark.parametrize("given_settings", [EVERYTHING, {"learning_rate": 0.1, "clipnorm": 0.5}], ids=str)
def test_calls_with_and_without_a_loss_scale(given_settings: dict[str, Any]) -> None:
    """One inner optimizer may be used by itself and inside of another one."""
    generator = np.random.default_rng(24)
    pair = Pair([numbers(generator, (4, 9), np.float32)], scaling=(4.0, 2), **given_settings)
    wrapped = pair.optimizers
    for call in range(8):
        pair.optimizers = wrapped if call % 4 > 1 else pair.inner
        pair.apply([numbers(generator, (4, 9), np.float32)])


def test_a_rate_that_becomes_the_other_zero() -> None:
    generator = np.random.default_rng(25)
    pair = Pair([np.array([0.0, -0.0, 1.0], np.float32)])
    for rate in (0.0, -0.0, 0.0, 0.1, 0.1, -0.0):
        for optimizer in pair.inner:
            optimizer.learning_rate = rate
        pair.apply([np.abs(numbers(generator, 3, np.float32))])


@pytest.mark.filterwarnings("ignore:learning_rate=.* becomes 0 in float32")
def test_large_finite_float64_are_not_taken_for_infinities() -> None:
    pair = Pair([np.ones(5)], scaling=(4.0, 2), learning_rate=1e-300)
    for _ in range(3):
        pair.apply([np.full(5, 1e300)])
    assert pair.inner[1].calls == 3


def test_a_replaced_gradient_and_a_replaced_list_are_noticed() -> None:
    generator = np.random.default_rng(20)
    pair = Pair([numbers(generator, 33, np.float32), numbers(generator, (2, 3), np.float32)], **EVERYTHING)
    gradients = [numbers(generator, 33, np.float32), numbers(generator, (2, 3), np.float32)]
    for _ in range(3):
        pair.apply(gradients)
        gradients[0] = numbers(generator, 33, np.float32)
        pair.apply(tuple(gradients))
        gradients[1] = gradients[1][:, ::-1]


def test_the_variables_given_with_each_call() -> None:
    generator = np.random.default_rng(21)
    first, second = numbers(generator, 40, np.float32), numbers(generator, 40, np.float32)
    outcomes = []
    for cls in (sgd_ref.SGD, numba_kernels.SGD):
        w, u = first.copy(), second.copy()
        optimizer: Any = cls(0.1, momentum=0.9)
        for call in range(4):
            g, h = np.full(40, 0.5 + call, np.float32), np.full(40, -0.5, np.float32)
            if call % 2:
                optimizer.apply([h, g], [u, w])
            else:
                optimizer.apply([g, h], [w, u])
        with pytest.raises(ValueError, match="one of the 2 arrays"):
            optimizer.apply([g, h], [w, u.copy()])
        outcomes.append([w, u])
    agreement.assert_equal_bits("variables", *outcomes)


def test_a_callable_rate_that_applies_is_refused() -> None:
    w = np.ones(3, np.float32)
    armed = False

    def rate() -> float:
        if armed:
            optimizer.apply([np.ones(3, np.float32)])
        return 0.5

    optimizer = numba_kernels.SGD(rate)
    optimizer.apply([np.ones(3, np.float32)], [w])
    optimizer.apply([np.ones(3, np.float32)])
    armed = True
    with pytest.raises(RuntimeError, match=r"must not call apply|recursion"):
        optimizer.apply([np.ones(3, np.float32)])


def test_a_gradient_in_the_memory_of_the_state_is_refused_on_the_short_way_too() -> None:
    w = np.ones(8, np.float32)
    optimizer = numba_kernels.SGD(0.5, momentum=0.5)
    for _ in range(3):
        optimizer.apply([np.ones(8, np.float32)], [w])
    before = w.copy()
    for alias in (w, optimizer.velocities[0]):
        with pytest.raises(ValueError, match="must not share memory"):
            optimizer.apply([alias])
    assert w.tolist() == before.tolist()


@pytest.mark.parametrize("dtypes", [["float32"], ["float32", "float64"]], ids=str)
def test_an_interrupt_while_a_plan_is_made_leaves_none(
    dtypes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the works of the plan before, whose arrays are others."""
    generator = np.random.default_rng(22)
    pair = Pair([numbers(generator, 50, np.dtype(dtype)) for dtype in dtypes], **EVERYTHING)
    pair.apply([numbers(generator, 50, np.dtype(dtype)) for dtype in dtypes])
    _, kernels = pair.inner
    original, asked = optimizer_module.compiled_work, []

    def work(*arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) == len(dtypes):
            raise KeyboardInterrupt
        return original(*arguments)

    # Another state needs another plan, and the works of the one before are of other arrays.
    kernels._state = copy.deepcopy(kernels._state)
    kernels._state.variables[:] = pair.variables[1]
    kernels.build(pair.variables[1])
    with monkeypatch.context() as patch:
        patch.setattr(optimizer_module, "compiled_work", work)
        before = [array.copy() for array in (*pair.variables[1], *kernels.velocities)]
        with pytest.raises(KeyboardInterrupt):
            kernels.apply([numbers(generator, 50, np.dtype(dtype)) for dtype in dtypes])
    for array, old in zip((*pair.variables[1], *kernels.velocities), before, strict=True):
        assert array.tobytes() == old.tobytes()
    for _ in range(3):
        pair.apply([numbers(generator, 50, np.dtype(dtype)) for dtype in dtypes])


def test_copies_have_addresses_of_their_own() -> None:
    generator = np.random.default_rng(22)
    w = numbers(generator, 50, np.float32)
    optimizer = numba_kernels.SGD(0.1, momentum=0.9, threads=2)
    for _ in range(2):
        optimizer.apply([numbers(generator, 50, np.float32)], [w])
    (twin, others), before = copy.deepcopy((optimizer, [w])), w.copy()
    twin.apply([numbers(generator, 50, np.float32)], others)
    assert w.tobytes() == before.tobytes()
    assert twin.threads == 2
    assert (twin.calls, optimizer.calls) == (3, 2)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2", None])
def test_threads_that_are_refused(threads: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="threads must be"):
        numba_kernels.SGD(threads=threads)


def test_threads_are_no_part_of_the_config() -> None:
    optimizer = numba_kernels.SGD(momentum=0.5, threads=2)
    assert optimizer.get_config() == sgd_ref.SGD(momentum=0.5).get_config()
    assert numba_kernels.SGD.from_config(optimizer.get_config()).threads == 1
    with pytest.raises(AttributeError):
        optimizer.threads = 3  # type: ignore[misc]


MAKERS: tuple[Any, ...] = (
    accumulation_kernel,
    update_kernel,
    exact_kernel,
    sum_kernel,
    totals_kernel,
    wide_totals_kernel,
    rounding.narrow_decision,
    rounding.narrow_decisions,
    rounding.wide_decision,
    factor_kernel,
    common_norm_kernel,
    own_norms_kernel,
)


@pytest.mark.parametrize("scaling", [None, (8.0, 2)])
@pytest.mark.parametrize(
    "given_settings",
    [
        EVERYTHING,
        {"momentum": 0.5},
        {"clipnorm": 1.0},
        {"gradient_accumulation_steps": 2, "clipnorm": 1.0},
        {"gradient_accumulation_steps": 2, "global_clipnorm": 1.0},
    ],
    ids=str,
)
def test_nothing_is_compiled_after_the_first_step(
    given_settings: dict[str, Any], scaling: tuple[float, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(23)
    # What other tests have compiled would not be noticed.
    for maker in (*MAKERS, global_factor):
        maker.cache_clear()
    shapes = dict.fromkeys(DTYPES[2:], (40,))
    pair = Pair([numbers(generator, (40,), dtype) for dtype in shapes], scaling=scaling, **given_settings)
    pair.apply([numbers(generator, shape, dtype) for dtype, shape in shapes.items()])
    made = [maker.cache_info().misses for maker in MAKERS]
    for call in range(4):
        if call == 2:
            # Also where a norm is not decided.
            monkeypatch.setattr(rounding, "decided_norm", lambda high, low: None)
        gradients: list[Any] = [numbers(generator, shape, dtype) for dtype, shape in shapes.items()]
        pair.apply([*gradients[:-1], None] if call == 2 else gradients)
    assert [maker.cache_info().misses for maker in MAKERS] == made


@pytest.mark.share(3)
@pytest.mark.parametrize(
    "name",
    [
        "test_rejections",
        "test_loss_scale",
        "base/test_exclusion",
        "base/test_weights",
        "base/test_finalization",
        "base/test_learning_rate",
        "test_clipping",
    ],
)
def test_the_tests_of_the_reference_pass_with_kernels(name: str, tmp_path: pathlib.Path) -> None:
    """Errors, warnings, exclusions, weights and loss scales: the tests of the reference, with kernels."""
    (tmp_path / "with_kernels.py").write_text(
        "import numba_kernels\nimport sgd_ref\nsgd_ref.SGD = numba_kernels.SGD\n"
    )
    file = str(SGD_REF / f"{name}.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "with_kernels", "-p", "no:cacheprovider", file],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_many_small_variables_with_gaps_in_the_list(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shapes = [tuple(generator.integers(0, 5, int(generator.integers(0, 3)))) for _ in range(12)]
    pair = Pair([numbers(generator, shape, np.float32) for shape in shapes], **EVERYTHING)
    for _ in range(3):
        gradients = [numbers(generator, shape, np.float32) for shape in shapes]
        for index in generator.integers(0, 12, 3).tolist():
            gradients[index] = None
        pair.apply(gradients)
