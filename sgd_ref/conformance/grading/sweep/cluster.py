"""Units done by a cluster of Dask: on this machine, or of any scheduler that has an address or a file.

This is the only module that imports Dask, which is an extra.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dask.system import CPU_COUNT
from distributed import Client, Future, KilledWorker, LocalCluster, as_completed, get_worker

from sgd_ref.conformance.grading.sweep import software
from sgd_ref.conformance.grading.sweep.interrupts import ignoring_interrupts
from sgd_ref.conformance.grading.sweep.unit import Failed, Interrupted, Outcome, Refused, Unit, done

SUBMITTED_AT_ONCE = 4
"""How many units a scheduler of the user's gets for each thread of its workers, so that an adaptive
cluster grows and no worker waits for this process."""

START_LIMIT = 60
"""Seconds within which a scheduler must answer."""


class Cluster:
    """A cluster of Dask that does units; it is an ``Engine``.

    Parameters
    ----------
    client : Client
        Connected to the scheduler.
    packages : tuple of str
        The packages whose code decides results, for ``software``.
    is_own : bool
        Whether the cluster serves this process alone and has workers with one thread each.
    """

    def __init__(self, client: Client, packages: tuple[str, ...], is_own: bool) -> None:
        self._client, self._packages, self._is_own = client, packages, is_own
        self._expected = software.software(packages)

    def check_workers(self) -> None:
        """Check that the present workers have the software of this process; later ones are checked by units.

        Raises
        ------
        Refused
            If a worker has other software; the message names it.
        """
        found = self._client.run(_software_there(self._packages), on_error="return")
        for address, there in found.items():
            name = self._client.scheduler_info()["workers"].get(address, {}).get("name", address)
            if isinstance(there, BaseException):
                raise Refused(f"worker {_named(name, address)}: {type(there).__name__}: {there}")
            _check_software(_named(name, address), self._expected, there)

    def __call__(self, units: Sequence[Unit]) -> Iterator[Outcome]:
        """Do units in any order.

        A unit that was being done where workers died is done again by itself, so that a unit is blamed only
        for the workers that die under it alone.

        Raises
        ------
        Refused
            If a worker has other software.
        Interrupted
            If the scheduler dies.
        """
        suspects: list[Unit] = []
        for unit, outcome in self._outcomes(units, self._most_at_once()):
            if outcome is None:
                suspects.append(unit)
            else:
                yield outcome
        for unit in suspects:
            ((_, outcome),) = self._outcomes([unit], lambda: 1)
            yield _blamed(unit) if outcome is None else outcome

    def _most_at_once(self) -> Callable[[], int]:
        """Return a function that says how many units may be submitted."""
        counted, asked = 0, 0

        def most() -> int:
            nonlocal counted, asked
            if asked <= 0:
                threads = sum(self._client.nthreads().values())
                counted = max(1, threads if self._is_own else SUBMITTED_AT_ONCE * threads)
                asked = counted
            asked -= 1
            return counted

        return most

    def _outcomes(
        self, units: Sequence[Unit], most_at_once: Callable[[], int]
    ) -> Iterator[tuple[Unit, Outcome | None]]:
        """Yield units with their outcomes, None for a unit whose workers died."""
        left = iter(units)
        pending: dict[str, Unit] = {}
        futures = as_completed(loop=self._client.loop)
        try:
            while True:
                while len(pending) < most_at_once() and (unit := next(left, None)) is not None:
                    future = self._submitted(unit)
                    pending[future.key] = unit
                    futures.add(future)
                if not pending:
                    return
                future = next(futures)
                yield (unit := pending.pop(future.key)), self._outcome(unit, future)
        except (OSError, CancelledError) as problem:
            raise Interrupted(
                f"the scheduler of Dask has gone: {type(problem).__name__}: {problem}"
            ) from problem

    def _submitted(self, unit: Unit) -> Future:
        if self._client.status != "running":
            raise Interrupted("the scheduler of Dask has gone")
        key = f"{unit.id}-{uuid.uuid4().hex}"
        return self._client.submit(_work, unit, self._expected, self._packages, key=key, pure=False)

    def _outcome(self, unit: Unit, future: Future) -> Outcome | None:
        if future.status in ("cancelled", "lost"):
            raise Interrupted("the scheduler of Dask has gone")
        try:
            outcome: Outcome = future.result()
        except KilledWorker:
            return None
        except (Refused, CancelledError, OSError):
            raise
        # The unit could not be sent, or its result could not.
        except Exception as problem:
            return Failed(unit.id, f"{type(problem).__name__}: {problem}")
        return outcome


@contextmanager
def connected(
    where: str | None, workers: int | None = None, packages: tuple[str, ...] = software.REFERENCE
) -> Iterator[Cluster]:
    """Connect to a scheduler, or start a cluster on this machine, which ends with the context.

    Parameters
    ----------
    where : str or None
        The address of a scheduler, or the path of its scheduler file; None starts a cluster.
    workers : int or None
        How many processes the started cluster has; None for one for each processor.
    packages : tuple of str
        The packages whose code decides results, for ``software``.

    Raises
    ------
    Refused
        If a worker has other software.
    Interrupted
        If no scheduler answers.
    """
    with ExitStack() as stack:
        # The reports of this package say what has died; those of Dask would be printed between them.
        stack.enter_context(_silent("distributed.", "asyncio", "tornado"))
        try:
            client = _client_of(stack, workers) if where is None else _client_at(where)
        except (OSError, ValueError) as problem:
            raise Interrupted(f"no scheduler of Dask answers at {where}: {problem}") from problem
        stack.callback(_close, client)
        cluster = Cluster(client, packages, is_own=where is None)
        cluster.check_workers()
        yield cluster


def _client_of(stack: ExitStack, workers: int | None) -> Client:
    """Return the client of a new cluster on this machine."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sgd-ref-", ignore_cleanup_errors=True))
    with ignoring_interrupts():
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=workers or CPU_COUNT,
                threads_per_worker=1,
                # A scheduler has an address for HTTP, even without a dashboard; any port will do.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                local_directory=folder,
                silence_logs=logging.CRITICAL,
            )
        )
    return Client(cluster, set_as_default=False)


