"""Trainings with ``numba_kernels.keras`` on digits: the bits of the reference, with the same gradients."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
BACKENDS = ("torch", "jax", "tensorflow")


def differing(backend: str, *trainings: str) -> Any:
    """Return what differs, by training; by default of all trainings."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    script = Path(__file__).with_name("recorded_training.py")
    finished = subprocess.run(
        [sys.executable, str(script), *trainings],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    assert found["backend"] == backend
    return found["differing"]


def test_a_training_has_the_bits_of_the_reference() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    assert differing("torch", "everything") == {"everything": []}


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_trainings_have_the_bits_of_the_reference(sweep: Any, backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if not sweep.complete:
        pytest.skip("runs with --sweep, since it takes half a minute")
    found = differing(backend)
    assert len(found) == 8
    assert not any(found.values()), found
