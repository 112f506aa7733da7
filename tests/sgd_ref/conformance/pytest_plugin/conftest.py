"""Pytest in a process and a folder of its own, which finds the plugin by its entry point."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import sgd_ref

PAGE = Path(sgd_ref.__file__).parent / "conformance/pytest_plugin/README.md"
PYPROJECT = Path(__file__).parents[4] / "pyproject.toml"

Inner = Callable[..., pytest.RunResult]
Examples = Callable[[str], str]


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """Run pytest over a module with some text, by default that of the last run."""
    points = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["entry-points"]["pytest11"]
    installed = pytester.mkdir("installed")
    information = installed / "declared-0.dist-info"
    information.mkdir()
    lines = [f"{name} = {module}" for name, module in points.items()]
    (information / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 0\n")
    path = [str(installed), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))

    def run(*arguments: str, text: str = "") -> pytest.RunResult:
        if text:
            pytester.makepyfile(test_mine=text)
        # Its import takes longer than most of these runs.
        return pytester.runpytest_subprocess("-p", "no:hypothesispytest", *arguments)

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
