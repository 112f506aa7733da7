"""Trainings with Keras are watched, each backend in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PACKAGES = {"jax": "jax", "tensorflow": "tensorflow", "torch": "torch"}


def test_a_training_with_keras_is_watched_on_each_backend(sweep: Any) -> None:
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("sklearn") is None:
        pytest.skip("Keras or scikit-learn is not installed")
    here = [backend for backend, package in PACKAGES.items() if importlib.util.find_spec(package) is not None]
    if not here:
        pytest.skip("no backend of Keras is installed")
    # JAX takes as long as the two others.
    quick = [backend for backend in here if backend != "jax"] or here
    chosen = here if sweep.complete else [sweep.generator.choice(quick)]
    for backend in chosen:
        found = told(str(backend))
        assert found["backend"] == backend
        assert found["ok"] == [True, True], found["reports"]
        assert found["steps"] == [4, 4]
        step, variable, names = found["wrong"]
        assert (step, names) == (1, ["velocity-never-decays"])
        assert variable.endswith("kernel")
        assert found["same"]
        # Keras' own contradiction, in a real training.
        assert found["averaged"] == ["averages-on-every-call"]
        # On PyTorch nothing is compiled unless that is asked for.
        assert ("run_eagerly=True" in found["refused"]) != (backend == "torch")


@pytest.mark.sweep
@pytest.mark.parametrize("backend", PACKAGES)
def test_the_contradictions_of_keras_are_named_on_each_backend(backend: str) -> None:
    missing = [
        name for name in ("keras", "sklearn", PACKAGES[backend]) if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    found = told(backend, "keras_contradictions.py")
    assert found["backend"] == backend
    assert len(found["found"]) >= 4
    for name, names in found["found"].items():
        assert name in names


def told(backend: str, script_name: str = "keras_loop.py") -> Any:
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    script = Path(__file__).with_name(script_name)
    finished = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])
