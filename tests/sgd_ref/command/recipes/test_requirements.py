"""What an environment lacks for some extras: versions that are named exactly count, others only if absent."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from sgd_ref.command.recipes import requirements
from sgd_ref.command.recipes.requirements import REQUIREMENT, missing

INSTALLED = {"torch": "2.13.0+cpu", "jax": "0.10.1", "cuda-bindings": "13.0.3", "cuda-core": "13.1.0"}

PROJECT = """
[project.optional-dependencies]
torch = ["torch==2.13.0"]
jax = ["jax==0.10.2"]
cuda = ["cuda-bindings[all]==13.0.*", "torch<2"]
core = ["cuda-core==13.0.*"]
plots = ["matplotlib"]
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def version(name: str) -> str:
        if name not in INSTALLED:
            raise PackageNotFoundError(name)
        return INSTALLED[name]

    monkeypatch.setattr(requirements, "version", version)
    (tmp_path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("extras", [(), ("torch",), ("cuda",), ("torch", "cuda")])
def test_nothing_is_missing(checkout: Path, extras: tuple[str, ...]) -> None:
    assert missing(checkout, extras) is None


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("jax", "jax must be 0.10.2, got 0.10.1"),
        ("core", "cuda-core must be 13.0.*, got 13.1.0"),
        ("plots", "matplotlib is not installed"),
    ],
)
def test_what_is_missing_is_named_with_what_installs_it(checkout: Path, extra: str, problem: str) -> None:
    found = missing(checkout, ("torch", extra))
    assert found is not None
    assert found.startswith(f"{problem}; install it with: pip install")


def test_an_extra_that_is_not_declared_is_an_error(checkout: Path) -> None:
    with pytest.raises(KeyError, match="nosuch"):
        missing(checkout, ("nosuch",))


def test_every_extra_of_this_project_is_understood() -> None:
    project = Path(requirements.__file__).parents[3] / "pyproject.toml"
    if not project.is_file():
        pytest.skip("a wheel has no pyproject.toml")
    optional = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra, lines in optional.items():
        for line in lines:
            requirement = REQUIREMENT.match(line)
            assert requirement is not None
            assert ("==" in line.partition(";")[0]) == (requirement["exact"] is not None), (extra, line)
