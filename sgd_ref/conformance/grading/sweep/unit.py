"""A unit of work, its outcomes, and the engines that do units."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]


class Unit(NamedTuple):
    """Some seconds of work with a small result, which depends on nothing but the unit.

    Attributes
    ----------
    id : str
        The same in every run of the same sweep.
    work : callable
        Returns the result, which JSON can hold. It can be pickled. Any random numbers in it come from seeds
        that it contains.
    """

    id: str
    work: Callable[[], Json]


class Done(NamedTuple):
    """The result of a unit.

    Attributes
    ----------
    unit : str
        The id of the unit.
    result : dict
        What `Unit.work` returned.
    worker : dict of str to str
        The worker that did it: "name" and "host".
    """

    unit: str
    result: Json
    worker: dict[str, str]


class Failed(NamedTuple):
    """A unit without a result: its work raised an error, or each worker that did it died.

    Attributes
    ----------
    unit : str
        The id of the unit.
    reason : str
        The reason, in words.
    """

    unit: str
    reason: str


Outcome = Done | Failed

Engine = Callable[[Sequence[Unit]], Iterator[Outcome]]
"""Does units in any order and yields one outcome for each."""


class Refused(Exception):
    """Raised by the work of a unit on a worker that may not take part in the sweep; its message says why."""


class Interrupted(Exception):
    """Raised if a sweep cannot go on, for example because the scheduler has died; it can be resumed."""


def here(units: Iterable[Unit]) -> Iterator[Outcome]:
    """Do the units in this process, in their order.

    Examples
    --------
    >>> [done] = here([Unit("a", lambda: {"cases": 1})])
    >>> done.unit, done.result
    ('a', {'cases': 1})
    """
    for unit in units:
        yield done(unit, "this process")


def done(unit: Unit, name: str) -> Outcome:
    """Do one unit, and return its result or, if its work raises an error, the error in words.

    Parameters
    ----------
    unit : Unit
        The unit.
    name : str
        The name of the worker that does it.

    Raises
    ------
    Refused
        By the work of the unit.
    """
    try:
        return Done(unit.id, unit.work(), {"name": name, "host": platform.node()})
    except Refused:
        raise
    # The other units can still be done.
    except Exception as problem:
        return Failed(unit.id, f"{type(problem).__name__}: {problem}")
