"""Starting PyTorch: what is imported, what is missing, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.torch.launch import Torch, available, obstacle


def test_nothing_is_imported(tmp_path: Path) -> None:
    if not available():
        pytest.skip("PyTorch is not installed")
    program = """
import sys
import numpy as np
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.torch.launch import Torch
case = Case("one", {"learning_rate": 0.1}, ("v",), (np.zeros(1),), ((-np.ones(1),),))
with Torch("loop") as run:
    assert run(case)[0]["variables"][0].tolist() == [0.1]
assert "torch" not in sys.modules
"""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, check=True, timeout=120)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not available()
    with pytest.raises(ModuleNotFoundError, match=re.escape(how_to_install("torch"))):
        Torch("loop")


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert obstacle("fused") is None
    with pytest.raises(ModuleNotFoundError, match=r"needs a C\+\+ compiler on a CPU, and no-such-compiler"):
        Torch("compiled")


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="variant must be one of loop, foreach, fused, compiled, got 'vmap'"):
        Torch("vmap")


def test_what_compiles_anew_for_each_case_is_run_less_often_to_shrink_one() -> None:
    runs = {target.name: target.runs_to_shrink for target in registry.targets("torch", variant="all")}
    assert runs.pop("torch compiled") < min(runs.values())
