"""Names that are alike, and dtypes of others; expected values by hand, at a rate of 1/2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16
from sgd_ref.conformance.deviations import DEVIATIONS

LONG = "a_name_of_four_and_twenty"
SHARED, OWN = [[-3.25], [-5.625]], [[-2.5], [-5.0]]
"""What two calls with the gradients 2 and 4 lead to by one velocity, and by one of each variable."""


@pytest.mark.parametrize(
    ("name", "names", "variables"),
    [
        (None, ["Kernel", "kernel"], OWN),
        ("velocity-by-name-in-lower-case", ["Kernel", "kernel"], SHARED),
        ("velocity-by-name-in-lower-case", ["kernel", "bias"], OWN),
        ("velocity-by-start-of-name", [f"{LONG}_1", f"{LONG}_2"], SHARED),
        ("velocity-by-start-of-name", ["kernel_1", "kernel_2"], OWN),
        ("velocity-by-last-part-of-name", ["encoder/kernel", "decoder/kernel"], SHARED),
        ("velocity-by-last-part-of-name", ["encoder/kernel", "encoder/bias"], OWN),
    ],
)
def test_names_that_are_alike(after: Any, name: str | None, names: list[str], variables: list[Any]) -> None:
    outcome = after(name, [[0.0], [0.0]], *[[[2.0], [4.0]]] * 2, names=names, momentum=0.5)
    assert outcome.variables == variables


def updated(name: str, *pairs: tuple[Any, float]) -> list[float]:
    """Return what variables of some dtypes become that begin with 0, by one gradient each."""
    optimizer = DEVIATIONS[name].optimizer(learning_rate=0.5)
    variables = [np.zeros(1, dtype) for dtype, _ in pairs]
    optimizer.apply([np.array([number], dtype) for dtype, number in pairs], variables)
    return [float(variable[0]) for variable in variables]


FINE = 1 + 2.0**-9
"""A number that float16 holds and bfloat16 does not."""


def test_gradients_pass_through_the_dtype_of_the_first_variable() -> None:
    name = "dtype-of-first-variable-for-all"
    assert updated(name, (BFLOAT16, 2.0), (np.float32, FINE)) == [-1.0, -0.5]
    assert updated(name, (np.float32, FINE), (BFLOAT16, 2.0)) == [-FINE / 2, -1.0]
    assert updated(name, (FLOAT16, 2.0), (np.float32, FINE)) == [-1.0, -FINE / 2]


def test_halves_are_read_as_the_first_half() -> None:
    name = "halves-read-as-the-first-half"
    # 1 is 3c00 in float16, which in bfloat16 is 2^-7; and it is 3f80 in bfloat16, 1.875 in float16.
    assert updated(name, (BFLOAT16, 1.0), (FLOAT16, 1.0)) == [-0.5, -(2.0**-8)]
    assert updated(name, (FLOAT16, 1.0), (np.float32, FINE), (BFLOAT16, 1.0)) == [-0.5, -FINE / 2, -0.9375]
    assert updated(name, (FLOAT16, 1.0), (FLOAT16, 1.0)) == [-0.5, -0.5]


def test_velocities_are_restored_through_half(after: Any) -> None:
    def fine(weights: list[Any]) -> None:
        weights[-1][...] = 1 + 2.0**-12

    settings = {"momentum": 0.5, "state": fine}
    right = after(None, [[0.0]], [[2.0]], **settings)
    assert right.velocities == [[-0.5 + 2.0**-13]]
    assert after("velocities-restored-through-half", [[0.0]], [[2.0]], **settings).velocities == [[-0.5]]
