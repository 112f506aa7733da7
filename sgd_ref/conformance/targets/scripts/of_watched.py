"""Scripts that show the steps of a training loop that was watched, on as few elements as possible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.conformance.bounds.running_error.judging import allowances
from sgd_ref.conformance.bounds.violation import DIGITS, DIGITS_OF_SINGLE, Violation
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.diagnosis.reductions import with_calls, with_variables
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.scripts.script import script_text
from sgd_ref.conformance.targets.scripts.within_bounds import Bounds
from sgd_ref.conformance.trajectories.comparison import LISTS, equal_bits

FEW = 4
"""The number of elements of each variable in the shortest scripts."""

SHOWN_BY: Mapping[str, tuple[str, ...]] = {"keras": LISTS}
"""The quantities that the scripts of a target report; the others report variables alone."""


@dataclass(frozen=True)
class Watched:
    """A script that shows some steps of a training.

    Attributes
    ----------
    text : str
        The script.
    place : str
        The beginning of the line that the script prints for the first wrong value.
    """

    text: str
    place: str


def scripts_of(
    case: Case, observed: Trajectory, held_to: Dialect, target: str, optimizer: str | None = None
) -> Iterator[Watched]:
    """Yield scripts that run the steps of a recorded case with a framework alone, the shortest first.

    A script with fewer elements or variables shows the same only if the mistake does not need the others. So
    its user has to run it, until one shows the wrong value.

    Parameters
    ----------
    case : Case
        The steps, with all of their elements.
    observed : trajectory
        What was seen after each step.
    held_to : Dialect
        The rule that they were held to.
    target : str
        The name of a target, such as "torch loop".
    optimizer : str, optional
        ``module:name`` of an optimizer that the script makes in place of the framework's own.

    Raises
    ------
    ValueError
        If each value is one that the rule may give, or the target cannot take the case.

    Examples
    --------
    >>> w = np.ones(8, "float32")
    >>> case = Case("a", {"learning_rate": 0.5}, ("w",), (w,), ((w,),))
    >>> seen = [{"variables": [w * np.float32(1.5)]}]
    >>> [script.place for script in scripts_of(case, seen, Dialect(), "torch loop")]
    ['call 0, variables of w[0]:', 'call 0, variables of w[0]:']
    """
    kept = SHOWN_BY.get(target.partition(" ")[0], ("variables",))
    shown: list[Record] = [{q: record[q] for q in kept if record.get(q)} for record in observed]
    found = _first_outside(case, shown, held_to)
    if found is None:
        raise ValueError(
            "its values of variables are those that the rule may give, whatever was rounded on the way"
        )
    calls = range(found.violation.call + 1)
    place = str(found.violation).partition(":")[0].removeprefix(f"call {found.violation.call}, ")
    before = f"{case.notes}. " if case.notes else ""
    notes = f"{before}The first wrong value: {place}, {found.violation.call} steps after the first."
    case, shown = replace(with_calls(case, calls), notes=notes), shown[: len(calls)]
    lengths = set()
    for smaller, seen in _smaller(case, shown, found.violation):
        bounds = _first_outside(smaller, seen, held_to)
        size = sum(variable.size for variable in smaller.variables)
        # Where the case is small, the smaller ones are the case itself.
        if bounds is None or size in lengths:
            continue
        lengths.add(size)
        how = registry.how_to_run(
            smaller, optimizer=optimizer, by_design=held_to.by_design, **registry.options_of(target)
        )
        text = script_text(
            smaller,
            held_to.basis().run(smaller),
            seen,
            how,
            optimizer or target,
            bounds=bounds,
        )
        yield Watched(text, str(bounds.violation).partition(":")[0] + ":")


def _smaller(
    case: Case, observed: Sequence[Record], violation: Violation
) -> Iterator[tuple[Case, list[Record]]]:
    """Yield parts of a case, and the case itself."""
    position = case.names.index(violation.variable)
    alone = with_variables(case, [position])
    alone_seen = _each(observed, lambda arrays: [arrays[position]])
    has_norms = any(case.config.get(name) is not None for name in ("clipnorm", "global_clipnorm"))
    if not has_norms:
        yield _with_few(alone, alone_seen, {alone.variables[0].shape: violation.element})
        yield _with_few(case, observed, {case.variables[position].shape: violation.element})
    if case.config.get("global_clipnorm") is None:
        yield alone, alone_seen
    yield case, list(observed)


def _with_few(
    case: Case, observed: Sequence[Record], element: Mapping[tuple[int, ...], tuple[int, ...]]
) -> tuple[Case, list[Record]]:
    """Return a case with the first and the last element of each variable, and one that is chosen.

    Variables of one shape lose the same elements, so that they still have one shape.
    """
    chosen = {}
    for variable in case.variables:
        shape, size = variable.shape, variable.size
        if size <= FEW:
            continue
        place = int(np.ravel_multi_index(element[shape], shape)) if shape in element else 0
        indices = sorted({0, place, size - 1})
        indices += [index for index in range(1, size) if index not in indices][: FEW - len(indices)]
        chosen[shape] = np.array(sorted(indices))

    def few(array: Array | None) -> Array | None:
        if array is None or array.shape not in chosen:
            return array
        # An array with several axes keeps as many: some rules leave vectors alone.
        taken: Array = array.reshape(-1)[chosen[array.shape]]
        return taken.reshape((1,) * (array.ndim - 1) + (-1,))

    def of_all(arrays: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(few(array) for array in arrays)

    state = case.state
    smaller = replace(
        case,
        variables=of_all(case.variables),
        gradients=tuple(of_all(call) for call in case.gradients),
        state=None
        if state is None
        else replace(
            state,
            velocities=of_all(state.velocities),
            averages=of_all(state.averages),
            accumulators=of_all(state.accumulators),
        ),
    )
    return smaller, _each(observed, lambda arrays: list(of_all(arrays)))


def _each(observed: Sequence[Record], change: Any) -> list[Record]:
    return [{quantity: change(arrays) for quantity, arrays in record.items()} for record in observed]


def _first_outside(case: Case, observed: Sequence[Record], held_to: Dialect) -> Bounds | None:
    """Return the first value that no evaluation gives, with all distances from what is expected.

    An evaluation goes on from its own results, not from those that were seen. So the distances also cover
    velocities that are rounded when they are written and when they are read: PyTorch and Optax keep them
    without the rate.
    """
    basis = held_to.basis()
    expected = basis.run(case)
    # In the script they are rounded up, once.
    distances = list(allowances(case, (), expected, basis=basis))
    for call, (wanted, given) in enumerate(zip(expected, observed, strict=False)):
        for quantity, arrays in given.items():
            for position, array in enumerate(arrays):
                want, distance = wanted[quantity][position], distances[call][quantity][position]
                with np.errstate(all="ignore"):
                    apart = np.abs(array.astype(FLOAT64) - want.astype(FLOAT64))
                    possible = equal_bits(want, array) | (apart <= distance) | np.isinf(distance)
                wrong = np.argwhere(~possible)
                if len(wrong):
                    element = tuple(int(index) for index in wrong[0])
                    return Bounds(
                        _violation((call, quantity, case.names[position], element), want, array, distance),
                        [{quantity: record[quantity] for quantity in given} for record in distances],
                    )
    return None


def _violation(
    place: tuple[int, str, str, tuple[int, ...]], want: Array, got: Array, distance: Array
) -> Violation:
    element = place[-1]
    middle, side = float(want[element]), float(distance[element])
    digits = DIGITS if want.dtype == FLOAT64 else DIGITS_OF_SINGLE
    is_nan = bool(np.isnan(middle))
    return Violation(*place, float(got[element]), middle - side, middle + side, is_nan, digits)
