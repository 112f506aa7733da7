"""Pytest in a folder of its own, which finds the plugin by its entry point."""

from __future__ import annotations

import os
import re
import sys
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import sgd_ref

PAGE = Path(sgd_ref.__file__).parent / "conformance/pytest_plugin/README.md"
PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"

Inner = Callable[..., pytest.RunResult]
Examples = Callable[[str], str]


class Imports:
    """Keeps what pytest imports within this process, and forgets when it ends: it would be imported twice."""

    def __init__(self) -> None:
        self._modules: dict[str, ModuleType] = {}

    def pytest_unconfigure(self) -> None:
        self._modules = {name: module for name, module in sys.modules.items() if name != "test_mine"}

    def keep(self) -> None:
        for name, module in self._modules.items():
            sys.modules.setdefault(name, module)


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """Run pytest over a module with some text, by default that of the last run; alone, in a new process."""
    points = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["entry-points"]["pytest11"]
    installed = pytester.mkdir("installed")
    information = installed / "declared-0.dist-info"
    information.mkdir()
    lines = [f"{name} = {module}" for name, module in points.items()]
    (information / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 0\n")
    path = [str(installed), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.syspath_prepend(installed)
    # Texts of one length that are written within a second would be taken for each other.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(*arguments: str, text: str = "", alone: bool = False) -> pytest.RunResult:
        if text:
            pytester.makepyfile(test_mine=text)
        # The plugin of Hypothesis takes longer to import than most of these runs.
        all_arguments = ("-p", "no:hypothesispytest", *arguments)
        if alone or "-n" in arguments:
            return pytester.runpytest_subprocess(*all_arguments)
        imports = Imports()
        with warnings.catch_warnings():
            warnings.resetwarnings()
            found = pytester.runpytest_inprocess(*all_arguments, plugins=[imports])
        imports.keep()
        return found

    return run


@pytest.fixture
def example() -> Examples:
    """Find the example of the page for a framework, by what only that one says."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3

    def found(what: str) -> str:
        (block,) = (block for block in blocks if what in block)
        return str(block)

    return found
