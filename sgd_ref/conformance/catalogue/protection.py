"""Cases whose gradients cannot be written over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.numbers import readonly
from sgd_ref.gradients import SparseRows


def protected(case: Case) -> Case:
    """Return a case with the same gradients, dense ones read-only; the case itself if they already are.

    Some known mistakes write over the gradients that they are given, if they can.

    >>> case = Case("a", {}, ("w",), (np.ones(1),), ((np.ones(1),),))
    >>> protected(case).gradients[0][0].flags.writeable, case.gradients[0][0].flags.writeable
    (False, True)
    """
    gradients = tuple(tuple(map(_read_only, call)) for call in case.gradients)
    pairs = zip(case.gradients, gradients, strict=True)
    if all(old is new for before, after in pairs for old, new in zip(before, after, strict=True)):
        return case
    return replace(case, gradients=gradients)


def _read_only(gradient: Array | SparseRows | None) -> Array | SparseRows | None:
    # Every optimizer first makes a dense copy of a sparse gradient.
    if isinstance(gradient, np.ndarray) and gradient.flags.writeable:
        return readonly(gradient.view())
    return gradient
