"""Elements of tensors, dense and sparse, are those of the dense array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the tensors are PyTorch's, an extra")
tensors: Any = pytest.importorskip("sgd_ref.conformance.watching.frameworks.torch_tensors")


def sparse(shape: tuple[int, ...], sparse_dim: int, count: int) -> Any:
    """Return a sparse tensor, some of whose places are given twice."""
    generator = np.random.default_rng(1)
    indices = np.array([generator.integers(0, length, count) for length in shape[:sparse_dim]])
    values = generator.standard_normal((count, *shape[sparse_dim:])).astype("float32")
    pair = torch.from_numpy(indices), torch.from_numpy(values)
    return torch.sparse_coo_tensor(*pair, shape, check_invariants=True)


@pytest.mark.parametrize(
    ("shape", "sparse_dim", "count"),
    [((7, 3), 1, 5), ((7, 3), 2, 9), ((4, 3, 2), 1, 6), ((4, 3, 2), 2, 8), ((9,), 1, 4), ((7, 3), 1, 0)],
)
def test_elements_of_sparse_tensors_are_those_of_dense_ones(
    shape: tuple[int, ...], sparse_dim: int, count: int
) -> None:
    tensor = sparse(shape, sparse_dim, count)
    dense = tensor.coalesce().to_dense().numpy()
    every = torch.arange(dense.size)
    (taken,) = tensors.gathered([tensor], [every])
    assert taken.tobytes() == dense.tobytes()
    (taken,) = tensors.gathered([tensor], [every[1::3]])
    assert taken.tobytes() == dense.reshape(-1)[1::3].tobytes()
    (whole,) = tensors.gathered([tensor], [None])
    assert whole.tobytes() == dense.tobytes()
    assert tensors.square_of(tensor) == pytest.approx(float((dense.astype("float64") ** 2).sum()), rel=1e-12)


def test_a_sample_of_a_sparse_gradient_does_not_make_it_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "to_dense", lambda *_, **__: pytest.fail("it was made dense"))
    tensor = sparse((7, 3), 1, 5)
    tensors.gathered([tensor], [torch.arange(4)])
    tensors.square_of(tensor)
