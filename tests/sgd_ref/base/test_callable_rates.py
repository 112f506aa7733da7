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


WRITING_SETTINGS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.5},
    "nesterov, averages": {"momentum": 0.5, "nesterov": True, "use_ema": True, "weight_decay": 0.25},
    "accumulation": {"gradient_accumulation_steps": 2, "momentum": 0.5},
    "norm": {"clipnorm": 0.5},
    "global norm": {"global_clipnorm": 0.5, "loss_scale_factor": 4.0},
}


def write(optimizer: Any, variables: list[Any], gradients: list[Any]) -> None:
    """Change a number in all arrays of an optimizer, and in the gradients."""
    kept = [*optimizer.velocities, *optimizer.averages, *optimizer.accumulators]
    for place, array in enumerate([*variables, *gradients, *kept]):
        array[place % 3] += 0.125 * (place + 1)


@every_package
@pytest.mark.parametrize("settings", WRITING_SETTINGS.values(), ids=WRITING_SETTINGS)
@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_a_call_sees_all_that_its_callable_has_written(
    package: Any, settings: dict[str, Any], is_scaled: bool, narrow: bool
) -> None:
    """It is as if the values had been written just before the call."""
    if is_scaled and "loss_scale_factor" in settings:
        settings = {**settings, "loss_scale_factor": None}
    outcomes = []
    for by_callable in (True, False):
        variables = [np.arange(3, dtype=np.float32), np.ones(5, np.float32)]
        gradients = [array.astype(np.float16 if narrow else np.float32) for array in variables]

        def rate() -> float:
            write(optimizer, variables, gradients)  # noqa: B023
            return 0.5

        optimizer = package.SGD(rate if by_callable else 0.5, **settings)
        outer = LossScaleOptimizer(optimizer, 2.0, 2) if is_scaled else optimizer
        for call in range(5):
            if not by_callable:
                write(optimizer, variables, gradients)
            outer.apply(gradients, variables if call == 0 else None)
        kept = [*variables, *gradients, *optimizer.velocities, *optimizer.averages, *optimizer.accumulators]
        outcomes.append([array.tobytes() for array in kept])
    assert outcomes[0] == outcomes[1]


@every_package
def test_a_gradient_that_a_callable_makes_infinite_skips_the_call(package: Any) -> None:
    w, g = np.ones(2, np.float32), np.ones(2, np.float32)

    def rate() -> float:
        g[0] = np.inf
        return 0.5

    optimizer = LossScaleOptimizer(package.SGD(rate), 4.0)
    for _ in range(2):
        optimizer.apply([g], [w])
    assert (optimizer.calls, optimizer.loss_scale, w.tolist()) == (0, 1.0, [1.0, 1.0])


@every_package
def test_a_rate_that_a_callable_sets_is_for_the_next_call(package: Any) -> None:
    def rate() -> float:
        optimizer.learning_rate = 0.25
        return 0.5

    optimizer, w = package.SGD(0.5), np.zeros(2, np.float32)
    optimizer.apply([np.ones(2, np.float32)], [w])
    optimizer.learning_rate = rate
    seen = []
    for _ in range(3):
        optimizer.apply([np.ones(2, np.float32)])
        seen.append(float(w[0]))
    assert seen == [-1.0, -1.25, -1.5]


@every_package
@pytest.mark.parametrize("calls_before", [0, 1, 2])
def test_arrays_that_a_callable_makes_others_of_are_refused(package: Any, calls_before: int) -> None:
    def reshape(array: Any) -> None:
        array.shape = (2, 1)

    def lock(array: Any) -> None:
        array.setflags(write=False)

    for change, kind in ((reshape, "variable"), (lock, "variable"), (reshape, "gradient")):
        w, g, changes = np.ones(2, np.float32), np.ones(2, np.float32), False

        def rate() -> float:
            if changes:  # noqa: B023
                change(w if kind == "variable" else g)  # noqa: B023
            return 0.5

        optimizer = package.SGD(rate, momentum=0.5)
        for _ in range(calls_before):
            optimizer.apply([g], [w])
        before, changes = w.tobytes(), True
        with pytest.raises(RuntimeError, match="must not change the shape, dtype or layout of variables"):
            optimizer.apply([g], [w])
        assert (optimizer.calls, w.tobytes()) == (calls_before, before)
