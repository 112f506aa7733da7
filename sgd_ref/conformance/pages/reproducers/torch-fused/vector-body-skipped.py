"""torch fused (torch 2.13.0+cpu, numpy 2.4.6) differs from what is documented: named/staircase-ExponentialDecay-3

vector-body-skipped: In float16 and bfloat16 whole vector registers are not updated, only the
elements after the last one.

shrunk from named/staircase-ExponentialDecay-3: The rate stays for `decay_steps` calls.

First difference seen:
    call 0, variables of companion[15]: expected 0xb800 (-0.5), got 0x0000 (0), 14336 units apart

Exit status: 0 if every expected bit is there, 1 if the implementation still differs.
"""

import sys
from types import SimpleNamespace

import numpy as np

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import torch


def tensor(array):
    return torch.from_numpy(np.array(array))


def array(tensor):
    return np.array(tensor.detach().numpy())


def run(case):
    parameters = [torch.nn.Parameter(tensor(value)) for value in case.variables]
    optimizer = torch.optim.SGD(parameters, lr=0.5, fused=True)

    def record():
        state = {"variables": [array(parameter) for parameter in parameters]}
        state |= {"iterations": updates, "calls": calls}
        return state

    trajectory = []
    calls = updates = 0
    for gradients in case.gradients:
        learning_rate = float(optimizer.param_groups[0]["lr"])
        for parameter, gradient in zip(parameters, gradients):
            if gradient is not None:
                parameter.grad = tensor(gradient).to(parameter.dtype)
        optimizer.step()
        optimizer.zero_grad()
        calls += 1
        updates += 1
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
    id='named/staircase-ExponentialDecay-3',
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
     'loss_scale_factor': None,
     'gradient_accumulation_steps': None},
    names=('companion',),
    variables=(
        np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "float16"),
    ),
    gradients=(
        (
            np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], "float16"),
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

NAMES = ['companion']

# What is documented, bit by bit.
EXPECTED = [
    {  # call 0
        "learning_rate": from_bits("float32", (), "3f000000"),  # 0.5
        "variables": [
            from_bits("float16", (16,), "0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 b800"),
        ],
        "iterations": 1,
        "calls": 1,
    },
]

# What was seen instead.
SEEN = {
    (0, "variables", 0): from_bits("float16", (16,), "0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000"),
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
