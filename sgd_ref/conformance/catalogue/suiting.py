"""The features of a case that are not offered, and the case without the variables that are not offered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sgd_ref.conformance.catalogue.axes import AXES, label
from sgd_ref.conformance.catalogue.case import Case, Layouts
from sgd_ref.conformance.catalogue.qualities import BESIDE_AXES, qualities_on, shape_of
from sgd_ref.validation import reject_value

OFFERABLE: Mapping[str, tuple[str, ...]] = {**AXES, **BESIDE_AXES}
"""The axes whose values an implementation may offer, with these values."""

Offered = Mapping[str, Collection[str]]
"""The offered values of each axis; all values of an axis that is left out."""


def check_offered(offered: Offered) -> None:
    """Check that the offered axes and values are known, and that each axis has at least one offered value.

    >>> check_offered({"shapes": ["round"]})
    Traceback (most recent call last):
    ValueError: offered['shapes'] must be a collection of some of filled, empty, scalar, got ['round']
    """
    for axis, values in offered.items():
        if axis not in OFFERABLE:
            reject_value("the axes of offered", axis, f"among {', '.join(OFFERABLE)}")
        if isinstance(values, str) or not values or not set(values) <= set(OFFERABLE[axis]):
            accepted = f"a collection of some of {', '.join(OFFERABLE[axis])}"
            reject_value(f"offered[{axis!r}]", values, accepted)


def lacking(case: Case, offered: Offered) -> tuple[str, ...]:
    """Return the words for the features that a case needs and that are not offered, in the order of the axes.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> by_id = {case.id: case for case in conformance.cases()}
    >>> lacking(by_id["axes/nesterov"], {"update": ["plain"], "shapes": ["filled"]})
    ('nesterov', 'empty', 'scalar')
    """
    found = {axis: qualities_on(axis, case) for axis in offered}
    return tuple(
        label(axis, value)
        for axis, values in OFFERABLE.items()
        if axis in offered
        # Named cases have settings that are not values of an axis, such as an accumulation over 4 calls.
        for value in (*values, *sorted(found[axis].difference(values)))
        # A sparse or a missing gradient stands among dense ones, which every implementation takes.
        if value in found[axis] and value not in offered[axis] and (axis, value) != ("gradients", "dense")
    )


def suited(case: Case, offered: Offered) -> Case | None:
    """Return the case that an implementation with certain offers can answer, or None.

    This is the case itself, or the case without the variables that have no elements or no axes.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = next(case for case in conformance.cases() if case.id == "axes/nesterov")
    >>> found = suited(case, {"shapes": ["filled"]})
    >>> found.id, case.names, found.names
    ('axes/nesterov/filled', ('kernel', 'bias', 'table', 'scale', 'nothing'), ('kernel', 'bias', 'table'))
    >>> suited(case, {"update": ["plain"]}) is None
    True
    """
    if not lacking(case, offered):
        return case
    beside = {axis: values for axis, values in offered.items() if axis != "shapes"}
    if lacking(case, beside):
        return None
    return _with_shapes(case, offered["shapes"])


def split_id(case_id: str) -> tuple[str, tuple[str, ...]]:
    """Return the id of the whole case, and the words for the shapes of the remaining variables.

    >>> split_id("axes/nesterov/filled/scalar")
    ('axes/nesterov', ('filled', 'scalar'))
    >>> split_id("axes/nesterov")
    ('axes/nesterov', ())
    """
    parts = case_id.split("/")
    count = len(parts)
    while count and parts[count - 1] in BESIDE_AXES["shapes"]:
        count -= 1
    return "/".join(parts[:count]), tuple(parts[count:])


def _with_shapes(case: Case, shapes: Collection[str]) -> Case | None:
    """Return a case without variables of other shapes; None if nothing is left to compute in a call."""
    kept = [position for position, variable in enumerate(case.variables) if shape_of(variable) in shapes]

    def chosen(parts: Any) -> tuple[Any, ...]:
        return tuple(parts[position] for position in kept) if parts else ()

    gradients = tuple(chosen(call) for call in case.gradients)
    if case.made is not None or not all(any(g is not None for g in call) for call in gradients):
        return None
    state, layouts = case.state, case.layouts
    return replace(
        case,
        id="/".join([case.id, *(shape for shape in BESIDE_AXES["shapes"] if shape in shapes)]),
        names=chosen(case.names),
        variables=chosen(case.variables),
        gradients=gradients,
        state=None
        if state is None
        else replace(
            state,
            velocities=chosen(state.velocities),
            averages=chosen(state.averages),
            accumulators=chosen(state.accumulators),
        ),
        layouts=None if layouts is None else Layouts(chosen(layouts.variables), chosen(layouts.gradients)),
    )
