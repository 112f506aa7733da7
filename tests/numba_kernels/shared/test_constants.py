"""What belongs to one call is written whenever it is not what belonged to the last one."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from numba_kernels.shared.constants import Constants
from numba_kernels.shared.slots import FIRST_AVERAGE, LEARNING_RATE, LOSS_SCALE, OVERWRITE
from sgd_ref.base.settings import Settings

PLACES = [LEARNING_RATE, LOSS_SCALE, FIRST_AVERAGE, OVERWRITE]

CALLS: list[tuple[Any, Any, bool, bool]] = [
    (0.0, None, True, False),
    (-0.0, None, True, False),
    (0.1, None, True, False),
    (0.1, 8.0, True, False),
    (0.1, 4.0, True, False),
    (0.1, 4.0, False, False),
    (0.1, 4.0, False, True),
    (0.2, 4.0, False, True),
    (0.2, None, False, True),
]


def written(constants: Constants, call: tuple[Any, Any, bool, bool]) -> list[Any]:
    rate, scale, *others = call
    constants.set_call(np.float32(rate), None if scale is None else np.float32(scale), *others)
    return list(constants.values[PLACES])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_every_change_of_one_thing_is_written(dtype: Any) -> None:
    constants = Constants(Settings.checked(), np.dtype(dtype))
    for before, after in zip([*CALLS, *CALLS[::-1]], [*CALLS[1:], *CALLS[::-1], CALLS[0]], strict=True):
        written(constants, before)
        fresh = Constants(Settings.checked(), np.dtype(dtype))
        found, expected = written(constants, after), written(fresh, after)
        assert np.array(found).tobytes() == np.array(expected).tobytes()


class Interrupted:
    """A number that is never read to its end."""

    def __float__(self) -> float:
        raise KeyboardInterrupt


def test_what_was_written_in_part_is_written_again() -> None:
    constants = Constants(Settings.checked(), np.dtype(np.float32))
    rate, scale = np.float32(0.1), np.float32(8)
    constants.set_call(rate, scale, True, False)
    before = list(constants.values)
    interrupted: Any = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        constants.set_call(np.float32(0.5), interrupted, False, False)
    assert list(constants.values) != before
    constants.set_call(rate, scale, True, False)
    assert list(constants.values) == before


def test_the_same_call_again_is_not_written_again() -> None:
    constants = Constants(Settings.checked(), np.dtype(np.float32))
    rate = np.float32(0.1)
    constants.set_call(rate, 8.0, False, False)
    constants.values[PLACES] = 7.0
    constants.set_call(rate, 8.0, False, False)
    assert constants.values[PLACES].tolist() == [7.0] * 4
