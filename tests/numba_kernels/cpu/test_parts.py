"""NumPy arrays in parts on several ranks: the bits of the reference on the whole arrays."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from numba_kernels.ranks import Communicator, RankError
from tests.numba_kernels.agreement import DTYPES, assert_equal_bits, numbers
from tests.numba_kernels.ranks.threads import on_ranks

LENGTHS = [40, 3, 1, 17]
"""The last variable is the same on all ranks."""

NAMES = ["kernel", "bias", "single", "shared"]

COMMON: dict[str, Any] = {
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.125,
    "use_ema": True,
    "ema_momentum": 0.5,
}

CLIPPINGS: list[dict[str, Any]] = [
    {},
    {"clipnorm": 0.5},
    {"clipvalue": 0.25},
    {"global_clipnorm": 1.0},
    {"global_clipnorm": 1.0, "gradient_accumulation_steps": 2},
]


def _gradients(dtypes: list[Any], step: int, scaled: bool) -> list[Any]:
    generator = np.random.default_rng(step)
    gradients = [numbers(generator, n, dtype) for dtype in dtypes for n in LENGTHS]
    if scaled and step == 3:
        gradients[0][-1] = np.inf
    return gradients


def _pieces(arrays: list[Any], rank: int, size: int) -> list[Any]:
    return [
        np.array(w) if index % len(LENGTHS) == 3 else np.array_split(w, size)[rank]
        for index, w in enumerate(arrays)
    ]


def _made(
    dtypes: list[Any], settings: dict[str, Any], rank: int, size: int, scaled: bool, **more: Any
) -> Any:
    kind = numba_kernels.SGD if more else sgd_ref.SGD
    inner: Any = kind(**COMMON, **settings, **more)
    optimizer = sgd_ref.LossScaleOptimizer(inner, 8.0, 2) if scaled else inner
    variables = [np.array(w) for w in _pieces(_gradients(dtypes, 100, False), rank, size)]
    optimizer.build(variables, [f"{name}_{dtype}" for dtype in dtypes for name in NAMES])
    for step in range(6):
        optimizer.apply(_pieces(_gradients(dtypes, step, scaled), rank, size))
    return [*variables, *inner.velocities, *inner.averages, *inner.accumulators], optimizer


@pytest.mark.share(5)
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("settings", CLIPPINGS, ids=lambda settings: "-".join(settings) or "unclipped")
@pytest.mark.parametrize("dtypes", [*([dtype] for dtype in DTYPES), DTYPES[1:3]], ids=str)
def test_parts_have_the_bits_of_the_whole(
    dtypes: list[Any], settings: dict[str, Any], scaled: bool, size: int
) -> None:
    whole, reference = _made(dtypes, settings, 0, 1, scaled)

    def train(communicator: Communicator) -> Any:
        more = {"communicator": communicator, "replicated": ["shared"]}
        return _made(dtypes, settings, communicator.rank, size, scaled, **more)

    for rank, result in enumerate(on_ranks(size, train)):
        arrays, optimizer = result
        assert_equal_bits(f"rank {rank}", _pieces(whole, rank, size), arrays)
        assert optimizer.calls == reference.calls
        if scaled:
            assert optimizer.loss_scale == reference.loss_scale != 8.0


def test_a_bad_gradient_on_one_rank_changes_nothing_on_any() -> None:
    def train(communicator: Communicator) -> Any:
        w = np.ones(3, "float32")
        optimizer = numba_kernels.SGD(0.5, clipnorm=1.0, communicator=communicator)
        optimizer.build([w])
        length = 4 if communicator.rank == 1 else 3
        try:
            optimizer.apply([np.ones(length, "float32")])
        except Exception as error:  # noqa: BLE001  (it is compared)
            assert w.tolist() == [1, 1, 1]
            assert optimizer.calls == 0
            optimizer.apply([np.zeros(3, "float32")])
            assert optimizer.calls == 1
            return error
        return None

    first, failed, third = on_ranks(3, train)
    assert type(failed) is ValueError
    for error in (first, third):
        assert type(error) is RankError
        assert "rank 1 failed in the norms of step 1: ValueError: " in str(error)


def test_a_setting_that_differs_is_named() -> None:
    def train(communicator: Communicator) -> Any:
        momentum = 0.5 if communicator.rank else 0.25
        optimizer = numba_kernels.SGD(0.5, momentum, communicator=communicator)
        optimizer.apply([np.ones(3, "float32")], [np.ones(3, "float32")])

    for error in on_ranks(2, train):
        assert "momentum must be the same on all ranks, got 0.5 on rank 1 and 0.25 on rank 0" in str(error)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(TypeError, match="communicator must be a communicator of mpi4py"):
        numba_kernels.SGD(communicator=3)
    with pytest.raises(ValueError, match="replicated must be empty without a communicator"):
        numba_kernels.SGD(replicated=["bias"])
    with pytest.raises(TypeError, match="replicated must be"):
        numba_kernels.SGD(replicated="bias")

    def copied(communicator: Communicator) -> Any:
        with pytest.raises(TypeError, match="cannot be copied"):
            copy.deepcopy(numba_kernels.SGD(communicator=communicator))

    assert on_ranks(1, copied) == [None]
