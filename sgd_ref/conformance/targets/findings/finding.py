"""One contradiction that a target showed: a small case, the documented answer, and the observed one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.trajectories.comparison import LISTS, SCALARS, compare, reported
from sgd_ref.validation import reject_value


@dataclass(frozen=True)
class Finding:
    """A contradiction, and the case that shows it.

    Attributes
    ----------
    name : str
        The contradiction.
    case : Case
        A shrunk case.
    expected, observed : trajectory
        The trajectories of the reference and of the target, both without the quantities that the target did
        not report.
    versions : mapping of str to str
        The versions of the packages; "version" is that of the target itself.
    processor : str or None
        The processor on which it was seen; None if that was not recorded.
    """

    name: str
    case: Case
    expected: Trajectory
    observed: Trajectory
    versions: Mapping[str, str]
    processor: str | None


def finding(
    name: str,
    case: Case,
    expected: Trajectory,
    observed: Trajectory,
    versions: Mapping[str, str],
    processor: str | None = None,
) -> Finding:
    """Return the finding from a case and its two trajectories.

    Parameters
    ----------
    name, case, versions, processor
        As in `Finding`.
    expected, observed : trajectory
        The whole trajectories of the reference and of the target.

    Raises
    ------
    ValueError
        If `observed` does not differ from `expected`.

    Examples
    --------
    >>> case = Case("a", {"learning_rate": 0.5}, ("w",), (np.ones(1),), ((np.ones(1),),))
    >>> expected = [{"variables": [np.array([0.5])], "velocities": [], "iterations": 1}]
    >>> wrong = [{"variables": [np.array([1.5])]}]
    >>> finding("ascends", case, expected, wrong, {}).expected
    [{'variables': [array([0.5])]}]
    """
    if compare(case, expected, observed).equal:
        reject_value("observed", "the bits that are expected", "a trajectory that differs")
    pairs = list(zip(expected, observed, strict=True))
    return Finding(
        name,
        case,
        [_only(reported(*pair), pair[0]) for pair in pairs],
        [_only(reported(*pair), pair[1]) for pair in pairs],
        dict(versions),
        processor,
    )


def _only(quantities: tuple[str, ...], record: Record) -> Record:
    kept = {quantity: _plain(quantity, record[quantity]) for quantity in quantities}
    # A record must have the key "variables", even if the list is empty.
    kept.setdefault("variables", [])
    return kept


def _plain(quantity: str, value: Any) -> Any:
    if quantity in LISTS:
        return [np.asarray(array) for array in value]
    if quantity in SCALARS:
        # Trajectories are compared in this dtype, whatever dtype the target reports.
        with np.errstate(all="ignore"):
            return np.asarray(value, FLOAT32)[()]
    return int(value)
