"""Checkpoints of optimizers on the device: training goes on, there and on the host, to the last bit."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

import sgd_ref
from numba_kernels import cuda
from sgd_ref import schedules

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))
DTYPES, Pair, numbers = pairs.DTYPES, pairs.Pair, pairs.numbers

SHAPES = (3, 5), (45,), (), (0, 4)
NAMES = ["kernel", "bias", "scalar", "empty"]

FEATURES: dict[str, dict[str, Any]] = {
    "nothing": {"learning_rate": 0.25},
    "everything": {
        "learning_rate": schedules.ExponentialDecay(0.25, 3, 0.5),
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.01,
        "clipnorm": 1.0,
        "use_ema": True,
        "ema_momentum": 0.9,
        "ema_overwrite_frequency": 2,
        "gradient_accumulation_steps": 2,
    },
}


def gradients(call: int) -> list[Any]:
    generator = np.random.default_rng(100 + call)
    return [numbers(generator, shape, dtype, 0.0) for shape, dtype in zip(SHAPES, DTYPES, strict=True)]


def begun(features: dict[str, Any], scaling: tuple[float, int] | None, layout: Any) -> Any:
    generator = np.random.default_rng(1)
    weights = [numbers(generator, shape, dtype, 0.0) for shape, dtype in zip(SHAPES, DTYPES, strict=True)]
    pair = Pair(weights, layout=layout, scaling=scaling, **features)
    for call in range(3):
        pair.apply(gradients(call))
    return pair


@pytest.mark.parametrize("scaling", [None, (8.0, 2)], ids=["plain", "scaled"])
@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("layout", [pairs.to_device, pairs.with_gaps], ids=lambda layout: layout.__name__)
def test_both_save_the_same_and_go_on_from_either(
    tmp_path: Path, features: dict[str, Any], scaling: Any, layout: Any
) -> None:
    pair = begun(features, scaling, layout)
    sgd_ref.save(tmp_path / "host", pair.optimizers[0], pair.hosts)
    sgd_ref.save(tmp_path / "device", pair.optimizers[1], pair.devices)
    assert (tmp_path / "host").read_bytes() == (tmp_path / "device").read_bytes()
    pair.hosts = [np.zeros_like(host) for host in pair.hosts]
    pair.devices = [layout(host) for host in pair.hosts]
    pair.optimizers = [
        sgd_ref.load(tmp_path / "device", pair.hosts),
        cuda.load(tmp_path / "host", pair.devices, rates_ahead=4),
    ]
    pair.inner = [getattr(one, "inner_optimizer", one) for one in pair.optimizers]
    pair.compare()
    assert pair.inner[1].rates_ahead == 4
    for call in range(3, 6):
        pair.apply(gradients(call))


def test_variables_are_found_by_their_names_and_excluded_ones_stay_so(tmp_path: Path) -> None:
    host = [np.ones(2, np.float32), np.full(2, 3, np.float32)]
    optimizer = sgd_ref.SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(host, ["kernel", "bias"])
    sgd_ref.save(tmp_path / "saved", optimizer, host)
    bias, kernel = (pairs.to_device(np.zeros(2, np.float32)) for _ in range(2))
    loaded = cuda.load(tmp_path / "saved", [bias, kernel], 0.25, names=["bias", "kernel"])
    loaded.apply([pairs.to_device(np.zeros(2, np.float32))] * 2)
    assert pairs.on_host(bias).tolist() == [3, 3]
    assert pairs.on_host(kernel).tolist() == [0.875, 0.875]


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    pair = begun({"learning_rate": 0.25}, None, pairs.to_device)
    sgd_ref.save(tmp_path / "saved", pair.optimizers[1], pair.devices)
    others = [pairs.to_device(np.full(shape, 7.0, DTYPES[0])) for shape in SHAPES]
    with pytest.raises(ValueError, match="cannot be loaded"):
        cuda.load(tmp_path / "saved", others)
    assert all((pairs.on_host(array) == 7).all() for array in others)
    with pytest.raises(TypeError, match=r"variables\[0\] must be an array on the device"):
        cuda.load(tmp_path / "saved", pair.hosts)
    with pytest.raises(ValueError, match=r"variables must be all 4 arrays .* in their order"):
        sgd_ref.save(tmp_path / "other", pair.optimizers[1], pair.devices[::-1])
    assert not (tmp_path / "other").exists()
