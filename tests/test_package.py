"""What holds for the packages as a whole: what they import, what they document, how long files are."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import numba_kernels
import sgd_ref

PACKAGES = (sgd_ref, numba_kernels)
LONGEST_FILE = 400
FRAMEWORKS = {"jax", "keras", "optax", "sklearn", "tensorflow", "torch"}
NEVER_IMPORTED = FRAMEWORKS | {"mpmath", "numba", "numba_kernels", "rich"}
IMPORTED = sys.stdlib_module_names | {"ml_dtypes", "numpy", "scipy", "sgd_ref"}
COMMAND_LINE = "command"


def folder(package: ModuleType) -> Path:
    assert package.__file__ is not None
    return Path(package.__file__).parent


def source_files() -> list[Path]:
    return sorted(file for package in PACKAGES for file in folder(package).rglob("*.py"))


def reference_files() -> list[Path]:
    """The files of the reference: all of sgd_ref but the kit that judges others and the command line."""
    root = folder(sgd_ref)
    files = [file.relative_to(root) for file in root.rglob("*.py")]
    return sorted(root / file for file in files if file.parts[0] not in {"conformance", COMMAND_LINE})


def shown(file: Path) -> str:
    package = next(package for package in PACKAGES if file.is_relative_to(folder(package)))
    return file.relative_to(folder(package).parent).as_posix()


def imported_modules(file: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions and for type checkers only."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def public_objects(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Every public class and function of a module, and of the modules that are public in it."""
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            yield from public_objects(value)
        elif inspect.isclass(value) or inspect.isroutine(value):
            yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_type_checkers_are_told_that_the_package_has_types(package: ModuleType) -> None:
    assert (folder(package) / "py.typed").is_file()


def test_importing_the_reference_imports_no_framework_and_no_compiler() -> None:
    listing = subprocess.run(
        [sys.executable, "-c", "import sgd_ref, sys; print(*sys.modules)"],
        cwd=folder(sgd_ref).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(listing.stdout.split())
    assert "sgd_ref.optimizer" in imported
    assert imported & NEVER_IMPORTED == set()
    assert "sgd_ref.conformance" not in imported


@pytest.mark.parametrize("file", reference_files(), ids=shown)
def test_the_reference_is_written_in_the_standard_library_numpy_scipy_and_ml_dtypes(file: Path) -> None:
    modules = set(imported_modules(file))
    assert {module.partition(".")[0] for module in modules} <= IMPORTED
    assert not [module for module in modules if module.startswith("sgd_ref.conformance")]


@pytest.mark.parametrize("file", source_files(), ids=shown)
def test_a_file_holds_one_concept(file: Path) -> None:
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE


def test_everything_public_is_documented() -> None:
    for name in sgd_ref.__all__:
        assert inspect.getdoc(getattr(sgd_ref, name)), name


@pytest.mark.parametrize(("name", "value"), list(public_objects(sgd_ref)))
def test_public_classes_and_functions_show_how_to_use_them(name: str, value: Any) -> None:
    # inspect.getdoc would hand down the docstring of a base class.
    heading, section, examples = inspect.cleandoc(value.__doc__ or "").partition("Examples\n--------\n")
    assert heading, f"{name} has no docstring"
    assert section, f"{name} has no Examples"
    assert ">>> " in examples, f"the Examples of {name} do not run"
