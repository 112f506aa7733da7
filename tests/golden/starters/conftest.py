"""The files in golden/starters, ready to be run, also with something put in or taken out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "golden" / "starters"

WARNINGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")

EXPECTED_IN_CI = ("gcc", "g++", "node")
"""What every machine of the continuous integration has; Java and Rust are there where they can be."""


@dataclass(frozen=True)
class Starter:
    """A file in one language: how it is made to run, and the places that a test changes."""

    file: str
    tool: str
    compiled: Sequence[str]
    """The arguments of the compiler before the files; nothing where the tool runs the source itself."""
    libraries: Sequence[str]
    body: str
    """The beginning of the function that an author replaces."""
    refusal: str
    """A statement at this place that refuses with the message in braces."""

    def built(self, folder: Path, change: Callable[[str], str] = str) -> list[str]:
        """Return the command that runs the file, or a changed copy of it."""
        source = folder / self.file
        source.write_text(change((FOLDER / self.file).read_text("utf-8")), "utf-8")
        if self.tool == "python":
            return [sys.executable, str(source)]
        tool = shutil.which(self.tool)
        assert tool is not None
        if not self.compiled:
            return [tool, str(source)]
        program = folder / "sgd"
        subprocess.run(
            [tool, *self.compiled, "-o", str(program), str(source), *self.libraries], check=True, timeout=300
        )
        return [str(program)]

    def require(self) -> None:
        """Skip the test, or fail in CI, if there is nothing to run the file with."""
        if sys.platform == "win32":
            pytest.skip("NOT RUN: the files are tried on Linux and macOS alone")
        if self.tool == "python" or shutil.which(self.tool):
            return
        reason = f"NOT RUN: golden/starters/{self.file} needs {self.tool}, which is not installed"
        if os.environ.get("CI") == "true" and self.tool in EXPECTED_IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)


STARTERS = {
    starter.file: starter
    for starter in (
        Starter("sgd.py", "python", (), (), "    learning_rate, momentum =", "    raise ValueError({})\n"),
        Starter("sgd.mjs", "node", (), (), "  const learningRate =", "  throw new RangeError({});\n"),
        Starter(
            "sgd.c", "gcc", ("-std=c11", *WARNINGS), ("-lm",), "    double learning_rate", "    return {};\n"
        ),
        Starter(
            "sgd.cpp",
            "g++",
            ("-std=c++17", *WARNINGS),
            (),
            "    double learning_rate",
            "    throw std::range_error({});\n",
        ),
        Starter(
            "sgd.rs",
            "rustc",
            ("--edition", "2021", "-O", "-D", "warnings"),
            (),
            "    let (learning_rate, momentum)",
            "    if w.len() < 1000000 {{ return Err({}.to_string()); }}\n",
        ),
        Starter(
            "Sgd.java",
            "java",
            (),
            (),
            "        double setting =",
            "        if (w.length >= 0) throw new ArithmeticException({});\n",
        ),
    )
}


@pytest.fixture(scope="session", params=STARTERS)
def starter(request: pytest.FixtureRequest) -> Starter:
    """One of the files, which this machine can run."""
    chosen = STARTERS[request.param]
    chosen.require()
    return chosen


@pytest.fixture(scope="session")
def command(starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs it."""
    return starter.built(tmp_path_factory.mktemp("starter"))
