"""The optimizer on the device has the bits of the reference: sizes, memory, dtypes, sparse ones."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels import cuda
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.host.groups import CHUNK
from sgd_ref import SparseRows
from sgd_ref.base.exclusive import alone

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))
DTYPES, EVERYTHING, Pair, numbers = pairs.DTYPES, pairs.EVERYTHING, pairs.Pair, pairs.numbers
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
every_layout = pytest.mark.parametrize("layout", pairs.LAYOUTS, ids=lambda layout: layout.__name__)

CLIPPINGS: list[dict[str, float]] = [{}, {"clipnorm": 0.5}, {"clipvalue": 0.1}, {"global_clipnorm": 0.5}]


def sizes(dtype: Any) -> list[int]:
    width = storage(dtype).width
    lengths = (0, 1, width - 1, width, width + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3)
    return list(dict.fromkeys(lengths))


@every_dtype
@pytest.mark.parametrize("is_shifted", [False, True])
def test_every_size_around_packets_and_chunks(dtype: Any, is_shifted: bool) -> None:
    generator = np.random.default_rng(1)
    layout = pairs.shifted if is_shifted else pairs.to_device
    shapes = [*((size,) for size in sizes(dtype)), (), (3, 0, 2)]
    pair = Pair([numbers(generator, shape, dtype, 0.05) for shape in shapes], layout=layout, **EVERYTHING)
    for call in range(2):
        # Where only one of two is shifted, the variable or the gradient, no packets can be read.
        mixed = pairs.to_device if call else layout
        pair.apply([numbers(generator, shape, dtype) for shape in shapes], layout=mixed)


@pytest.mark.share(4)
@every_dtype
@every_layout
def test_any_memory_of_variables(dtype: Any, layout: Any) -> None:
    generator = np.random.default_rng(2)
    shapes = [(4, 5), (45,), (2, 1, 3), ()]
    variables = [numbers(generator, shape, dtype, 0.05) for shape in shapes]
    pair = Pair(variables, layout=layout, **EVERYTHING | {"gradient_accumulation_steps": None})
    for call in range(2):
        gradients: list[Any] = [numbers(generator, shape, dtype, 0.02) for shape in shapes]
        pair.apply([None, *gradients[1:]] if call else gradients)
    with np.errstate(all="ignore"):
        pair.inner[0].finalize_variable_values(pair.hosts)
    pair.inner[1].finalize_variable_values(pair.devices)
    pair.compare()


@every_dtype
@every_layout
def test_any_memory_of_gradients(dtype: Any, layout: Any) -> None:
    generator = np.random.default_rng(3)
    shapes = [(4, 5), (45,), (2, 1, 3), ()]
    pair = Pair([numbers(generator, shape, dtype, 0.05) for shape in shapes], momentum=0.9, clipvalue=0.5)
    for call in range(3):
        gradients = [numbers(generator, shape, dtype, 0.05) for shape in shapes]
        pair.apply(gradients, layout=pairs.to_device if call == 1 else layout)


def test_what_lies_between_the_elements_is_left_alone() -> None:
    memory = pairs.to_device(np.arange(24, dtype=np.float32).reshape(4, 6))
    optimizer = pairs.cuda.SGD(1.0, use_ema=True, ema_overwrite_frequency=1)
    optimizer.apply([pairs.to_device(np.ones((2, 3), np.float32))], [memory[::2, ::2]])
    expected = np.arange(24, dtype=np.float32).reshape(4, 6)
    expected[::2, ::2] -= 1
    assert memory.copy_to_host().tolist() == expected.tolist()


@pytest.mark.share(3)
@pytest.mark.parametrize("wide", DTYPES[2:], ids=lambda dtype: dtype.name)
@every_layout
def test_gradients_narrower_than_their_variables(wide: Any, layout: Any) -> None:
    generator = np.random.default_rng(4)
    narrow = [dtype for dtype in DTYPES if dtype.itemsize <= wide.itemsize]
    pair = Pair([numbers(generator, (5, 9), wide) for _ in narrow], loss_scale_factor=3.0, clipnorm=2.0)
    for _ in range(2):
        pair.apply([numbers(generator, (5, 9), dtype, 0.05) for dtype in narrow], layout=layout)
        narrow = narrow[::-1]


@pytest.mark.share(4)
@pytest.mark.parametrize("clipping", CLIPPINGS, ids=str)
@pytest.mark.parametrize("scaling", [None, (8.0, 2)])
@pytest.mark.parametrize("steps", [None, 2])
def test_variables_of_several_dtypes(clipping: Any, scaling: Any, steps: int | None) -> None:
    generator = np.random.default_rng(5)
    settings = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.1, **clipping}
    for chosen in (DTYPES, DTYPES[:2], DTYPES[1:3]):
        variables = [numbers(generator, 17, dtype, 0.02) for dtype in chosen]
        pair = Pair(variables, scaling=scaling, gradient_accumulation_steps=steps, **settings)
        for call in range(4):
            gradients = [numbers(generator, 17, dtype) for dtype in chosen]
            # The norm of all gradients has a narrower dtype then.
            pair.apply([*gradients[:-1], None] if call == 3 else gradients)


@pytest.mark.share(4)
@pytest.mark.parametrize("clipping", CLIPPINGS, ids=str)
@pytest.mark.parametrize("left", range(4))
def test_one_dtype_alone_has_gradients(clipping: Any, left: int) -> None:
    generator = np.random.default_rng(6)
    pair = Pair([numbers(generator, 9, dtype) for dtype in DTYPES], use_ema=True, **clipping)
    for present in ([left], list(range(4)), [left]):
        pair.apply([numbers(generator, 9, d) if i in present else None for i, d in enumerate(DTYPES)])


@pytest.mark.share(3)
@every_dtype
@pytest.mark.parametrize("steps", [None, 2])
def test_gradients_that_are_missing_now_and_then(dtype: Any, steps: int | None) -> None:
    generator = np.random.default_rng(7)
    shapes = [(45,), (3, 3), (), (0,)]
    settings = EVERYTHING | {"gradient_accumulation_steps": steps, "clipnorm": 0.7, "global_clipnorm": None}
    pair = Pair([numbers(generator, shape, dtype) for shape in shapes], **settings)
    for present in ((0, 1, 2, 3), (1,), (0, 3), (2, 1)):
        gradients = [numbers(generator, shape, dtype) for shape in shapes]
        pair.apply([g if index in present else None for index, g in enumerate(gradients)])


@every_dtype
@pytest.mark.parametrize("settings", [{"learning_rate": 0.1}, EVERYTHING], ids=["plain", "everything"])
def test_sparse_gradients(dtype: Any, settings: dict[str, Any]) -> None:
    generator = np.random.default_rng(8)
    shape = (20, 3, 2)
    pair = Pair([numbers(generator, shape, dtype, 0.2), numbers(generator, (7, 4), dtype)], **settings)
    for count in (30, 0, 7, 1):
        values = numbers(generator, (count, *shape[1:]), dtype, 0.02 if count == 7 else 0.0)
        rows = SparseRows(generator.integers(0, 20, count), values, shape)
        pair.apply([rows, numbers(generator, (7, 4), dtype)])


@pytest.mark.parametrize("dtype", DTYPES[2:], ids=lambda dtype: dtype.name)
def test_matrices_of_scipy(dtype: Any) -> None:
    generator = np.random.default_rng(9)
    pair = Pair([numbers(generator, (9, 8), dtype, 0.2)], learning_rate=0.1, momentum=0.9)
    for narrower in (dtype, DTYPES[2]):
        places = generator.integers(0, 9, 30), generator.integers(0, 8, 30)
        matrix = scipy.sparse.coo_array((numbers(generator, 30, narrower), places), shape=(9, 8))
        pair.apply([matrix])
        pair.apply([scipy.sparse.csr_array(matrix)])
        pair.apply([numbers(generator, (9, 8), dtype)])


@pytest.mark.share(4)
@every_dtype
@pytest.mark.parametrize("clipping", CLIPPINGS, ids=str)
def test_special_values_everywhere(dtype: Any, clipping: dict[str, float]) -> None:
    generator = np.random.default_rng(10)
    settings = EVERYTHING | {"global_clipnorm": None} | clipping
    for special in (0.03, 0.5):
        # One variable of few elements, since a NaN spreads through a norm.
        shapes = [(50,), (3,)]
        pair = Pair([numbers(generator, shape, dtype, special) for shape in shapes], **settings)
        for _ in range(3):
            pair.apply([numbers(generator, shape, dtype, special) for shape in shapes])


@pytest.mark.share(2)
@every_dtype
@pytest.mark.parametrize("nesterov", [False, True])
def test_subnormal_numbers_and_signed_zeros(dtype: Any, nesterov: bool) -> None:
    least = float(np.finfo(dtype).smallest_subnormal) if dtype != DTYPES[1] else 2.0**-133
    values = np.array([least * k for k in (1, -1, 2, -3, 5, 7, -11, 0)] + [-0.0]).astype(dtype)
    assert np.count_nonzero(values) == 7
    settings = {"momentum": 0.75, "nesterov": nesterov, "weight_decay": 0.25, "use_ema": True}
    for rate in (0.5, -0.5, 0.0, -0.0):
        pair = Pair([values, -values], learning_rate=rate, ema_momentum=0.5, clipvalue=0.5, **settings)
        for _ in range(3):
            pair.apply([values[::-1], values])


def test_variables_given_with_each_call_in_any_order() -> None:
    generator = np.random.default_rng(11)
    pair = Pair([numbers(generator, 40, np.float32), numbers(generator, 7, np.float32)], momentum=0.9)
    for call in range(4):
        g, h = numbers(generator, 40, np.float32), numbers(generator, 7, np.float32)
        turn = slice(None, None, -1 if call % 2 else 1)
        pair.inner[0].apply([g, h][turn], pair.hosts[turn])
        pair.inner[1].apply([pairs.to_device(g), pairs.to_device(h)][turn], pair.devices[turn])
        pair.compare()
    # A part of them leaves the others out.
    pair.inner[0].apply([g], pair.hosts[:1])
    pair.inner[1].apply([pairs.to_device(g)], pair.devices[:1])
    pair.compare()


def test_two_optimizers_take_turns() -> None:
    generator = np.random.default_rng(12)
    both = [
        Pair([numbers(generator, 50, np.float32)], **EVERYTHING),
        Pair([numbers(generator, 50, np.float32)], momentum=0.5, clipnorm=1.0),
    ]
    for _ in range(3):
        for pair in both:
            pair.apply([numbers(generator, 50, np.float32)])


def test_many_small_variables(sweep: Any) -> None:
    for _ in range(sweep.count(40)):
        shapes = [
            tuple(sweep.generator.integers(0, 4, int(sweep.generator.integers(0, 3))).tolist())
            for _ in range(9)
        ]
        pair = Pair([numbers(sweep.generator, shape, np.float32) for shape in shapes], **EVERYTHING)
        for call in range(3):
            gradients: list[Any] = [numbers(sweep.generator, shape, np.float32) for shape in shapes]
            gradients[call] = None
            pair.apply(gradients)


@pytest.mark.parametrize("wraps", [False, True])
def test_a_second_user_of_an_optimizer_at_work_is_refused(wraps: bool) -> None:
    inner = cuda.SGD(0.5, momentum=0.5)
    optimizer = cuda.LossScaleOptimizer(inner, 1.0) if wraps else inner
    w, g = pairs.to_device(np.ones(3, np.float32)), pairs.to_device(np.ones(3, np.float32))
    optimizer.apply([g], [w])
    with alone(inner._running), pytest.raises(RuntimeError, match="at work in another call"):
        optimizer.apply([g])
    assert optimizer.calls == 1
    optimizer.apply([g])
    assert optimizer.calls == 2
