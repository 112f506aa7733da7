"""Arrays of subclasses are their memory: the same bits from both packages, whatever the subclass does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref

packages = pytest.mark.parametrize("package", [sgd_ref, numba_kernels])


class Stubborn(np.ndarray[Any, Any]):
    """An array that reads, computes and writes other numbers than those in its memory."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, 2 * np.asarray(value))

    def __getitem__(self, key: Any) -> Any:
        return np.asarray(self)[key] + 1

    def __array_ufunc__(self, *arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("no operation of a subclass has a part in the rule")


SETTINGS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"use_ema": True, "ema_overwrite_frequency": 2},
    {"clipnorm": 0.5, "gradient_accumulation_steps": 2},
    {"global_clipnorm": 0.5, "loss_scale_factor": 4.0},
]


def trained(package: Any, w: Any, settings: dict[str, Any], gradient: Any) -> None:
    optimizer = package.SGD(0.1, **settings)
    for _ in range(4):
        optimizer.apply([gradient], [w])
    optimizer.finalize_variable_values([w])


@packages
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("subclass", [Stubborn, np.matrix, np.recarray])
@pytest.mark.parametrize("in_one_piece", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
def test_a_subclass_has_the_bits_of_its_memory(
    package: Any, settings: dict[str, Any], subclass: Any, in_one_piece: bool, sparse: bool
) -> None:
    memory = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)
    plain, other = memory.copy(), memory.copy()
    columns = slice(None) if in_one_piece else slice(0, 6, 2)
    values = np.linspace(0.5, -2, plain[:, columns].size, dtype=np.float32).reshape(4, -1)
    dense: Any = values.view(subclass)
    rows = sgd_ref.SparseRows([2, 0, 2], values[:3].view(subclass), values.shape)
    expected: Any = sgd_ref.SparseRows([2, 0, 2], values[:3], values.shape) if sparse else values
    trained(sgd_ref, plain[:, columns], settings, expected)
    trained(package, other[:, columns].view(subclass), settings, rows if sparse else dense)
    assert plain.tobytes() == other.tobytes()
    assert plain.tobytes() != memory.tobytes()


@packages
def test_a_file_in_memory_is_updated(package: Any, tmp_path: Path) -> None:
    w = np.memmap(tmp_path / "weights", np.float32, "w+", shape=(5,))
    w[:] = 1
    trained(package, w, {"momentum": 0.5}, np.ones(5, np.float32))
    w.flush()
    expected = np.ones(5, np.float32)
    trained(sgd_ref, expected, {"momentum": 0.5}, np.ones(5, np.float32))
    assert (tmp_path / "weights").read_bytes() == expected.tobytes()


def test_a_checkpoint_holds_and_restores_the_memory(tmp_path: Path) -> None:
    w = np.linspace(-1, 1, 6, dtype=np.float32)
    optimizer = sgd_ref.SGD(0.5)
    optimizer.build([w.view(Stubborn)])
    sgd_ref.save(tmp_path / "a", optimizer, [w.view(Stubborn)])
    restored = np.zeros(6, np.float32)
    sgd_ref.load(tmp_path / "a", [restored.view(Stubborn)])
    assert restored.tobytes() == w.tobytes()


@packages
def test_masked_arrays_are_refused_everywhere(package: Any) -> None:
    w, masked = np.ones(3), np.ma.masked_array(np.ones(3), [True, False, False])
    optimizer = package.SGD(0.5, momentum=0.5)
    for refused in (
        lambda: optimizer.build([masked]),
        lambda: optimizer.apply([np.ones(3)], [masked]),
        lambda: optimizer.exclude_from_weight_decay([masked]),
        lambda: optimizer.apply([masked], [w]),
        lambda: sgd_ref.SparseRows([0, 1, 2], masked, (3,)),
    ):
        with pytest.raises(TypeError, match="ndarray"):
            refused()
    optimizer.build([w])
    weights = optimizer.get_weights()
    with pytest.raises(TypeError, match="ndarray"):
        optimizer.set_weights([*weights[:2], masked])
    with pytest.raises(TypeError, match="ndarray"):
        optimizer.apply([masked])
    assert optimizer.calls == 0
