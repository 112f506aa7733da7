"""Two commits take turns, each measured by its own worker."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from numba_kernels.benchmarks import comparison
from numba_kernels.benchmarks.suite import Race, Suite
from numba_kernels.benchmarks.workload import Workload
from sgd_ref.command import main as cli
from sgd_ref.command.options import WRONG_USAGE

WORKER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    assert request["peer"] == "kernels" and sys.argv[1] in ("1", "2"), (request, sys.argv)
    is_offered = request["workload"]["dtype"] == "float32"
    found = {"samples": [SECONDS] * 3, "growth": 0} if is_offered else {"absent": "too old"}
    print(json.dumps(found), flush=True)
"""

RACES = [Race("steps", Workload("2 x 10", "plain", dtype), ()) for dtype in ("float32", "float64")]
SUITE = Suite(RACES, rounds=1, seconds=0.0, first_steps=0)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository whose first commit takes 1000 seconds a step, and whose second has no package."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        command = ["git", *identity, *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet")
    package = tmp_path / "numba_kernels/benchmarks"
    package.mkdir(parents=True)
    (tmp_path / "sgd_ref").mkdir()
    for file in (tmp_path / "sgd_ref/__init__.py", package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    (package / "worker.py").write_text(WORKER.replace("SECONDS", "1000.0"))
    git("add", ".")
    git("commit", "--quiet", "--message", "Slow, but sure")
    git("tag", "old")
    git("rm", "-r", "--quiet", "numba_kernels")
    git("commit", "--quiet", "--message", "Nothing is left")
    return tmp_path


def test_the_kernels_of_another_commit_take_turns(repository: Path) -> None:
    with comparison.checked_out("old", repository) as commit:
        assert commit.name.endswith(" Slow, but sure")
        text = comparison.run(SUITE, commit, Console(quiet=True))
    assert not commit.folder.exists()
    (row,) = (line for line in text.splitlines() if line.startswith("| 2 x 10, plain, float32 |"))
    _, _, here, there, times, _ = (cell.strip() for cell in row.split("|"))
    assert here.endswith(("us", "ms"))
    assert there == "1000 s"
    assert float(times) > 1000
    assert f"| {commit.name} | too old | 1, such as 2 x 10, plain, float64 |" in text


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("nosuch", "--against must be a commit of the repository in .*, got 'nosuch'"),
        ("--all", "--against must be a commit of the repository in .*, got '--all'"),
        ("HEAD", "--against must be a commit with sgd_ref and numba_kernels, got .* Nothing is left"),
    ],
)
def test_what_is_no_commit_with_kernels_is_refused(repository: Path, revision: str, message: str) -> None:
    with pytest.raises(ValueError, match=message), comparison.checked_out(revision, repository):
        pytest.fail("it was checked out")


def test_a_folder_without_a_repository_has_no_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    message = "a commit of the repository"
    with pytest.raises(ValueError, match=message), comparison.checked_out("HEAD", tmp_path):
        pytest.fail("it was checked out")


def test_the_command_refuses_before_anything_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparison, "run", lambda *given: pytest.fail("it was timed"))
    for arguments, message in (
        (["--against", "nosuch"], "--against must be a commit"),
        (["--against", "HEAD", "--device", "cuda"], "--against must go with --device cpu"),
        (["--against", "HEAD", "--page"], "not allowed with argument"),
    ):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["bench", "--quick", *arguments])
        assert stopped.value.code == WRONG_USAGE
        assert message in capsys.readouterr().err
