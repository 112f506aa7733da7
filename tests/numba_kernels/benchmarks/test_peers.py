"""The peers do what they are timed for: the step of the reference, on all that it is made of."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgd_ref
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.peers import FAMILIES, NotOffered, prepare
from numba_kernels.benchmarks.peers.traffic import in_parts, moved_arrays
from numba_kernels.benchmarks.workload import SETTINGS, Workload, dtype_of

STEPS = 5


def variables_after(peer: str, workload: Workload, threads: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the variables of a peer that updates them where they are, and those of the reference."""
    variables = workloads.variables(workload)
    expected = [variable.copy() for variable in variables]
    is_sparse = workload.has_sparse_gradients
    gradients: list[Any] = (workloads.sparse_gradients if is_sparse else workloads.gradients)(workload)
    given = [] if is_sparse else [gradient.copy() for gradient in gradients]
    optimizer = sgd_ref.SGD(**SETTINGS[workload.settings])
    optimizer.build(expected)
    monkeypatch.setattr(workloads, "variables", lambda workload: variables)
    monkeypatch.setattr(workloads, "gradients", lambda workload: given)
    step = prepare(peer, workload, threads).step
    for _ in range(STEPS):
        # PyTorch clips gradients in place, and with foreach adds the Nesterov momentum to them.
        for array, gradient in zip(given, gradients, strict=False):
            array[...] = gradient
        step()
        optimizer.apply(gradients)
    return variables, expected


def assert_same_step(peer: str, settings: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A decay of 1e-6 a step shows in the sixth digit.
    variables, expected = variables_after(peer, Workload("3 x 400", settings), threads, monkeypatch)
    for found, wanted in zip(variables, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("settings", SETTINGS)
def test_numpy_makes_the_step(settings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_step("numpy", settings, 1, monkeypatch)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_kernels_make_the_step(dtype: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Workload("3 x 400", "everything", dtype)
    variables, expected = variables_after("kernels", workload, threads, monkeypatch)
    for found, wanted in zip(variables, expected, strict=True):
        assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("peer", ["numpy", "kernels"])
def test_rows_of_an_embedding(peer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(workloads.shapes_of.__globals__["MODELS"], "embedding", lambda: [(5000, 3)])
    (found,), (wanted,) = variables_after(peer, Workload("embedding", "plain"), 1, monkeypatch)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


TORCH = """
import sys, pytest
from tests.numba_kernels.benchmarks import test_peers
for peer in ("torch fused", "torch foreach"):
    for settings in ("plain", "momentum", "everything"):
        with pytest.MonkeyPatch.context() as monkeypatch:
            test_peers.assert_same_step(peer, settings, 1, monkeypatch)
"""


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_pytorch_makes_the_step() -> None:
    path = os.pathsep.join(
        [str(Path(__file__).parents[3]), *(entry or str(Path.cwd()) for entry in sys.path)]
    )
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", TORCH], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_roof_moves_as_many_bytes_as_a_step(settings: str, dtype: str) -> None:
    workload = Workload("2 x 5000", settings, dtype)
    moved = moved_arrays(workload)
    read = [*moved.written, moved.added, *([] if moved.reread is None else [moved.reread])]
    assert sum(array.nbytes for array in [*read, *moved.written]) == workload.bytes_moved
    assert {array.itemsize for array in moved.written} == {dtype_of(dtype).itemsize}


@pytest.mark.parametrize("peer", ["roof numpy", "roof numba"])
@pytest.mark.parametrize(
    ("settings", "written", "threads"),
    [("plain", 1, 2), ("momentum", 2, 1), ("everything", 3, 1), ("everything", 3, 2)],
)
def test_a_roof_writes_every_element(
    peer: str, settings: str, written: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"numba_kernels.benchmarks.peers.{FAMILIES[peer]}_peer")
    workload = Workload("1 x 10001", settings)
    moved = moved_arrays(workload)
    assert len(moved.written) == written
    moved.added[:] = 1
    monkeypatch.setattr(module, "moved_arrays", lambda workload: moved)
    prepare(peer, workload, threads).step()
    assert all((array > 1).all() for array in moved.written)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_cover_everything_once(threads: int) -> None:
    numbers = np.zeros(20_001)
    in_parts(lambda part: np.add(part, 1, out=part), [numbers], threads)()
    assert (numbers == 1).all()


def test_what_is_not_installed_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(NotOffered, match="torch is not installed"):
        prepare("torch fused", Workload("1 x 9", "momentum"), 1)
