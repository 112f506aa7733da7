"""The part of a reproducer that runs the implementation: the code that a user would write for one case."""

from __future__ import annotations

from sgd_ref.conformance.cases.case import Case
from sgd_ref.conformance.targets.keras import script as keras
from sgd_ref.conformance.targets.optax import script as optax
from sgd_ref.conformance.targets.scripts import function
from sgd_ref.conformance.targets.torch import script as torch


def how_to_run(
    case: Case, target: str, backend: str | None = None, mode: str | None = None, variant: str | None = None
) -> str:
    """Return the code that defines ``run(case)`` for a target of the command line.

    Parameters
    ----------
    case : Case
        What the code is for; it has no other features.
    target : str
        "keras", "torch", "optax" or ``module:function``.
    backend, mode, variant : str, optional
        As for ``sgd-ref conform``, with the same defaults.

    Raises
    ------
    ValueError
        If the backend or the mode of Keras has no such thing as the case needs.

    Examples
    --------
    >>> print(how_to_run(Case("a", {}, (), (), ()), "mine:run").splitlines()[-1])
    run = mine.run
    """
    if target == "keras":
        return keras.how_to_run(case, backend or "jax", mode or "eager")
    if target == "torch":
        return torch.how_to_run(case, variant or "loop")
    if target == "optax":
        return optax.how_to_run(case, mode or "eager")
    return function.how_to_run(target)
