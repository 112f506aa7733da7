"""The base of implementations in frameworks: each framework is imported in a process of its own."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.protocol.worker import Handshake, Worker

CACHE = {
    "JAX_ENABLE_COMPILATION_CACHE": "true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


class Framework:
    """An implementation in a process that runs a module: call it with a case, get the trajectory.

    Parameters
    ----------
    module : str
        Name of the module that the process runs.
    arguments : sequence of str
        The arguments of the module on its command line.
    environment : mapping of str to str
        Environment variables for the framework, which override those of this process.
    time_limit : float
        Seconds for one case.
    caches : bool, default False
        Whether JAX keeps its compiled code in a folder, which is removed with this object.

    Raises
    ------
    TypeError, ValueError
        If `time_limit` is no positive number.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        time_limit: float,
        caches: bool = False,
    ) -> None:
        # The new process looks for modules in the same places as this one.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        environment = {**os.environ, **environment, "PYTHONPATH": path}
        if caches:
            directory = tempfile.mkdtemp(prefix="sgd-ref-")
            weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
            environment |= {**CACHE, "JAX_COMPILATION_CACHE_DIR": directory}
        self._worker = Worker([sys.executable, "-m", module, *arguments], environment, time_limit)

    @property
    def handshake(self) -> Handshake:
        """The name and the versions; starts the process if it does not run."""
        return self._worker.handshake

    def __call__(self, case: Case) -> list[Record]:
        """Return the trajectory that the framework computes.

        Raises
        ------
        Unsupported
            If the framework, in the chosen variant, does not offer a feature that the case needs.
        ImplementationError
            If the framework raised an error; with its type, its message and the call.
        WorkerFailed
            If the process died or hung.
        """
        return self._worker(case)

    def close(self) -> None:
        """End the process, if it runs."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
