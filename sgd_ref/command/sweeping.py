"""The arguments by which a command runs as a sweep: on a cluster, with a journal from which it is resumed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sgd_ref.base.installing import how_to_install
from sgd_ref.command.options import WrongUsage, whole_number
from sgd_ref.command.printing import complain
from sgd_ref.conformance.grading.sweep.journal import Journal, journal_at
from sgd_ref.conformance.grading.sweep.running import Sweep
from sgd_ref.conformance.grading.sweep.software import REFERENCE
from sgd_ref.conformance.grading.sweep.unit import Engine, Interrupted, Refused, here


class NotSwept(Exception):
    """Raised if a sweep cannot begin or go on; its message says why, and how to resume it."""


def add_sweep(command: argparse.ArgumentParser) -> None:
    """Add the arguments to the parser of a subcommand."""
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--cluster", action="store_true", help="split the work over processes of Dask on this machine"
    )
    where.add_argument(
        "--scheduler",
        metavar="WHERE",
        help="split the work over the workers of a Dask scheduler, given by its address, such as "
        "tcp://10.0.0.1:8786, or by its scheduler file",
    )
    command.add_argument(
        "--workers",
        type=whole_number,
        metavar="NUMBER",
        help="how many processes --cluster starts (default: one for each processor)",
    )
    command.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="the journal: work that FILE lists is not done again, and finished work is added (default with "
        "a cluster: a file in the user's cache folder)",
    )


def is_sweep(options: argparse.Namespace) -> bool:
    """Whether the arguments ask for a sweep.

    >>> is_sweep(argparse.Namespace(cluster=False, scheduler=None, resume=None, workers=None))
    False
    """
    if options.workers is not None and not options.cluster:
        raise WrongUsage("--workers must go with --cluster")
    return options.cluster or options.scheduler is not None or options.resume is not None


@contextmanager
def swept(
    options: argparse.Namespace,
    asked: Mapping[str, str],
    packages: tuple[str, ...] = REFERENCE,
    otherwise: Callable[[], Engine] = lambda: here,
) -> Iterator[Sweep]:
    """Open the journal and the cluster that the arguments choose.

    A journal that nobody named is removed once everything is done.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    asked : mapping of str to str
        All that decides the results, by name.
    packages : tuple of str
        The packages whose code decides results.
    otherwise : callable
        Makes what does the units without a cluster; by default, this process.

    Raises
    ------
    WrongUsage
        If the journal is of something else, or cannot be written.
    NotSwept
        If the cluster cannot be used, or dies.
    """
    try:
        opened = journal_at(options.resume, asked)
    except (ValueError, OSError) as problem:
        raise WrongUsage(f"--resume: {problem}") from problem
    with opened as journal:
        try:
            with ExitStack() as stack:
                sweep = Sweep(journal, _engine(options, packages, stack, otherwise))
                if len(journal):
                    complain(f"resumed: {journal.path} has {len(journal)} finished units")
                yield sweep
        except (Interrupted, Refused) as problem:
            raise NotSwept(f"{problem}; {how_to_resume(journal)}") from problem
        except KeyboardInterrupt:
            complain(how_to_resume(journal))
            raise
        if options.resume is None and not sweep.failed:
            journal.path.unlink(missing_ok=True)


def how_to_resume(journal: Journal) -> str:
    """Return in words how a sweep that has ended early is resumed."""
    return (
        f"{len(journal)} units are finished and kept in {journal.path}: the same command goes on from there"
    )


def _engine(
    options: argparse.Namespace,
    packages: tuple[str, ...],
    stack: ExitStack,
    otherwise: Callable[[], Engine],
) -> Engine:
    if not options.cluster and options.scheduler is None:
        return otherwise()
    try:
        from sgd_ref.conformance.grading.sweep.cluster import connected  # noqa: PLC0415 - Dask is an extra
    except ImportError as problem:
        raise NotSwept(
            f"a cluster needs Dask ({problem}); it is installed by: {how_to_install('cluster')}"
        ) from problem
    return stack.enter_context(connected(options.scheduler, options.workers, packages))
