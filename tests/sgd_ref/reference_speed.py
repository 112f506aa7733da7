"""How many small cases the reference runs in a second; run this file, it prints the answer.

A case is built, called 10 times and finalised: 10 variables of 10 elements, everything on.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

import sgd_ref

REPEATS = 15
CASES = 10
GOAL = 100


def run_case(variables: list[Any], gradients: list[Any]) -> None:
    optimizer = sgd_ref.SGD(
        learning_rate=sgd_ref.schedules.ExponentialDecay(0.1, 10, 0.9),
        momentum=0.9,
        nesterov=True,
        weight_decay=0.01,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=0.9,
        ema_overwrite_frequency=2,
        loss_scale_factor=8.0,
        gradient_accumulation_steps=2,
    )
    optimizer.exclude_from_weight_decay(var_names=["_1"])
    variables = [np.array(variable) for variable in variables]
    optimizer.build(variables)
    for _ in range(10):
        optimizer.apply(gradients)
    optimizer.finalize_variable_values(variables)


def cases_per_second(dtype: str) -> float:
    """Return the median over the repeats, which other work on the machine disturbs least."""
    generator = np.random.default_rng(0)
    variables = [generator.standard_normal(10).astype(dtype) for _ in range(10)]
    gradients = [generator.standard_normal(10).astype(dtype) for _ in range(10)]
    rates = []
    for _ in range(REPEATS):
        start = time.process_time()
        for _ in range(CASES):
            run_case(variables, gradients)
        rates.append(CASES / (time.process_time() - start))
    return statistics.median(rates)


def main() -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        print(f"{dtype}: {cases_per_second(dtype):.0f} cases a second, the goal is {GOAL}")


if __name__ == "__main__":
    main()
