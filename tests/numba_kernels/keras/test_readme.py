"""The training on the page of the kernels runs before and after its line is changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import numba_kernels.keras

PAGE = Path(numba_kernels.__file__).with_name("README.md")
DIFF = re.compile(r"```diff\n(-from keras.*?)```", re.DOTALL)

# Keras 3.15.1 with NumPy 2.4.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def run(program: str, path: Path) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    x = np.random.default_rng(0).standard_normal((64, 4)).astype("float32")
    names = {"keras": keras, "model": model, "x": x, "y": x.sum(axis=1, keepdims=True), "path": path}
    exec(program, names)
    found: Any = names["model"]
    assert float(np.abs(np.asarray(found.get_weights()[0]) - 1).max()) < 0.5
    return found.optimizer


def test_one_line_changes(tmp_path: Path) -> None:
    if not PAGE.is_file():
        pytest.skip("a wheel has no page")
    (diff,) = DIFF.findall(PAGE.read_text(encoding="utf-8"))
    lines = str(diff).splitlines()
    assert len([line for line in lines if line.startswith("-")]) == 1
    assert len([line for line in lines if line.startswith("+")]) == 1
    before = run("\n".join(line[1:] for line in lines if not line.startswith("+")), tmp_path / "a.keras")
    after = run("\n".join(line[1:] for line in lines if not line.startswith("-")), tmp_path / "b.keras")
    assert isinstance(before, keras.optimizers.SGD)
    assert type(before) is not type(after)
    assert type(after) is numba_kernels.keras.SGD
