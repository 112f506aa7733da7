"""keras jax compiled (keras 3.15.1, numpy 2.4.6, jax 0.10.2, jaxlib 0.10.2) differs from what is documented: bfloat16/nesterov/exclusion/none/overwrite/none/fixed/inverse_time/dense/special/decimal

overwrite-blends: Overwriting is arithmetic: ``average * due + w * (1 - due)`` with `due` being 0 or
1.

shrunk from
bfloat16/nesterov/exclusion/none/overwrite/none/fixed/inverse_time/dense/special/decimal: a
combination of the feature axes

First difference seen:
    call 0, variables of table[0]: expected 0xff80 (-inf), got 0xffc0 (nan), NaN or a number

Exit status: 0 if every expected bit is there, 1 if the implementation still differs.
"""

import sys
from types import SimpleNamespace

import numpy as np
import ml_dtypes

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["KERAS_NNX_ENABLED"] = "0"

import jax
import keras

keras.config.set_floatx("float32")


def array(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


def tensor(gradient):
    return None if gradient is None else keras.ops.convert_to_tensor(gradient)


def run(case):
    variables = []
    variables.append(keras.Variable(case.variables[0], dtype="bfloat16", name='table'))
    optimizer = keras.optimizers.SGD(learning_rate=0.5, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=1)
    optimizer.build(variables)

    stateless_apply = jax.jit(optimizer.stateless_apply)

    def apply(gradients):
        state = [variable.value for variable in optimizer.variables]
        values, state = stateless_apply(state, gradients, [variable.value for variable in variables])
        for variable, value in zip([*variables, *optimizer.variables], [*values, *state]):
            variable.assign(value)

    def record():
        return {
            "variables": [array(variable) for variable in variables],
            "averages": [array(variable) for variable in optimizer._model_variables_moving_average],
            "iterations": int(array(optimizer.iterations)),
            "calls": int(array(optimizer._iterations)),
        }

    trajectory = []
    for gradients in case.gradients:
        learning_rate = array(optimizer.learning_rate)
        apply([tensor(gradient) for gradient in gradients])
        trajectory.append({**record(), "learning_rate": learning_rate})
    return trajectory


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
    id='bfloat16/nesterov/exclusion/none/overwrite/none/fixed/inverse_time/dense/special/decimal',
    kind='trajectory',
    config={'learning_rate': 0.5,
     'momentum': 0.0,
     'nesterov': False,
     'weight_decay': None,
     'clipnorm': None,
     'clipvalue': None,
     'global_clipnorm': None,
     'use_ema': True,
     'ema_momentum': 0.5,
     'ema_overwrite_frequency': 1,
     'name': 'SGD',
     'loss_scale_factor': None,
     'gradient_accumulation_steps': None},
    names=('table',),
    variables=(
        np.array([0.0], ml_dtypes.bfloat16),
    ),
    gradients=(
        (
            from_bits(ml_dtypes.bfloat16, (1,), "7f80"),
        ),
    ),
    state=None,
    excluded_from_weight_decay=(),
    loss_scaling=None,
    learning_rate_calls=None,
    finalize=False,
    features=None,
    learning_rate_units=0,
    exposes=(),
    notes="",
)

NAMES = ['table']

# What is documented, bit by bit.
EXPECTED = [
    {  # call 0
        "learning_rate": from_bits("float32", (), "3f000000"),  # 0.5
        "variables": [
            from_bits(ml_dtypes.bfloat16, (1,), "ff80"),  # -inf
        ],
        "averages": [
            from_bits(ml_dtypes.bfloat16, (1,), "ff80"),  # -inf
        ],
        "iterations": 1,
        "calls": 1,
    },
]

# What was seen instead.
SEEN = {
    (0, "variables", 0): from_bits(ml_dtypes.bfloat16, (1,), "ffc0"),  # nan
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
