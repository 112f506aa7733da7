"""The trial of one mutant: in a process of its own, until the first golden entry that it answers wrongly."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgd_ref.conformance.audit.mutants.changes import Mutant
from sgd_ref.conformance.audit.mutants.forking import fork
from sgd_ref.conformance.golden.content import rejections, schedules
from sgd_ref.conformance.golden.format.entries import entry_from_json
from sgd_ref.conformance.protocol.arrays import array_from_json
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import check_form, compare, equal_bits
from sgd_ref.gradients import SparseRows

KIT = "sgd_ref.conformance"
MEMORY = 4 << 30
"""Of a process, in bytes: some mutants make numbers without end."""

SECONDS = 2
"""Of processor time that an import or an entry may take: some mutants never end."""


@dataclass(frozen=True)
class Question:
    """One entry of the golden data.

    Attributes
    ----------
    id : str
        Its id.
    is_answered : callable
        Whether the reference gives what the entry expects.
    seconds : int
        Of processor time that the answer may take.
    """

    id: str
    is_answered: Callable[[], bool]
    seconds: int = SECONDS


def questions(folder: Path) -> Iterator[Question]:
    """Yield those of the golden data: the standard tier, what must be refused, the schedules alone."""
    for path in sorted(folder.glob("standard/**/*.json")):
        for entry in _entries(path):
            yield _of_trajectory(entry)
    for entry in _entries(folder / "rejections.json"):
        yield _of_rejection(entry)
    for path in sorted(folder.glob("schedules/*.json")):
        for entry in _entries(path):
            yield _of_schedule(entry)


def _entries(path: Path) -> list[Any]:
    entries: list[Any] = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return entries


def _of_trajectory(entry: Any) -> Question:
    stored = entry_from_json(entry)
    case, expected = stored.case, stored.expected

    def is_answered() -> bool:
        found = reference.run(_with_own_rows(case), *_own("SGD", "LossScaleOptimizer"))
        check_form(case, expected, found)
        return compare(case, expected, found).equal

    return Question(case.id, is_answered)


def _of_rejection(entry: Any) -> Question:
    return Question(entry["id"], lambda: rejections.problem(entry) is None)


def _of_schedule(entry: Any) -> Question:
    expected = array_from_json(entry["expected"])
    return Question(
        entry["id"],
        lambda: bool(equal_bits(expected, schedules.rates(entry["schedule"], entry["steps"])).all()),
    )


def attempt(mutant: Mutant, asked: Sequence[Question]) -> str:
    """Ask a mutant the questions in their order; return the id of the first that it answers wrongly.

    Empty if there is none, and ``"import"`` if the mutant cannot even be imported. The process is a fork of
    this one, so that nothing is read or compiled again but the reference.
    """
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        os.close(reading)
        _answer(mutant, asked, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode().splitlines()
    os.waitpid(child, 0)
    # The last line is the question under way, if the process was ended within it.
    killer = said[-1] if said else "import"
    return "" if killer == "survives" else killer


def _answer(mutant: Mutant, asked: Sequence[Question], writing: int) -> None:
    """Write the id of each question before it is asked; do not return."""
    try:
        _limit_memory()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        import_anew(mutant)
        for question in asked:
            signal.setitimer(signal.ITIMER_PROF, question.seconds)
            os.write(writing, f"{question.id}\n".encode())
            if not question.is_answered():
                os._exit(0)
        os.write(writing, b"survives\n")
    # Any error of a mutant means that there is no answer; the process must end here, without running the
    # caller's cleanup.
    except BaseException:
        os._exit(1)
    os._exit(0)


def _limit_memory() -> None:
    resource = importlib.import_module("resource")  # Windows has none, and no forks either.
    try:
        # A fork has all that its parent has mapped, which after the import of a framework is gigabytes.
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        mapped = 0
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))


def import_anew(mutant: Mutant | None) -> None:
    """Import the reference anew, with one module mutated; the kit itself is not imported anew."""
    for name in [name for name in sys.modules if name.split(".")[0] == "sgd_ref"]:
        if name != KIT and not name.startswith(f"{KIT}."):
            del sys.modules[name]
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    optimizer = importlib.import_module("sgd_ref.optimizer")
    loss_scale = importlib.import_module("sgd_ref.loss_scale")
    gradients = importlib.import_module("sgd_ref.gradients")
    serialization = importlib.import_module("sgd_ref.schedules.serialization")
    own = {
        "SGD": optimizer.SGD,
        "LossScaleOptimizer": loss_scale.LossScaleOptimizer,
        "SparseRows": gradients.SparseRows,
        "deserialize": serialization.deserialize,
    }
    for module in (reference, rejections, schedules):
        vars(module).update({name: value for name, value in own.items() if name in vars(module)})


def _own(*names: str) -> tuple[Any, ...]:
    """Return classes of the reference, or of the mutant in its place."""
    return tuple(vars(rejections)[name] for name in names)


def _with_own_rows(case: Any) -> Any:
    """Return a case whose sparse rows are those of the mutant."""
    (rows,) = _own("SparseRows")
    if rows is SparseRows:
        return case
    own = tuple(
        tuple(rows(g.indices, g.values, g.shape) if isinstance(g, SparseRows) else g for g in call)
        for call in case.gradients
    )
    return type(case)(**{**vars(case), "gradients": own})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """It finds the mutated module."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._mutant.module:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        is_package = found is not None and found.submodule_search_locations is not None
        spec = importlib.machinery.ModuleSpec(name, self, is_package=is_package)
        if is_package and found is not None:
            spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def exec_module(self, module: Any) -> None:
        # A mutant is the reference's own source but for one token.
        exec(compile(self._mutant.source, f"<mutant of {self._mutant.module}>", "exec"), vars(module))  # noqa: S102