def _client_at(where: str) -> Client:
    if "://" in where:
        return Client(where, timeout=START_LIMIT, set_as_default=False)
    if not Path(where).is_file():
        raise FileNotFoundError(f"no such scheduler file: {where}")
    return Client(scheduler_file=where, timeout=START_LIMIT, set_as_default=False)


def _close(client: Client) -> None:
    # Where the scheduler has died, nobody answers.
    with suppress(OSError, CancelledError, TimeoutError):
        client.close(timeout=2)


def _work(unit: Unit, expected: Mapping[str, str], packages: tuple[str, ...]) -> Outcome:
    """Do a unit on a worker."""
    worker = get_worker()
    name = _named(worker.name, worker.address)
    # A worker may have joined after the others were checked.
    _check_software(name, expected, software.software(packages))
    # Implementations need not be safe in threads.
    with _ONE_AT_A_TIME:
        try:
            return done(unit, name)
        except Refused as problem:
            raise Refused(f"worker {name}: {problem}") from problem


_ONE_AT_A_TIME = threading.Lock()


def _software_there(packages: tuple[str, ...]) -> Callable[[], dict[str, str]]:
    """Return a function that is sent as a whole, since a worker may have no such module."""

    def there() -> dict[str, str]:
        try:
            from sgd_ref.conformance.grading.sweep.software import software as found
        except ImportError as problem:
            return {"sgd_ref": f"not usable ({problem})"}
        return found(packages)

    return there


def _check_software(name: str, expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    differing = software.differences(expected, found)
    if differing:
        raise Refused(f"worker {name} has other software: {differing}")


def _named(name: object, address: str) -> str:
    return str(name) if str(name) == address else f"{name} at {address}"


def _blamed(unit: Unit) -> Failed:
    return Failed(unit.id, "each worker that did it died; another attempt would end more of them")


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    known = [*names, *(name for name in logging.root.manager.loggerDict if name.startswith(names))]
    loggers = [logging.getLogger(name) for name in known]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
