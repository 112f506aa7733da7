"""The guard that no kernel falls back to the reference: its arithmetic raises while kernels work."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sgd_ref import gradients, norm, optimizer, rule
from sgd_ref.base import variables
from sgd_ref.base.optimizer import BaseSGD

PACKAGES = ("sgd_ref", "numba_kernels")


class FellBack(AssertionError):
    """Raised if arithmetic of the reference is called while only kernels may compute."""


def forbidden_functions() -> list[Callable[..., Any]]:
    """Return the functions of ``sgd_ref`` that compute for a step.

    >>> "descend" in [function.__name__ for function in forbidden_functions()]
    True
    """
    formulas = [function for _, function in inspect.getmembers(rule, inspect.isfunction)]
    return [*formulas, norm.euclidean_norm, gradients.from_scipy, variables.to_dense]


def forbidden_methods() -> list[tuple[type, str]]:
    """Return the methods that compute, with the class that has them: all stages, and sparse rows."""
    stages = [name for name, _ in inspect.getmembers(optimizer.SGD, inspect.isfunction)]
    own = [(optimizer.SGD, name) for name in stages if name in vars(optimizer.SGD)]
    return [*own, (BaseSGD, "accepted"), (BaseSGD, "all_finite"), (gradients.SparseRows, "to_dense")]


@contextmanager
def only_kernels() -> Iterator[None]:
    """Make every arithmetic function and stage of the reference raise `FellBack`.

    The functions are also replaced in modules that import them by name, and for other threads.

    Examples
    --------
    >>> import numpy as np
    >>> with only_kernels():
    ...     rule.move(np.ones(1), np.ones(1))
    Traceback (most recent call last):
    ...
    numba_kernels.selfcheck.guard.FellBack: sgd_ref.rule.move was called
    """
    changed: list[tuple[Any, str, Any]] = []
    try:
        for owner, name in _places():
            function = vars(owner)[name]
            changed.append((owner, name, function))
            setattr(owner, name, _raising(f"{function.__module__}.{function.__qualname__}"))
        yield
    finally:
        for owner, name, function in reversed(changed):
            setattr(owner, name, function)


def _places() -> Iterator[tuple[Any, str]]:
    functions = forbidden_functions()
    modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] in PACKAGES]
    for module in modules:
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value in functions:
                yield module, name
    yield from forbidden_methods()


def _raising(name: str) -> Callable[..., Any]:
    def fell_back(*arguments: Any, **keywords: Any) -> Any:
        raise FellBack(f"{name} was called")

    return fell_back
