"""Narrow cases of counts: large counts, and the first and last calls of windows and of overwriting."""

from __future__ import annotations

from collections.abc import Iterator

from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State
from sgd_ref.conformance.catalogue.named.narrow import narrow_case, numbers

COUNTS = {"31-bits": 2**31, "32-bits": 2**32, "24-bits": 2**24, "48-bits": 2**48}
"""Counts at which counters overflow, or beyond which a float32 does not hold every integer."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, count in COUNTS.items():
        yield narrow_case(
            f"accumulation-past-{name}",
            "Windows of three calls go on where the count of calls is large.",
            {"w": numbers(FLOAT32, 1.0, -2.0)},
            [[numbers(FLOAT32, 1.0, call)] for call in range(7)],
            state=State(calls=count - 2),
            gradient_accumulation_steps=3,
        )
        yield narrow_case(
            f"overwriting-past-{name}",
            "Every third update overwrites where the count of updates is large.",
            {"w": numbers(FLOAT32, 1.0, -2.0)},
            [[numbers(FLOAT32, 1.0, call)] for call in range(5)],
            state=State(calls=count - 2, averages=(numbers(FLOAT32, 0.5, 8.0),)),
            use_ema=True,
            ema_overwrite_frequency=3,
        )
        yield narrow_case(
            f"rate-past-{name}",
            "A schedule is read at the count itself.",
            {"w": numbers(FLOAT32, 0.0, -2.0)},
            [[numbers(FLOAT32, 1.0, call)] for call in range(4)],
            learning_rate={
                "class_name": "PiecewiseConstantDecay",
                "config": {"boundaries": [count - 1, count, count + 1], "values": [0.5, 0.25, 0.125, 0.75]},
            },
            state=State(calls=count - 1),
        )
    for steps in (2, 3, 5):
        yield narrow_case(
            f"windows-of-{steps}-with-everything",
            "Counts of calls and of updates part: averages, overwriting and rates each have theirs.",
            {"w": numbers(FLOAT32, 1.0, -2.0)},
            [[numbers(FLOAT32, 1.0, call)] for call in range(4 * steps + 1)],
            learning_rate={
                "class_name": "PiecewiseConstantDecay",
                "config": {"boundaries": [steps, 2 * steps], "values": [0.5, 0.25, 0.125]},
            },
            use_ema=True,
            ema_overwrite_frequency=2,
            gradient_accumulation_steps=steps,
            finalize=True,
        )
    yield narrow_case(
        "finalized-before-any-update",
        "Without an update there is no average, so that finalisation changes nothing.",
        {"w": numbers(FLOAT32, 1.0, -0.0)},
        [[numbers(FLOAT32, 1.0, 3.0)]],
        use_ema=True,
        gradient_accumulation_steps=2,
        finalize=True,
    )
    for growth in (1, 2, 3):
        infinite = numbers(FLOAT32, float("inf"), 1.0)
        finite = numbers(FLOAT32, 4.0, -8.0)
        yield narrow_case(
            f"growth-in-{growth}",
            "The counter begins anew after it grew, and after a call that was skipped.",
            {"w": numbers(FLOAT32, 1.0, -2.0)},
            [[finite], [finite], [infinite], [finite], [infinite], [infinite], [finite], [finite], [finite]],
            loss_scaling=LossScaling(8.0, growth),
        )
    yield narrow_case(
        "growth-in-2000",
        "The counter is compared as a number, however large.",
        {"w": numbers(FLOAT32, 1.0, -2.0)},
        [[numbers(FLOAT32, 4.0, -8.0)]] * 4,
        state=State(calls=1998, loss_scale=8.0, growth_counter=1998),
        loss_scaling=LossScaling(8.0, 2000),
    )
    yield narrow_case(
        "growth-counter-past-its-end",
        "A run resumes with fewer growth steps than it has counted: the next finite call doubles the scale "
        "(contested).",
        {"w": numbers(FLOAT32, 1.0, -2.0)},
        [[numbers(FLOAT32, 4.0, -8.0)]] * 5,
        state=State(calls=5, loss_scale=8.0, growth_counter=5),
        loss_scaling=LossScaling(8.0, 3),
    )
    yield narrow_case(
        "scale-of-the-smallest-normal",
        "The smallest normal number is a loss scale.",
        {"w": numbers(FLOAT32, 1.0, -2.0)},
        [[numbers(FLOAT32, 3 * 2.0**-126, -(2.0**-125))]] * 4,
        loss_scaling=LossScaling(2.0**-126, 2),
    )
