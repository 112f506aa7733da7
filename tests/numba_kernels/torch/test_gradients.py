"""Gradients of every kind: sparse, narrower, laid out otherwise, missing, and those that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter

import sgd_ref
from numba_kernels.torch import SGD
from numba_kernels.torch.memory import array_of
from tests.numba_kernels.agreement import DTYPES, assert_equal_bits, numbers
from tests.numba_kernels.torch.grouped import TORCH, Pair, tensor

SETTINGS: list[dict[str, Any]] = [{}, {"momentum": 0.9, "weight_decay": 0.1}, {"global_clipnorm": 1.0}]

each_setting = pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s) or "plain")
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def split(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    own = {"lr": 0.1, "momentum": 0.0, "weight_decay": None, "nesterov": False}
    return {name: settings.get(name, value) for name, value in own.items()}, {
        name: value for name, value in settings.items() if name not in own
    }


def with_gaps(given: Any) -> Any:
    view = torch.zeros([2 * n for n in given.shape], dtype=given.dtype)[
        tuple(slice(None, None, 2) for _ in given.shape)
    ]
    return view.copy_(given)


LAYOUTS = {
    "channels-last": lambda given: given.contiguous(memory_format=torch.channels_last),
    "transposed": lambda given: given.transpose(0, 1).contiguous().transpose(0, 1),
    "gaps": with_gaps,
    "offset": lambda given: torch.cat([given.flatten()[:1], given.flatten()])[1:].view(given.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@each_setting
@each_dtype
def test_parameters_of_every_layout(dtype: Any, settings: dict[str, Any], layout: str) -> None:
    generator = np.random.default_rng(1)
    own, common = split(settings)
    shapes = [(4, 3, 5, 5), (2, 3, 1, 1), (1, 6, 2, 2)]
    pair = Pair(
        [[numbers(generator, shape, dtype) for shape in shapes]],
        [own],
        LAYOUTS[layout],
        use_ema=True,
        **common,
    )
    strides = [p.stride() for p in pair.parameters]
    for step in range(3):
        gradients = [numbers(generator, shape, dtype) for shape in shapes]
        pair.step([None if step == 1 and i == 1 else g for i, g in enumerate(gradients)])
        # The gradients of another layout mean the same.
        for p, g in zip(pair.parameters, gradients, strict=True):
            p.grad = [tensor(g), with_gaps(tensor(g)), LAYOUTS["transposed"](tensor(g))][step]
        pair.apply_reference(gradients)
        pair.optimizer.step()
        pair.compare()
    assert [p.stride() for p in pair.parameters] == strides


@each_setting
@each_dtype
@pytest.mark.parametrize("many", [False, True], ids=["few", "duplicates"])
def test_sparse_gradients_mean_their_dense_equivalent(
    dtype: Any, settings: dict[str, Any], many: bool
) -> None:
    generator = np.random.default_rng(2)
    start = numbers(generator, (20, 3), dtype)
    ours, array = Parameter(tensor(start)), start.copy()
    optimizer, reference = SGD([ours], lr=0.1, **settings), sgd_ref.SGD(0.1, **settings)
    for _ in range(4):
        indices = generator.integers(0, 20, 30 if many else 5)
        values = numbers(generator, (len(indices), 3), dtype)
        ours.grad = torch.sparse_coo_tensor(
            torch.from_numpy(indices)[None], tensor(values), (20, 3), check_invariants=True
        )
        optimizer.step()
        reference.apply([sgd_ref.SparseRows(indices, values, (20, 3))], [array])
        assert_equal_bits("w", [array], [array_of(ours)])


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "gaps"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_any_number_of_axes_may_be_sparse(axes: int, layout: str) -> None:
    generator = np.random.default_rng(3)
    shape = (4, 5, 3)
    start = numbers(generator, shape, np.float32)
    ours = Parameter(LAYOUTS.get(layout, torch.clone)(tensor(start)))
    dense, other = np.zeros(shape, np.float32), start.copy()
    indices = np.stack([generator.integers(0, n, 12) for n in shape[:axes]])
    values = numbers(generator, (12, *shape[axes:]), np.float32)
    for place, value in zip(indices.T.tolist(), values, strict=True):
        dense[tuple(place)] += value
    ours.grad = torch.sparse_coo_tensor(
        torch.from_numpy(indices), tensor(values), shape, check_invariants=True
    )
    SGD([ours], lr=0.1, momentum=0.5).step()
    sgd_ref.SGD(0.1, momentum=0.5).apply([dense], [other])
    assert_equal_bits("w", [other], [array_of(ours)])


def test_an_embedding_with_sparse_gradients_beside_dense_ones() -> None:
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(10, 4, sparse=True)
    linear = torch.nn.Linear(4, 1)
    parameters = [*embedding.parameters(), *linear.parameters()]
    arrays = [array_of(p).copy() for p in parameters]
    optimizer = SGD(parameters, lr=0.1, clipnorm=0.3)
    reference = sgd_ref.SGD(0.1, clipnorm=0.3)
    for step in range(5):
        optimizer.zero_grad()
        linear(embedding(torch.tensor([1, 4, 1, step]))).pow(2).sum().backward()
        sparse = parameters[0].grad
        assert sparse.is_sparse
        rows = sgd_ref.SparseRows(sparse._indices()[0].numpy(), sparse._values().numpy(), (10, 4))
        reference.apply([rows, *(p.grad.numpy().copy() for p in parameters[1:])], arrays)
        optimizer.step()
        assert_equal_bits("parameters", arrays, [array_of(p) for p in parameters])


@each_setting
@pytest.mark.parametrize(
    ("wide", "narrow"), [("float32", "bfloat16"), ("float32", "float16"), ("float64", "float32")]
)
def test_narrower_gradients_are_widened(wide: str, narrow: str, settings: dict[str, Any]) -> None:
    generator = np.random.default_rng(4)
    dtypes = {dtype.name: dtype for dtype in DTYPES}
    start = numbers(generator, (5, 7), dtypes[wide])
    ours, array = Parameter(tensor(start)), start.copy()
    ours.grad_dtype = None
    optimizer, reference = SGD([ours], lr=0.1, **settings), sgd_ref.SGD(0.1, **settings)
    for _ in range(3):
        g = numbers(generator, (5, 7), dtypes[narrow])
        ours.grad = tensor(g)
        assert ours.grad.dtype == TORCH[narrow]
        optimizer.step()
        reference.apply([g], [array])
        assert_equal_bits("w", [array], [array_of(ours)])


def test_a_wider_gradient_is_refused() -> None:
    w = Parameter(torch.ones(2))
    w.grad_dtype = None
    w.grad = torch.ones(2, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"the gradient of param_groups\[0\]\['params'\]\[0\].*float32 holds"):
        SGD([w]).step()
    assert w.tolist() == [1.0, 1.0]


def test_a_gradient_with_another_sign_in_memory() -> None:
    """Of an imaginary part PyTorch keeps that it is to be negated."""
    w = Parameter(torch.tensor(1.0))
    z = torch.complex(torch.tensor(2.0), w).conj()
    (z * z).real.backward()
    assert w.grad.is_neg()
    assert w.grad.is_contiguous()
    assert w.grad.item() == -2.0
    SGD([w], lr=0.5).step()
    assert w.item() == 2.0


def test_a_gradient_that_shares_memory_with_what_a_step_writes_is_refused() -> None:
    w, v = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    optimizer = SGD([{"params": w}, {"params": [v]}], lr=0.5, momentum=0.5)
    w.grad, v.grad = torch.ones(2), torch.ones(2)
    optimizer.step()
    for alias in (w.detach(), v.detach(), optimizer.state[w]["velocity"]):
        v.grad = alias
        before = w.tolist(), v.tolist()
        with pytest.raises(ValueError, match="must not share memory with what a step writes"):
            optimizer.step()
        assert (w.tolist(), v.tolist()) == before


def test_a_gradient_that_ends_in_a_parameter_is_refused_beside_missing_ones() -> None:
    memory = torch.ones(8)
    missing, v, w = Parameter(torch.ones(1)), Parameter(torch.ones(4)), Parameter(memory[4:])
    optimizer = SGD([missing, v, w])
    w.grad, v.grad = torch.ones(4), memory[1:5]
    with pytest.raises(ValueError, match="must not share memory with what a step writes"):
        optimizer.step()
    v.grad = memory[:4]
    optimizer.step()


def test_a_gradient_that_was_made_smaller_is_refused() -> None:
    w = Parameter(torch.ones(4))
    w.grad = torch.ones(4)
    w.grad.resize_(2)
    with pytest.raises(ValueError, match=r"must have the shape \(4,\).*got \(2,\)"):
        SGD([w]).step()


def test_other_layouts_and_wrappers_are_refused() -> None:
    w = Parameter(torch.ones(2, 2))
    with torch.no_grad():
        w.grad = None
    optimizer = SGD([w])

    class Wrapper(torch.Tensor):
        @classmethod
        def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            raise AssertionError

    wrapper = torch.Tensor._make_wrapper_subclass(Wrapper, (2, 2))
    with pytest.raises(TypeError, match="got a Wrapper, whose elements lie elsewhere"):
        SGD([wrapper.requires_grad_()])
    w.grad = wrapper
    with pytest.raises(TypeError, match="got a Wrapper, whose elements lie elsewhere"):
        optimizer.step()


def test_frozen_parameters_stay_and_use_no_memory_of_their_own() -> None:
    frozen, w = Parameter(torch.ones(1000), requires_grad=False), Parameter(torch.ones(3))
    optimizer = SGD([frozen, w], lr=0.5, momentum=0.5)
    w.grad = torch.ones(3)
    for _ in range(2):
        optimizer.step()
    assert frozen.tolist() == [1.0] * 1000
    assert w.tolist() == [-0.25] * 3


def test_an_optimizer_of_empty_groups_and_empty_parameters() -> None:
    empty, w = Parameter(torch.ones(0, 3)), Parameter(torch.ones(2))
    optimizer = SGD([{"params": []}, {"params": [empty, w]}], lr=0.5, global_clipnorm=10.0)
    empty.grad, w.grad = torch.ones(0, 3), torch.ones(2)
    optimizer.step()
    assert w.tolist() == [0.5, 0.5]
    assert [group["calls"] for group in optimizer.param_groups] == [1, 1]
