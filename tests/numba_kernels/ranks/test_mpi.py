"""Ranks of real Open MPI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed (extra mpi)"
    ),
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun (Debian: openmpi-bin)"),
]


def _run(size: int, *arguments: str) -> list[str]:
    script = str(Path(__file__).with_name("over_mpi.py"))
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(size), sys.executable, script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMPI_MCA_mpi_yield_when_idle": "1"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, folder, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [path.read_text() for path in sorted(Path(folder).iterdir())]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_parts_have_the_bits_of_the_whole(size: int) -> None:
    assert _run(size) == [f"{rank}: same" for rank in range(size)]


def test_a_rank_that_does_not_come_is_named_within_the_limit() -> None:
    first, second = _run(3, "late")
    for rank, line in enumerate((first, second)):
        assert line.startswith(
            f"{rank}: rank 2 was lost in the norms of step 50: no message within the limit"
        )
        assert line.endswith(
            f"Rank {rank} has made nothing of step 50, and all of step 49 and those before it."
        )
