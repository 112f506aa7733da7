"""Functions that run on several ranks of ``torch.distributed``, each a process on this machine."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
LONGEST = 1800.0
"""Seconds; only a rank that hangs needs them."""


def on_processes(function: str, *sizes: int, expected: int = 0) -> dict[int, dict[int, Any]]:
    """Return what a function returns on each rank, for each number of ranks.

    All ranks are forks of one new process, so that the libraries are imported once.

    Parameters
    ----------
    function : str
        ``module:name``. It is called with the rank and the number of ranks, after the process group is there,
        and returns plain data.
    *sizes : int
        Numbers of ranks, one after the other.
    expected : int
        How many ranks do not end by themselves.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = f"from {__name__.removesuffix('.processes')}.processes import main; main()"
        command = [sys.executable, "-W", "ignore", "-c", script, function, folder, *map(str, sizes)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        started = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = started.communicate(timeout=LONGEST)
        finally:
            # Its forks are of the same session, and those that hang would stay.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
        results = {
            size: {
                rank: json.loads(path.read_text())
                for rank in range(size)
                if (path := Path(folder) / f"{size}-{rank}.json").exists()
            }
            for size in sizes
        }
    for size in sizes:
        assert len(results[size]) == size - expected, output
    return results


def main() -> None:
    """Run a function on forks of this process."""
    function, folder, *sizes = sys.argv[1:]
    module, name = function.split(":")
    called = getattr(importlib.import_module(module), name)
    for size in map(int, sizes):
        children = [_forked(called, rank, size, Path(folder)) for rank in range(size)]
        end = time.monotonic() + LONGEST
        while children and time.monotonic() < end:
            children = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
            time.sleep(0.01)
        for child in children:
            os.kill(child, 9)


def _forked(called: Any, rank: int, size: int, folder: Path) -> int:
    child = os.fork()
    if child:
        return child
    import torch  # noqa: PLC0415

    status = 1
    try:
        torch.set_num_threads(1)
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder}/{size}",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=LONGEST),
        )
        text = json.dumps(called(rank, size))
        (folder / f"{size}-{rank}.json").write_text(text)
        status = 0
    except BaseException:  # noqa: BLE001  (the test shows it)
        sys.excepthook(*sys.exc_info())
    finally:
        # Without the end of the parent's objects.
        sys.stderr.flush()
        os._exit(status)
