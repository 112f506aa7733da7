"""Widths of the bounds: how far a faithful evaluation may be from the reference, measured and published.

The width of a bound is the largest distance of an allowed number from the result of the reference, in units
in the last place. The cases are those of the standard tier, read along the trajectory of the reference
itself. All of them take minutes, so a row for each case is kept as well, by which a share can be checked.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.bounds.enclosure import Enclosure
from sgd_ref.conformance.bounds.walk import Walk
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.tiers import cases as catalogue
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import LISTS, before_first_call, units_apart

PAGE = data_folder.folder() / "audit" / "bounds.md"
DATA = PAGE.with_suffix(".json")

READINGS = STEP_BY_STEP, FREE_RUNNING = "step by step", "free-running"
OTHER, CANCELLATION = "ordinary", "cancellation"

SMALLEST_SHARE = 0.25
"""A result below this share of its largest addend is a cancellation."""

HEADINGS = {
    STEP_BY_STEP: "Step by step: every call goes on from the state of the reference",
    FREE_RUNNING: "Free-running: what was computed last, from the start, with a hidden wider state",
}

INTRODUCTION = """\
# Widths of the bounds

Written by `python -m sgd_ref.conformance.audit.widths --update`; the tests compare a share of it.

The width of a bound is the distance, in units in the last place, from the result of the reference to the
farthest number that some faithful evaluation of the documented formulas may give. The tables count all
elements of the standard tier whose result is finite and computed, not copied. A *cancellation* is a result
below a quarter of the old value or of the change, whichever is larger: there, the unit of the result is small
beside the roundings before. *Points* is the share of elements for which only the bits of the reference are
allowed, often because nothing is rounded; the last column is the median of the other elements. Widths and
shares have two digits.
"""

Group = tuple[str, str, str, str]
"""Reading, quantity, name of the dtype, and whether the results are cancellations."""


@dataclass(frozen=True)
class Width:
    """The bounds of one group of elements.

    Attributes
    ----------
    count : int
        Number of elements.
    median, ninth_decile, largest : float
        Statistics of the widths of their bounds, in units in the last place.
    share_of_points : float
        Share of the elements for which only the bits of the reference are allowed, from 0 to 1.
    median_of_others : float
        The median width of the other bounds, in units; 0 if there are none.
    """

    count: int
    median: float
    ninth_decile: float
    largest: float
    share_of_points: float
    median_of_others: float


def widths(cases: Iterable[Case]) -> dict[Group, Width]:
    """Return the widths of the bounds of every group of elements that the cases have.

    Elements of which the reference gives no finite number have no bound and are left out, and so is what
    is only copied, in which nothing is rounded.

    Raises
    ------
    ArithmeticError
        If the reference is outside of its own bounds.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = next(case for case in conformance.cases() if case.id == "exact/momentum/float32")
    >>> widths([case])["step by step", "velocities", "float32", "ordinary"].largest
    0.0
    """
    return audit(cases)[0]


def units_of(case: Case) -> dict[Group, Array]:
    """Return the width of the bound of every element of a case that has one, in units, by group."""
    # Nothing is rounded in a big case.
    if case.made is not None:
        return {}
    parts: dict[Group, list[Array]] = defaultdict(list)
    trajectory = reference.run(case)
    for reading in READINGS:
        for found in _found(case, trajectory, reading):
            units = _units(found)
            cancels = _cancels(found)
            for kind, chosen in ((CANCELLATION, cancels), (OTHER, ~cancels)):
                group = (reading, found.quantity, found.result.dtype.name, kind)
                parts[group].append(units[chosen & np.isfinite(found.result)])
    return {group: np.concatenate(units) for group, units in parts.items()}


def row_of(groups: Mapping[Group, Array]) -> dict[str, str]:
    """Return for each reading of a case how many elements have a bound, the share of points, the largest."""
    row = {}
    for reading in READINGS:
        parts = [units for group, units in groups.items() if group[0] == reading]
        units = np.concatenate([np.zeros(0), *parts])
        if units.size:
            row[reading] = f"{units.size} {np.mean(units == 0):.2g} {units.max():.2g}"
    return row


def audit(cases: Iterable[Case]) -> tuple[dict[Group, Width], dict[str, dict[str, str]]]:
    """Return the widths of all groups over the cases, and the row of each case by its id."""
    rows: dict[str, dict[str, str]] = {}
    parts: dict[Group, list[Array]] = defaultdict(list)
    for case in cases:
        groups = units_of(case)
        rows[case.id] = row_of(groups)
        for group, units in groups.items():
            parts[group].append(units)
    joined = {group: np.concatenate(units) for group, units in parts.items()}
    return {group: _width(units) for group, units in joined.items() if units.size}, rows


def kept() -> tuple[dict[Group, Width], dict[str, dict[str, str]]]:
    """Return what `audit` found over the standard tier, as it was written."""
    content = json.loads(DATA.read_text(encoding="utf-8"))
    found: dict[Group, Width] = {}
    for name, width in content["groups"].items():
        reading, quantity, dtype, kind = name.split("|")
        found[reading, quantity, dtype, kind] = Width(**width)
    return found, content["cases"]


@dataclass(frozen=True)
class _Found:
    """The results of one call for one array, flat, and what was possible in their place."""

    quantity: str
    old: Array
    result: Array
    possible: Enclosure


def _found(case: Case, trajectory: Trajectory, reading: str) -> Iterator[_Found]:
    walk = Walk(case, trajectory, trajectory, {}, is_state_hidden=reading == FREE_RUNNING, everywhere=True)
    violation = walk.first_violation()
    if violation is not None:
        raise ArithmeticError(f"the reference is outside of its own bounds in {case.id}: {violation}")
    entries = walk.enclosed
    if reading == FREE_RUNNING:
        last = {entry[1:3]: entry for entry in entries}
        entries = list(last.values())
    for call, quantity, position, possible in entries:
        result = trajectory[call][quantity][position].reshape(-1)
        yield _Found(quantity, _before(case, trajectory, call, quantity, position), result, possible)


def _before(case: Case, trajectory: Trajectory, call: int, quantity: str, position: int) -> Array:
    """Return the array that one call replaced, flat."""
    if call == 0:
        return before_first_call(case, quantity, position).reshape(-1)
    return np.asarray(trajectory[call - 1][quantity][position]).reshape(-1)


def _units(found: _Found) -> Array:
    """Return the distance of the farther end of each interval."""
    lower, upper = (
        convert(np.asarray(end, FLOAT64), found.result.dtype)
        for end in (found.possible.lower, found.possible.upper)
    )
    return np.maximum(units_apart(found.result, lower), units_apart(found.result, upper))


def _cancels(found: _Found) -> Array:
    """Return where the result is small beside the old value, or beside what it was changed by."""
    old, result = convert(found.old, FLOAT64), convert(found.result, FLOAT64)
    with np.errstate(all="ignore"):
        largest = np.maximum(np.abs(old), np.abs(result - old))
        return np.asarray(np.abs(result) < SMALLEST_SHARE * largest)


def _width(units: Array) -> Width:
    others = units[units > 0]
    return Width(
        count=units.size,
        median=_quantile(units, 0.5),
        ninth_decile=_quantile(units, 0.9),
        largest=float(units.max()),
        share_of_points=1 - others.size / units.size,
        median_of_others=_quantile(others, 0.5) if others.size else 0.0,
    )


def _quantile(units: Array, share: float) -> float:
    """Return the least of the bounds that as large a share of them does not exceed."""
    return float(np.quantile(units, share, method="inverted_cdf"))


def page(found: Mapping[Group, Width]) -> str:
    """Return the published page, in Markdown.

    Figures have two digits, so that they are the same on every machine.
    """
    return "\n".join([INTRODUCTION, *(line for reading in READINGS for line in _table(found, reading))])


def _table(found: Mapping[Group, Width], reading: str) -> Iterator[str]:
    yield f"## {HEADINGS[reading]}\n"
    columns = ("quantity", "dtype", "result", "elements", "median", "90 % are at most", "largest", "points")
    yield f"| {' | '.join(columns)} | median of the others |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|"
    for quantity in LISTS:
        for dtype in FORMATS:
            for kind in (OTHER, CANCELLATION):
                width = found.get((reading, quantity, dtype.name, kind))
                if width is not None:
                    yield f"| {quantity} | {dtype.name} | {kind} | {_figures(width)} |"
    yield ""


def _figures(width: Width) -> str:
    figures = (
        width.median,
        width.ninth_decile,
        width.largest,
        width.share_of_points,
        width.median_of_others,
    )
    return " | ".join([str(width.count), *(f"{figure:.2g}" for figure in figures)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the page, or write page and data where they are published."""
    parser = argparse.ArgumentParser(description="Compute the widths of the bounds over the standard tier.")
    parser.add_argument("--update", action="store_true", help=f"write {PAGE.name} instead of printing it")
    update = parser.parse_args(arguments).update
    found, rows = audit(catalogue("standard"))
    if update:
        groups = {"|".join(group): asdict(width) for group, width in found.items()}
        DATA.write_text(json.dumps({"groups": groups, "cases": rows}, indent=0) + "\n", encoding="utf-8")
        PAGE.write_text(page(found), encoding="utf-8")
    else:
        print(page(found), end="")


if __name__ == "__main__":
    main()
