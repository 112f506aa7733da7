"""optax jitted (optax 0.2.8, numpy 2.4.6, jax 0.10.2, jaxlib 0.10.2) differs from what is documented: named/count-above-the-integers-of-32-bits

count-saturates: The count of calls stays at 2**31 - 1 once it is there.

shrunk from named/count-above-the-integers-of-32-bits: The count of calls goes past 2**31.

First difference seen:
    call 3, iterations: expected 2147483648 (2.14748365e+09), got 2147483647 (2.14748365e+09), 1 unit apart

Exit status: 0 if every expected bit is there, 1 if the implementation still differs.

It needs sgd_ref, which knows how this case is written for the implementation.
"""

import sys
from types import SimpleNamespace

import numpy as np

from sgd_ref.conformance.implementations.optax_worker import prepare
from sgd_ref.gradients import SparseRows as Rows

# The state is converted by the kit.
_, run_case = prepare("jitted")


def native(gradient):
    if hasattr(gradient, "indices"):
        return Rows(gradient.indices, gradient.values, gradient.shape)
    return gradient


def run(case):
    case.gradients = tuple(tuple(map(native, gradients)) for gradients in case.gradients)
    return run_case(case)


def from_bits(dtype, shape, patterns):
    """Return the array whose elements, in row-major order, have these bit patterns."""
    dtype = np.dtype(dtype)
    unsigned = np.array([int(pattern, 16) for pattern in patterns.split()], f"u{dtype.itemsize}")
    return unsigned.view(dtype).reshape(shape)


def same_bits(first, second):
    """Return where two arrays of one dtype have the same bits; NaN equals NaN."""
    unsigned = f"u{first.itemsize}"
    same = np.ascontiguousarray(first).view(unsigned) == np.ascontiguousarray(second).view(unsigned)
    return same.reshape(first.shape) | (np.isnan(first) & np.isnan(second))


def shown(number):
    """Return the bit pattern of a number, and the number."""
    bits = int(np.asarray(number).reshape(1).view(f"u{number.dtype.itemsize}")[0])
    return f"0x{bits:0{2 * number.dtype.itemsize}x} ({float(number):.9g})"


class Case(SimpleNamespace):
    """Settings, variables, and the gradients of every call."""


CASE = Case(
    id='named/count-above-the-integers-of-32-bits',
    kind='trajectory',
    config={'learning_rate': None,
     'momentum': 0.0,
     'nesterov': False,
     'weight_decay': None,
     'clipnorm': None,
     'clipvalue': None,
     'global_clipnorm': None,
     'use_ema': False,
     'ema_momentum': 0.99,
     'ema_overwrite_frequency': None,
     'name': 'SGD',
     'loss_scale_factor': None,
     'gradient_accumulation_steps': None},
    names=('companion',),
    variables=(
        np.array([0.0], "float32"),
    ),
    gradients=(
        (
            np.array([0.0], "float32"),
        ),
        (
            np.array([0.0], "float32"),
        ),
        (
            np.array([0.0], "float32"),
        ),
        (
            np.array([0.0], "float32"),
        ),
    ),
    state=SimpleNamespace(
        calls=2147483644,
        velocities=(),
        averages=(),
        accumulators=(),
        loss_scale=None,
        growth_counter=None,
    ),
    excluded_from_weight_decay=(),
    loss_scaling=None,
    learning_rate_calls=(0.5, 0.5, 0.5, 0.5),
    finalize=False,
    features=None,
    learning_rate_units=0,
    exposes=(),
    notes="",
)

NAMES = ['companion']

# What is documented, bit by bit.
EXPECTED = [
    {  # call 0
        "learning_rate": from_bits("float32", (), "3f000000"),  # 0.5
        "variables": [
            from_bits("float32", (1,), "00000000"),  # 0
        ],
        "iterations": 2147483645,
        "calls": 2147483645,
    },
    {  # call 1
        "learning_rate": from_bits("float32", (), "3f000000"),  # 0.5
        "variables": [
            from_bits("float32", (1,), "00000000"),  # 0
        ],
        "iterations": 2147483646,
        "calls": 2147483646,
    },
    {  # call 2
        "learning_rate": from_bits("float32", (), "3f000000"),  # 0.5
        "variables": [
            from_bits("float32", (1,), "00000000"),  # 0
        ],
        "iterations": 2147483647,
        "calls": 2147483647,
    },
    {  # call 3
        "learning_rate": from_bits("float32", (), "3f000000"),  # 0.5
        "variables": [
            from_bits("float32", (1,), "00000000"),  # 0
        ],
        "iterations": 2147483648,
        "calls": 2147483648,
    },
]

# What was seen instead.
SEEN = {
}


def compare(trajectory):
    """Print everything that differs from what is expected; return whether anything does."""
    if len(trajectory) != len(EXPECTED):
        print(f"{len(EXPECTED)} records are expected, got {len(trajectory)}")
        return True
    differs = False
    for call, (expected, record) in enumerate(zip(EXPECTED, trajectory)):
        for quantity, wanted in expected.items():
            if record.get(quantity) is None:
                print(f"call {call}, {quantity}: expected, and not reported any more")
                differs = True
            elif isinstance(wanted, list):
                arrays = zip(NAMES, wanted, record[quantity], strict=True)
                for position, (name, array, got) in enumerate(arrays):
                    what = f"call {call}, {quantity} of {name}"
                    seen = SEEN.get((call, quantity, position))
                    differs |= array_differs(what, array, np.asarray(got), seen)
            elif isinstance(wanted, int):
                if record[quantity] != wanted:
                    print(f"call {call}, {quantity}: expected {wanted}, got {record[quantity]}")
                    differs = True
            else:
                got = np.asarray(record[quantity], wanted.dtype)
                seen = SEEN.get((call, quantity, 0))
                differs |= array_differs(f"call {call}, {quantity}", wanted, got, seen)
    return differs


def array_differs(what, expected, got, seen):
    """Print the elements that differ; return whether any does."""
    if (got.dtype, got.shape) != (expected.dtype, expected.shape):
        print(f"{what}: expected {expected.dtype}{expected.shape}, got {got.dtype}{got.shape}")
        return True
    differing = np.argwhere(~same_bits(expected, got))
    for index in map(tuple, differing.tolist()):
        as_seen = seen is not None and same_bits(seen, got)[index]
        print(
            f"{what}{list(index)}: expected {shown(expected[index])}, got {shown(got[index])}"
            + (", as it was seen before" if as_seen else "")
        )
    return len(differing) > 0


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        if compare(run(CASE)):
            sys.exit("the implementation still differs")
    print("every expected bit is there")
