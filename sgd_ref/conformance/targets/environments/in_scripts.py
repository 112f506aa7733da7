"""The function with which a script runs a target in the environment of the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sgd_ref.conformance.catalogue.case import Case, Layouts, LossScaling, State, Trajectory
from sgd_ref.conformance.targets import registry
from sgd_ref.gradients import SparseRows


def run_in_environment(target: str) -> Callable[[Any], Trajectory]:
    """Return a function that runs a case in the form in which ``scripts.literals`` writes it.

    Parameters
    ----------
    target : str
        The name of a target with an environment of its own.

    Raises
    ------
    ValueError
        If there is no such target.
    """
    (chosen,) = registry.targets(target)

    def run(written: Any) -> Trajectory:
        with chosen.start() as implementation:
            return implementation(_case(written))

    return run


def _case(written: Any) -> Case:
    """Return the case that a script holds as a plain namespace."""
    scaling, state, layouts = written.loss_scaling, written.state, written.layouts
    return Case(
        id=written.id,
        config=written.config,
        names=written.names,
        variables=written.variables,
        gradients=tuple(tuple(map(_gradient, gradients)) for gradients in written.gradients),
        state=None if state is None else State(**vars(state)),
        excluded_from_weight_decay=written.excluded_from_weight_decay,
        loss_scaling=None if scaling is None else LossScaling(**vars(scaling)),
        learning_rate_calls=_rates(written.learning_rate_calls),
        finalize=written.finalize,
        layouts=None if layouts is None else Layouts(**vars(layouts)),
    )


def _rates(rates: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if rates is None else tuple(rates)


def _gradient(gradient: Any) -> Any:
    if hasattr(gradient, "indices"):
        return SparseRows(gradient.indices, gradient.values, gradient.shape)
    return gradient
