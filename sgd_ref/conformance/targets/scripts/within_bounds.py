"""The part of a script that accepts each value that some evaluation of the rule may give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.bounds.violation import Violation

WITHIN_BOUNDS = '''

def compare(trajectory):
    """Print each value that no evaluation of the rule gives; return whether there is one."""
    if len(trajectory) != len(EXPECTED):
        print(f"{len(EXPECTED)} records are expected, got {len(trajectory)}")
        return True
    is_wrong = False
    for call, (expected, allowed, record) in enumerate(zip(EXPECTED, ALLOWED, trajectory)):
        for quantity, wanted in expected.items():
            if not record.get(quantity):
                print(f"call {call}, {quantity}: expected, and not reported any more")
                is_wrong = True
                continue
            arrays = zip(NAMES, wanted, allowed[quantity], record[quantity], strict=True)
            for position, (name, array, distance, got) in enumerate(arrays):
                what = f"call {call}, {quantity} of {name}"
                seen = SEEN.get((call, quantity, position))
                is_wrong |= array_is_wrong(what, array, distance, np.asarray(got), seen)
    return is_wrong


def array_is_wrong(what, expected, distance, got, seen):
    """Print the elements that no evaluation gives; return whether there are any."""
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        print(f"{what}: expected {expected.dtype}{expected.shape}, got {got.dtype}{got.shape}")
        return True
    apart = np.abs(got.astype("float64") - expected.astype("float64"))
    wrong = np.argwhere(~(same_bits(expected, got) | (apart <= distance) | np.isinf(distance)))
    for index in map(tuple, wrong.tolist()):
        as_seen = seen is not None and same_bits(seen, got)[index]
        print(
            f"{what}{list(index)}: expected {shown(expected[index])} up to {distance[index]:.1e}, "
            f"got {shown(got[index])}" + (", as it was seen before" if as_seen else "")
        )
    return len(wrong) > 0


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        if compare(run(CASE)):
            sys.exit("the implementation still differs")
    print("every value is one that the rule may give")
'''


@dataclass(frozen=True)
class Bounds:
    """How far the values of a trajectory may be from the expected ones.

    Attributes
    ----------
    violation : Violation
        The first value that was seen outside of them.
    distances : sequence of dict
        For each record and each of its quantities, the largest distance for each element of each variable.
    """

    violation: Violation
    distances: Sequence[Mapping[str, Sequence[Array]]]


def allowed_text(bounds: Bounds) -> str:
    """Return Python code for the distances.

    Examples
    --------
    >>> import numpy as np
    >>> outside = Violation(0, "variables", "w", (0,), 1.5, 0.5, 0.5)
    >>> print(allowed_text(Bounds(outside, [{"variables": [np.array([1e-8, 0.0])]}])).strip())
    # How far another way of rounding may be from it.
    ALLOWED = [
        {  # call 0
            "variables": [
                np.array([1.1e-08, 0]),
            ],
        },
    ]
    """
    lines = ["", "# How far another way of rounding may be from it.", "ALLOWED = ["]
    for call, record in enumerate(bounds.distances):
        lines.append(f"    {{  # call {call}")
        for quantity, arrays in record.items():
            lines.append(f'        "{quantity}": [')
            lines += [f"            {_array_text(rounded_up(array))}," for array in arrays]
            lines.append("        ],")
        lines.append("    },")
    return "\n".join([*lines, "]", ""])


def rounded_up(distances: Array) -> Array:
    """Return distances with two digits, none of them smaller.

    >>> import numpy as np
    >>> rounded_up(np.array([1.234e-7, 0.0, np.inf]))
    array([1.3e-07, 0.0e+00,     inf])
    """
    found = distances.copy()
    for index, distance in enumerate(found.reshape(-1).tolist()):
        if distance > 0 and math.isfinite(distance):
            unit = 10.0 ** (math.floor(math.log10(distance)) - 1)
            found.reshape(-1)[index] = float(f"{unit * (math.floor(distance / unit) + 1):.1e}")
    return found


def _array_text(array: Array) -> str:
    numbers = ", ".join(
        "np.inf" if math.isinf(number) else f"{number:.2g}" for number in array.reshape(-1).tolist()
    )
    plain = f"np.array([{numbers}])"
    return plain if array.ndim == 1 else f"{plain}.reshape({array.shape!r})"
