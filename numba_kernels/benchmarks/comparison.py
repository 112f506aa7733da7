"""The kernels of this checkout beside those of another commit, in one run: the two take turns."""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from numba_kernels import machine
from numba_kernels.benchmarks.contest import MODULE, Workers, contest
from numba_kernels.benchmarks.measurements import Measurements, measured, times_as_long
from numba_kernels.benchmarks.page import absent, duration, table
from numba_kernels.benchmarks.peers import KERNELS
from numba_kernels.benchmarks.repository import ROOT, git
from numba_kernels.benchmarks.suite import Race, Suite
from numba_kernels.benchmarks.workload import Workload
from sgd_ref.conformance.grading.progress import progress_bar

PACKAGES = ("sgd_ref", "numba_kernels")

START = f"""\
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module({MODULE!r}, run_name="__main__", alter_sys=True)
"""

FEWEST_ROUNDS = 7
"""Noise of a few percent that lasts for seconds meets both, and the median over the rounds leaves it out."""


@dataclass(frozen=True)
class Commit:
    """A commit of this repository, with its packages in a folder.

    Attributes
    ----------
    name : str
        The beginning of its hash, and its subject.
    folder : Path
        The folder.
    """

    name: str
    folder: Path


@contextmanager
def checked_out(revision: str, root: Path = ROOT) -> Iterator[Commit]:
    """Write the packages of a commit to a temporary folder, and remove the folder at the end.

    Parameters
    ----------
    revision : str
        The commit, by any name that git knows.
    root : Path, optional
        The repository.

    Raises
    ------
    ValueError
        If there is no such commit, or no repository, or git is not installed.
    """
    # Whatever begins with a dash is no option of git.
    found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not found:
        raise ValueError(f"--against must be a commit of the repository in {root}, got {revision!r}")
    described = git(root, "log", "-1", "--format=%h %s", found.decode().strip(), "--") or found
    name = described.decode("utf-8", "replace").strip()
    archive = git(root, "archive", name.split()[0], "--", *PACKAGES)
    if archive is None:
        raise ValueError(f"--against must be a commit with {' and '.join(PACKAGES)}, got {name}")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield Commit(name, Path(folder))


def run(chosen: Suite, commit: Commit, console: Console) -> str:
    """Time the kernels of both on the workloads of a suite, and return a page of Markdown.

    Each commit measures itself with its own benchmark, in processes of its own.

    Parameters
    ----------
    chosen : Suite
        Its workloads are timed, each once, with at least seven rounds.
    commit : Commit
        The other commit.
    console : Console
        The console, which shows the progress if it is a terminal.
    """
    commands: Mapping[str, list[str]] = {commit.name: [sys.executable, "-c", START, str(commit.folder)]}
    workloads = list(dict.fromkeys(race.workload for race in chosen.races))
    peers = (KERNELS, commit.name)
    found = Measurements(machine.description())
    with Workers(commands) as workers, progress_bar(console) as bar:
        task = bar.add_task("", total=len(workloads))
        for workload in workloads:
            bar.update(task, description=str(workload))
            rounds = max(chosen.rounds, FEWEST_ROUNDS)
            race = Race("comparison", workload, peers)
            found.races.append((race, contest(workers, workload, peers, rounds, chosen.seconds)))
            bar.advance(task)
    return render(found, commit.name)


def render(found: Measurements, other: str) -> str:
    """Return the page of a comparison.

    Parameters
    ----------
    found : Measurements
        The measurements of the kernels and of the other commit.
    other : str
        The name of the other commit.
    """
    rows = [(str(workload), *_cells(found, workload, other)) for workload, _ in found.section("comparison")]
    return "\n".join(
        [
            f"# Kernels of this checkout and of {other}\n",
            table(("", ""), list(found.machine.items())),
            "The two take turns. The last column is the median over the rounds of how many times as long\n"
            "the other commit took in the same round: above 1 this checkout is faster.\n",
            table(("", "this checkout", other.split(maxsplit=1)[0], "times as long"), rows),
            *absent(found),
        ]
    )


def _cells(found: Measurements, workload: Workload, other: str) -> Iterator[str]:
    result = found.result(workload)
    for peer in (KERNELS, other):
        measurement = measured(result, peer)
        yield "" if measurement is None else duration(measurement.seconds)
    times = times_as_long(result, other)
    yield "" if times is None else f"{times:.2f}"
