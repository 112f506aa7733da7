"""Tensors are found and recognised by what PyTorch's function in C says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from numba_kernels.cpu.tensor_specs import COMPLETE, INCOMPLETE, REFUSED, TensorSpecs
from numba_kernels.shared.dlpack import describing_function
from numba_kernels.shared.slots import MISSING
from sgd_ref.arithmetic.formats import BY_NAME

torch: Any = pytest.importorskip("torch")

KINDS = (torch.Tensor, torch.nn.Parameter)
NOTHING = np.zeros(0, np.int64)


def specs_of(tensors: list[Any], describe: int | None = None) -> TensorSpecs:
    return TensorSpecs(
        describing_function(torch.Tensor) if describe is None else describe,
        [tuple(tensor.shape) for tensor in tensors],
        [tensor.stride() for tensor in tensors],
        [BY_NAME[str(tensor.dtype).removeprefix("torch.")] for tensor in tensors],
    )


def addresses_of(tensors: list[Any]) -> Any:
    return np.array([tensor.data_ptr() for tensor in tensors], np.int64)


def tensors() -> list[Any]:
    return [
        torch.ones(2, 3),
        torch.nn.Parameter(torch.ones(7, dtype=torch.float64)),
        torch.ones(2, 3, 4, 4, dtype=torch.bfloat16).to(memory_format=torch.channels_last),
        torch.ones((), dtype=torch.float16),
        torch.ones(0, 3),
    ]


def test_addresses_are_found_and_some_tensors_may_be_missing() -> None:
    given = tensors()
    specs, found = specs_of(given), np.zeros(len(given), np.int64)
    assert specs.find(given, KINDS, NOTHING, found) == COMPLETE
    assert found.tolist() == addresses_of(given).tolist()
    others = [None, *(tensor.clone() for tensor in given[1:])]
    assert specs.find(others, KINDS, NOTHING, found) == INCOMPLETE
    assert found.tolist() == [MISSING, *addresses_of(others[1:])]
    assert specs.find(given, KINDS, NOTHING, found) == COMPLETE
    assert found.tolist() == addresses_of(given).tolist()


class Derived(torch.Tensor):  # type: ignore[misc]
    """A class with arithmetic of its own, perhaps."""


def without_memory() -> Any:
    tensor = torch.ones(2, 3)
    tensor.untyped_storage().resize_(0)
    return tensor


OTHERS: dict[str, Callable[[], Any]] = {
    "shape": lambda: torch.ones(3, 2),
    "fewer elements": lambda: torch.ones(2, 2),
    "more axes": lambda: torch.ones(2, 3, 1),
    "strides": lambda: torch.ones(3, 2).t(),
    "gaps": lambda: torch.ones(2, 6)[:, ::2],
    "expanded": lambda: torch.ones(1, 3).expand(2, 3),
    "wider": lambda: torch.ones(2, 3, dtype=torch.float64),
    "integers": lambda: torch.ones(2, 3, dtype=torch.int32),
    "complex": lambda: torch.ones(2, 3, dtype=torch.complex64),
    "sparse": lambda: torch.ones(2, 3).to_sparse(),
    "meta": lambda: torch.ones(2, 3, device="meta"),
    "derived": lambda: torch.ones(2, 3).as_subclass(Derived),
    "without memory": without_memory,
    "misaligned": lambda: torch.frombuffer(bytearray(25), dtype=torch.float32, offset=1).view(2, 3),
    "a number": lambda: 1.0,
}


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_is_not_expected_needs_the_full_check(other: str) -> None:
    given = tensors()
    specs, found = specs_of(given), np.zeros(len(given), np.int64)
    assert specs.find(given, KINDS, NOTHING, found) == COMPLETE
    kept = given[0]
    given[0] = OTHERS[other]()
    # PyTorch crashes where pytest would show a tensor without memory.
    answer = specs.find(given, KINDS, NOTHING, found)
    given[0] = kept
    assert answer == REFUSED
    assert specs.find(given, KINDS, NOTHING, found) == COMPLETE


def test_as_many_tensors_as_expected_and_a_function_are_needed() -> None:
    given = tensors()
    found = np.zeros(len(given), np.int64)
    for others in (given[1:], [*given, given[0]], []):
        assert specs_of(given).find(others, KINDS, NOTHING, found) == REFUSED
    assert specs_of(given, describe=0).find(given, KINDS, NOTHING, found) == REFUSED


def test_memory_that_a_step_writes_is_not_read() -> None:
    memory = torch.ones(12)
    start = memory.data_ptr()
    for first, is_free in ((0, True), (1, False), (5, False), (6, False), (7, False), (8, True)):
        given = [memory[first : first + 4]]
        occupied = np.array([start + 4 * 4, start + 4 * 8], np.int64)
        found = np.zeros(1, np.int64)
        assert (specs_of(given).find(given, KINDS, occupied, found) == COMPLETE) == is_free, first
        # What was refused once is not known the next time.
        assert (specs_of(given).find(given, KINDS, occupied, found) == COMPLETE) == is_free, first


def test_a_thread_that_flushes_subnormals_is_refused() -> None:
    given = [torch.ones(2)]
    specs, found = specs_of(given), np.zeros(1, np.int64)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no such mode")
    try:
        assert specs.find(given, KINDS, NOTHING, found) == REFUSED
    finally:
        torch.set_flush_denormal(False)
    assert specs.find(given, KINDS, NOTHING, found) == COMPLETE


def identities_of(objects: list[Any]) -> Any:
    return np.array(list(map(id, objects)), np.int64)


def moved(tensor: Any) -> None:
    tensor.data = torch.ones(2, 3)


def turned(tensor: Any) -> None:
    tensor.data = tensor.data.t()


def made_smaller(tensor: Any) -> None:
    tensor.data = tensor.data[:1]


def retyped(tensor: Any) -> None:
    tensor.data = tensor.data.view(torch.int32).view(torch.float32).to(torch.bfloat16)


@pytest.mark.parametrize("change", [moved, turned, made_smaller, retyped])
def test_a_known_tensor_that_has_changed_is_noticed(change: Callable[[Any], None]) -> None:
    given = tensors()
    specs, identities, addresses = specs_of(given), identities_of(given), addresses_of(given)
    assert specs.are_unchanged(given, identities, addresses)
    given[0].add_(1)
    assert specs.are_unchanged(given, identities, addresses)
    change(given[0])
    assert not specs.are_unchanged(given, identities, addresses)


def test_other_objects_are_not_the_known_ones() -> None:
    given = tensors()
    specs, identities, addresses = specs_of(given), identities_of(given), addresses_of(given)
    for other in (given[0].detach(), None, 7, given[1]):
        assert not specs.are_unchanged([other, *given[1:]], identities, addresses)
    assert not specs.are_unchanged(given[:-1], identities, addresses)
    assert not specs_of(given, describe=0).are_unchanged(given, identities, addresses)
