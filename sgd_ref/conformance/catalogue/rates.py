"""The learning rate of a call of a case, from a number, a schedule or a callable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sgd_ref.schedules import deserialize
from sgd_ref.validation import integer_at_least, reject_value


def rate_of_call(
    config: Mapping[str, Any],
    learning_rate_calls: Sequence[float] | None,
    first_step: int,
    call: int,
    skipped: int = 0,
) -> float:
    """Return the learning rate that a call reads; see `Case.rate`.

    >>> rate_of_call({"learning_rate": 0.1}, None, 0, 3)
    0.10000000149011612
    """
    call = integer_at_least("call", call, 0)
    skipped = integer_at_least("skipped", skipped, 0)
    if skipped > call:
        reject_value("skipped", skipped, f"at most the calls made before, which are {call}")
    if learning_rate_calls is not None:
        if call >= len(learning_rate_calls):
            reject_value("call", call, f"below {len(learning_rate_calls)}, the number of calls of the case")
        return float(np.float32(learning_rate_calls[call]))
    given = config["learning_rate"]
    if isinstance(given, Mapping):
        return float(deserialize(given)(first_step + call - skipped))
    return float(np.float32(given))
