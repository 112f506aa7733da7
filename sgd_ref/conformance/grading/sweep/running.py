"""Run a sweep: the units that a journal lacks go to an engine, and their results into the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sgd_ref.conformance.grading.sweep.journal import Journal
from sgd_ref.conformance.grading.sweep.unit import Done, Engine, Failed, Json, Unit, here


@dataclass
class Sweep:
    """A sweep that is being run.

    Attributes
    ----------
    journal : Journal
        The finished units.
    engine : Engine
        Does the others.
    failed : list of Failed
        The units without a result, in the order of the units.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "a"), {}) as journal:
    ...     sweep = Sweep(journal)
    ...     sweep.run([Unit("one", lambda: {"cases": 1}), Unit("two", lambda: {"cases": 1 // 0})])
    ...     len(journal), sweep.failed[0].reason
    (1, 'ZeroDivisionError: integer division or modulo by zero')
    """

    journal: Journal
    engine: Engine = here
    failed: list[Failed] = field(default_factory=list)

    def run(self, units: Sequence[Unit], advance: Callable[[int], None] = lambda done: None) -> None:
        """Do the units that the journal lacks.

        Parameters
        ----------
        units : sequence of Unit
            With distinct ids.
        advance : callable, optional
            Called with the number of finished units, first with those of the journal.

        Raises
        ------
        Refused
            If a worker may not do a unit, for example because its software differs.
        Interrupted
            If the sweep cannot go on.
        """
        left = [unit for unit in units if unit.id not in self.journal]
        finished = len(units) - len(left)
        advance(finished)
        failed: dict[str, Failed] = {}
        for outcome in self.engine(left) if left else ():
            if isinstance(outcome, Done):
                self.journal.add(outcome)
            else:
                failed[outcome.unit] = outcome
            finished += 1
            advance(finished)
        self.failed.extend(failed[unit.id] for unit in left if unit.id in failed)

    def results(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Json]]:
        """Yield the finished units with their results, in the order of the units."""
        for unit in units:
            if unit.id in self.journal:
                yield unit, self.journal.result(unit.id)
