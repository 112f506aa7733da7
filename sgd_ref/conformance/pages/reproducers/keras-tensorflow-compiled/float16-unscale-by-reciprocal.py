"""keras tensorflow compiled (keras 3.15.1, numpy 2.4.6, tensorflow 2.21.0) differs from what is documented: float16/nesterov/decay/none/none/none/fixed-96/piecewise/missing/ordinary/decimal

float16-unscale-by-reciprocal: Float16 gradients are multiplied by ``1 / loss_scale_factor``,
rounded to float16.

shrunk from float16/nesterov/decay/none/none/none/fixed-96/piecewise/missing/ordinary/decimal: a
combination of the feature axes

First difference seen:
    call 0, variables of table[1]: expected 0xad8b (-0.0866088867), got 0xad8a (-0.0865478516), 1 unit apart

Exit status: 0 if every expected bit is there, 1 if the implementation still differs.
"""

import sys
from types import SimpleNamespace

import numpy as np

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
import keras

keras.config.set_floatx("float32")


def array(tensor):
    return np.array(keras.ops.convert_to_numpy(tensor))


def tensor(gradient):
    return None if gradient is None else keras.ops.convert_to_tensor(gradient)


def run(case):
    variables = []
    variables.append(keras.Variable(case.variables[0], dtype="float16", name='table'))
    optimizer = keras.optimizers.SGD(learning_rate=0.5, loss_scale_factor=96.0)
    optimizer.build(variables)

    @tf.function(reduce_retracing=True, jit_compile=False, autograph=False)
    def apply(gradients):
        optimizer.apply(gradients, variables)

    def record():
        return {
            "variables": [array(variable) for variable in variables],
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
    id='float16/nesterov/decay/none/none/none/fixed-96/piecewise/missing/ordinary/decimal',
    kind='trajectory',
    config={'learning_rate': 0.5,
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
     'loss_scale_factor': 96.0,
     'gradient_accumulation_steps': None},
    names=('table',),
    variables=(
        np.array([0.0, 0.0], "float16"),
    ),
    gradients=(
        (
            np.array([0.0, 16.625], "float16"),
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
            from_bits("float16", (2,), "0000 ad8b"),  # 0, -0.0866088867
        ],
        "iterations": 1,
        "calls": 1,
    },
]

# What was seen instead.
SEEN = {
    (0, "variables", 0): from_bits("float16", (2,), "0000 ad8a"),  # 0, -0.0865478516
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
