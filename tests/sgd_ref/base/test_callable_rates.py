"""Callable learning rates: one that wants arguments is refused by name, and what it raises stays its own."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref import LossScaleOptimizer

PACKAGES = [sgd_ref, numba_kernels]
every_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)


class Stepwise:
    """Like the schedules of other frameworks."""

    def __call__(self, step: int) -> float:
        return 0.5 / (step + 1)

    def with_default(self, step: int = 1) -> float:
        return 0.5 / step


WANTING: dict[str, Any] = {
    "function": lambda step: 0.5 * step,
    "object": Stepwise(),
    "method": Stepwise().__call__,
    "keyword": functools.partial(lambda start, *, step: start * step, 0.5),
    "partial": functools.partial(lambda start, step: start * step, 0.5),
}
WANTING_NOTHING: dict[str, Any] = {
    "function": lambda: 0.5,
    "default": Stepwise().with_default,
    "any": lambda *arguments, **keywords: 0.5,
    "partial": functools.partial(Stepwise(), 0),
    "without a signature": functools.partial(max, 0.25, 0.5),
    "method of C": np.float32(0.5).item,
}


@every_package
@pytest.mark.parametrize("rate", WANTING.values(), ids=WANTING)
def test_a_callable_that_wants_arguments_is_refused_at_once(package: Any, rate: Any) -> None:
    message = (
        "^learning_rate must be a real number that is finite in float32, a schedule or a callable without "
        f"arguments, got {re.escape(repr(rate))}, which takes .*: missing a required "
    )
    with pytest.raises(TypeError, match=message):
        package.SGD(rate)
    optimizer = package.SGD(0.25)
    for target in (optimizer, LossScaleOptimizer(optimizer)):
        with pytest.raises(TypeError, match=message):
            target.learning_rate = rate
    with pytest.raises(TypeError, match=message):
        package.SGD.from_config(optimizer.get_config(), rate)
    assert optimizer.learning_rate == 0.25


@every_package
@pytest.mark.parametrize("rate", WANTING_NOTHING.values(), ids=WANTING_NOTHING)
def test_a_callable_that_can_do_without_arguments_is_accepted(package: Any, rate: Any) -> None:
    optimizer, w = package.SGD(rate), np.ones(2, np.float32)
    for _ in range(2):
        optimizer.apply([np.ones(2, np.float32)], [w])
    assert w.tolist() == [0.0, 0.0]


@every_package
def test_a_callable_that_hides_what_it_wants_is_named_when_it_is_called(package: Any) -> None:
    # Nothing tells beforehand that it takes at least one argument.
    optimizer, w = package.SGD(max), np.ones(2, np.float32)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"^max expected at least 1 argument, got 0") as caught:
            optimizer.apply([np.ones(2, np.float32)], [w])
        assert caught.value.__notes__ == [
            "learning_rate, <built-in function max>, is called without arguments"
        ]
    assert (w.tolist(), optimizer.calls) == ([1.0, 1.0], 0)


@every_package
def test_an_error_inside_of_a_callable_stays_as_it_is(package: Any) -> None:
    def broken() -> float:
        raise TypeError("mine")

    def wanting() -> float:
        missing: Any = Stepwise()
        return float(missing())

    for rate, text in ((broken, "^mine$"), (wanting, "missing 1 required positional argument: 'step'$")):
        optimizer, w = package.SGD(rate), np.ones(2, np.float32)
        with pytest.raises(TypeError, match=text) as caught:
            optimizer.apply([np.ones(2, np.float32)], [w])
        assert not hasattr(caught.value, "__notes__")
        assert caught.value.__cause__ is None
        assert (w.tolist(), optimizer.calls) == ([1.0, 1.0], 0)
