"""optax jitted (optax 0.2.8, numpy 2.4.6, jax 0.10.2, jaxlib 0.10.2) differs from what is documented: float16/nesterov/none/global_clipnorm/averages/2/none/cosine/dense/subnormal/decimal

schedule-counts-updates: Under accumulation the schedule is read at the number of updates.

shrunk from float16/nesterov/none/global_clipnorm/averages/2/none/cosine/dense/subnormal/decimal: a
combination of the feature axes

First difference seen:
    call 1, variables of scale[]: expected 0xb800 (-0.5), got 0xb400 (-0.25), 1024 units apart

Exit status: 0 if every expected bit is there, 1 if the implementation still differs.

It needs sgd_ref, which knows how this case is written for the implementation.
"""

import sys
from types import SimpleNamespace

import numpy as np

from sgd_ref.conformance.implementations.optax_worker import prepare
from sgd_ref.gradients import SparseRows as Rows

# The schedule is that of the kit.
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
    id='float16/nesterov/none/global_clipnorm/averages/2/none/cosine/dense/subnormal/decimal',
    kind='trajectory',
    config={'learning_rate': {'class_name': 'CosineDecay',
                       'config': {'initial_learning_rate': 0.5,
                                  'decay_steps': 1,
                                  'alpha': 0.5,
                                  'warmup_target': 1.0,
                                  'warmup_steps': 1}},
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
     'gradient_accumulation_steps': 2},
    names=('scale',),
    variables=(
        np.array(0.0, "float16"),
    ),
    gradients=(
        (
            np.array(0.0, "float16"),
        ),
        (
            np.array(1.0, "float16"),
        ),
    ),
    state=None,
    excluded_from_weight_decay=(),
    loss_scaling=None,
    learning_rate_calls=None,
    finalize=False,
    features=None,
    learning_rate_units=12,
    exposes=(),
    notes="",
)

NAMES = ['scale']

# What is documented, bit by bit.
EXPECTED = [
    {  # call 0
        "variables": [
            from_bits("float16", (), "0000"),  # 0
        ],
        "iterations": 0,
        "calls": 1,
    },
    {  # call 1
        "variables": [
            from_bits("float16", (), "b800"),  # -0.5
        ],
        "iterations": 1,
        "calls": 2,
    },
]

# What was seen instead.
SEEN = {
    (1, "variables", 0): from_bits("float16", (), "b400"),  # -0.25
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
