"""How to install extras: from a checkout, from an installation, and with nothing declared."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from sgd_ref.base import installing
from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance.targets.keras.launch import BACKENDS
from sgd_ref.conformance.targets.keras.launch import obstacle as keras_obstacle
from sgd_ref.conformance.targets.optax.launch import obstacle as optax_obstacle
from sgd_ref.conformance.targets.torch.launch import obstacle as torch_obstacle

ROOT = Path(__file__).parents[3]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def test_in_a_checkout_pip_takes_it_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "PROJECT", ROOT)
    monkeypatch.chdir(ROOT)
    assert how_to_install("keras", "torch") == "pip install -e '.[keras,torch]'"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(how_to_install("keras"))[-1] == f"{ROOT}[keras]"


def test_elsewhere_the_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "PROJECT", tmp_path)
    declared = [
        "numpy>=2",
        "keras==3.15.1; extra == 'keras'",
        'jax==0.10.2 ; extra == "keras"',
        "jax==0.10.2; extra == 'optax'",
        "numba-cuda[cu13]==0.30.4; extra == 'cuda'",
        "numpy<2.5; sys_platform == 'linux' and extra == 'test'",
        "tensorflow==2.21.0; (python_version < '3.14') and extra == 'keras'",
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: declared)
    assert how_to_install("optax") == "pip install jax==0.10.2"
    assert how_to_install("cuda") == "pip install 'numba-cuda[cu13]==0.30.4'"
    assert how_to_install("test") == """pip install 'numpy<2.5; sys_platform == "linux"'"""
    assert shlex.split(how_to_install("keras", "optax")) == [
        "pip",
        "install",
        "keras==3.15.1",
        "jax==0.10.2",
        'tensorflow==2.21.0; (python_version < "3.14")',
    ]


def test_where_nothing_is_declared_no_command_is_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installing, "PROJECT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "requires", absent)
    assert how_to_install("keras", "torch") == "what sgd-ref declares for keras, torch"


def test_the_extras_that_targets_name_bring_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    messages = {(backend, "keras"): keras_obstacle(backend) for backend in BACKENDS}
    messages |= {("torch",): torch_obstacle("loop"), ("optax", "jax"): optax_obstacle()}
    for packages, message in messages.items():
        assert message is not None
        assert "\n" not in message
        named = re.search(r"\[([\w,]+)\]'?$", message)
        assert named is not None, message
        brought = [line for extra in named[1].split(",") for line in DECLARED[extra]]
        for package in packages:
            assert any(line.startswith(f"{package}==") for line in brought), message
