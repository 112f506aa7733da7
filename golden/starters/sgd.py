"""An SGD optimizer for ``sgd-ref conform -- python sgd.py``: replace `step`, say in OFFERS what it can do.

Needs nothing but Python. Every number is held as a Python float, and `rounded` rounds it to a dtype.
"""

from __future__ import annotations

import json
import math
import struct
import sys
from typing import Any

Json = dict[str, Any]
Numbers = list[float]

DTYPES = ["float32", "float64", "float16", "bfloat16", "mixed"]
OFFERS = [*DTYPES, "momentum", "piecewise", "callable", "missing", "sparse"]


# YOURS. It updates the lists w (variable) and v (velocity) by the gradient g of one call. All numbers are
# of `dtype`, but for `rate` and the settings in `config`. Raise an exception to refuse.
def step(w: Numbers, v: Numbers, g: Numbers, rate: float, config: Json, dtype: str) -> None:
    learning_rate, momentum = rounded(dtype, rate), rounded(dtype, config["momentum"])
    for i in range(len(w)):
        descent = rounded(dtype, learning_rate * g[i])
        if config["momentum"] == 0:
            w[i] = rounded(dtype, w[i] - descent)
        else:
            v[i] = rounded(dtype, rounded(dtype, momentum * v[i]) - descent)
            w[i] = rounded(dtype, w[i] + v[i])


# The rest needs no change.

# Digits of a bit pattern, precision, smallest exponent.
FORMATS = {
    "float16": (4, 11, -14),
    "bfloat16": (4, 8, -126),
    "float32": (8, 24, -126),
    "float64": (16, 53, -1022),
}


def rounded(dtype: str, x: float) -> float:
    """Return x rounded to nearest, ties to even."""
    _, precision, lowest = FORMATS[dtype]
    if dtype == "float64" or x == 0 or not math.isfinite(x):
        return x
    unit = 2.0 ** (max(math.frexp(x)[1] - 1, lowest) - precision + 1)
    nearest = round(abs(x) / unit) * unit
    largest = (2 - 2.0 ** (1 - precision)) * 2.0 ** (1 - lowest)
    return math.copysign(nearest if nearest <= largest else math.inf, x)


def from_bits(dtype: str, digits: str) -> float:
    if dtype == "float64":
        return float(struct.unpack(">d", bytes.fromhex(digits))[0])
    width, precision, lowest = FORMATS[dtype]
    pattern, sign = int(digits, 16), 1 << (4 * width - 1)
    magnitude, infinity = pattern % sign, sign - (1 << (precision - 1))
    field, fraction = divmod(magnitude, 1 << (precision - 1))
    if magnitude >= infinity:
        value = math.inf if magnitude == infinity else math.nan
    else:
        integer = fraction + (1 << (precision - 1)) if field else fraction
        value = math.ldexp(integer, max(field, 1) + lowest - precision)
    return -value if pattern >= sign else value


def to_bits(dtype: str, value: float) -> str:
    if dtype == "float64":
        return struct.pack(">d", value).hex()
    width, precision, lowest = FORMATS[dtype]
    sign = 1 << (4 * width - 1)
    infinity = sign - (1 << (precision - 1))
    if not math.isfinite(value):
        pattern = infinity + math.isnan(value)
    else:
        exponent = max(math.frexp(value)[1] - 1, lowest) if value else lowest
        integer = int(math.ldexp(abs(value), precision - 1 - exponent))
        pattern = ((exponent - lowest) << (precision - 1)) + integer
    return f"{pattern + sign * (math.copysign(1, value) < 0):0{width}x}"


def values_of(array: Json) -> Numbers:
    return [from_bits(array["dtype"], word) for word in array["bits"].split()]


def array_of(dtype: str, shape: list[int], values: Numbers) -> Json:
    return {"dtype": dtype, "shape": shape, "bits": " ".join(to_bits(dtype, value) for value in values)}


def dense(gradient: Json, size: int, dtype: str) -> Numbers:
    """Return the elements of a gradient; those of a narrower dtype are numbers of the wider one, too."""
    if "indices" not in gradient:
        return values_of(gradient)
    values, width = values_of(gradient["values"]), size // max(gradient["shape"][0], 1)
    elements, seen = [0.0] * size, set[int]()
    for j, row in enumerate(gradient["indices"]):
        for i in range(width):
            element = values[j * width + i]
            before = elements[row * width + i]
            elements[row * width + i] = rounded(dtype, before + element) if row in seen else element
        seen.add(row)
    return elements


def rate_of(case: Json, call: int, calls: int) -> float:
    """Return the rate of a call: `call` counts from 0 in this case, `calls` from the start of training."""
    if case["learning_rate_calls"] is not None:
        return rounded("float32", values_of(case["learning_rate_calls"])[call])
    given = case["config"]["learning_rate"]
    if isinstance(given, dict):
        boundaries, values = given["config"]["boundaries"], given["config"]["values"]
        given = values[sum(calls > boundary for boundary in boundaries)]
    return rounded("float32", given)


def trajectory_of(case: Json, place: Json) -> list[Json]:
    config, state = case["config"], case["state"] or {}
    arrays = case["variables"]
    variables = [values_of(array) for array in arrays]
    velocities = [values_of(array) for array in state.get("velocities") or []]
    velocities = velocities or [[0.0] * len(values) for values in variables]
    calls, records = state.get("calls", 0), []

    def written(lists: list[Numbers]) -> list[Json]:
        return [array_of(a["dtype"], a["shape"], values) for a, values in zip(arrays, lists, strict=True)]

    def record() -> Json:
        kept = written(velocities) if config["momentum"] else []
        return {"variables": written(variables), "velocities": kept, "iterations": calls, "calls": calls}

    for call, gradients in enumerate(case["gradients"]):
        place["call"] = call
        rate = rate_of(case, call, calls)
        for array, w, v, gradient in zip(arrays, variables, velocities, gradients, strict=True):
            if gradient is not None:
                step(w, v, dense(gradient, len(w), array["dtype"]), rate, config, array["dtype"])
        calls += 1
        records.append({**record(), "learning_rate": array_of("float32", [], [rate])})
    return [*records, record()] if case["finalize"] else records


def answer(line: str) -> Json:
    case, place = json.loads(line), {"call": None}
    try:
        return {"id": case["id"], "trajectory": trajectory_of(case, place)}
    except Exception as error:  # whatever the optimizer raises is its answer
        told = {"type": type(error).__name__, "message": str(error), "call": place["call"]}
        return {"id": case["id"], "error": told}


if __name__ == "__main__":
    handshake = {"protocol": 2, "name": "my-sgd", "version": "1.0", "language": "Python", "offers": OFFERS}
    print(json.dumps(handshake), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)
