"""The programs in golden/consumers, ready to be run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[3] / "golden"

FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")

EXPECTED_IN_CI = ("gcc", "node")
"""What every machine of the continuous integration has; R is installed there where it can be."""


@dataclass(frozen=True)
class Consumer:
    """A program in one language: its sources, and how they are made to run."""

    name: str
    tool: str
    command: Callable[[Path, Path], list[str]]

    def built(self, folder: Path, sources: Path | None = None) -> list[str]:
        """Return the command that runs the sources; what has to be built goes into `folder`."""
        return self.command(sources or GOLDEN / "consumers" / self.name, folder)

    def require(self) -> None:
        """Skip the test, or fail in CI, if there is nothing to run it with."""
        if sys.platform == "win32":
            pytest.skip("NOT RUN: a command line of Windows is too short to name all golden files")
        missing = None if shutil.which(self.tool) else self.tool
        if self.tool == "Rscript" and missing is None and not _has_jsonlite():
            missing = "the package jsonlite of R"
        if missing is None:
            return
        reason = f"NOT RUN: the consumer in {self.name} needs {missing}, which is not installed"
        if os.environ.get("CI") == "true" and self.tool in EXPECTED_IN_CI:
            pytest.fail(reason)
        pytest.skip(reason)


def _has_jsonlite() -> bool:
    asked = ["Rscript", "-e", "library(jsonlite)"]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


def _compiled(sources: Path, folder: Path) -> list[str]:
    program = folder / "sgd"
    files = sorted(str(path) for path in sources.glob("*.c"))
    compiler = shutil.which("gcc")
    assert compiler is not None
    subprocess.run([compiler, *FLAGS, "-o", str(program), *files, "-lm"], check=True, timeout=120)
    return [str(program)]


CONSUMERS = {
    "c": Consumer("c", "gcc", _compiled),
    "javascript": Consumer("javascript", "node", lambda sources, _: ["node", str(sources / "main.mjs")]),
    "r": Consumer("r", "Rscript", lambda sources, _: ["Rscript", str(sources / "main.R")]),
}


@pytest.fixture(scope="session", params=CONSUMERS)
def consumer(request: pytest.FixtureRequest) -> Consumer:
    """One of the programs, which this machine can run."""
    chosen = CONSUMERS[request.param]
    chosen.require()
    return chosen


@pytest.fixture(scope="session")
def command(consumer: Consumer, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs it."""
    return consumer.built(tmp_path_factory.mktemp(consumer.name))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of the golden data."""
    return GOLDEN


@pytest.fixture(scope="session")
def checked() -> Callable[[Sequence[str], Sequence[Path]], subprocess.CompletedProcess[str]]:
    """Let a program check itself against files."""

    def run(command: Sequence[str], paths: Sequence[Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "--check", *map(str, paths)], capture_output=True, text=True, timeout=300, check=False
        )

    return run
