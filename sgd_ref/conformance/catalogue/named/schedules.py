"""Named cases of learning-rate schedules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.catalogue.named.building import floats, named_case


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, notes, first, t_mul, resumed_at in (
        ("thirteenth", "Restart 13 of the default t_mul = 2 happens, at step 8191.", 1, 2.0, 8187),
        ("third", "With t_mul = 1.5 there is a restart at step 160.", 64, 1.5, 156),
        ("first", "With t_mul = 1.25 there is a restart at step 1024.", 1024, 1.25, 1020),
        ("single-precision", "Steps beyond 2**24 are exact integers.", 1000, 1.0, 2**24 + 215),
        ("coarse-single-precision", "Steps beyond 2**25 are exact integers.", 1000, 1.0, 2**25 + 101),
        ("coarser-single-precision", "Steps beyond 2**26 are exact integers.", 1000, 1.0, 2**26 + 303),
    ):
        yield scheduled(
            f"{name}-restart",
            notes,
            "CosineDecayRestarts",
            {
                "initial_learning_rate": 0.5,
                "first_decay_steps": first,
                "t_mul": t_mul,
                "m_mul": 1.0,
                "alpha": 0.125,
            },
            units=16,
            resumed_at=resumed_at,
            exposes=(
                "calls-lost-on-restore",
                "cosine-never-restarts",
                "rate-in-bfloat16",
                "alpha-is-a-rate",
                "schedule-advanced-twice",
                *(("count-in-float32", "quotient-in-float32") if resumed_at > 2**24 else ()),
            ),
        )
    for boundaries in ([2_147_483_648], [2_500_000_000, 2_600_000_000]):
        yield scheduled(
            f"boundary-at-{boundaries[0]}",
            "Boundaries past 2**31 lie ahead of every step here.",
            "PiecewiseConstantDecay",
            {"boundaries": boundaries, "values": [0.25, 0.5, 0.125][: len(boundaries) + 1]},
            exposes=("boundary-wraps", "tail-skipped", "updated-twice", "gradients-in-float16"),
        )
    yield scheduled(
        "boundary-above-the-integers-of-32-bits",
        "A boundary of 3e9 lies ahead of every step here.",
        "PiecewiseConstantDecay",
        {"boundaries": [3_000_000_000], "values": [0.25, 0.5]},
        exposes=("boundary-wraps", "gradient-in-other-layout", "previous-gradient", "variables-in-bfloat16"),
    )
    yield scheduled(
        "count-above-the-integers-of-32-bits",
        "The count of calls goes past 2**31.",
        "PiecewiseConstantDecay",
        {"boundaries": [100], "values": [0.25, 0.125]},
        resumed_at=2**31 - 4,
        exposes=("count-wraps", "count-saturates", "second-half-skipped"),
    )
    yield scheduled(
        "polynomial-ends-at-its-end",
        "The polynomial ends exactly at end_learning_rate, and is never below it.",
        "PolynomialDecay",
        {"initial_learning_rate": 0.5, "decay_steps": 7, "end_learning_rate": 0.0, "power": 1.0},
        units=8,
        exposes=("polynomial-remainder-fused", "schedule-runs-past-the-end", "first-element-for-all"),
    )
    yield scheduled(
        "polynomial-cycle-at-a-multiple",
        "At a multiple of decay_steps a cyclic polynomial has its end value (contested).",
        "PolynomialDecay",
        {
            "initial_learning_rate": 0.5,
            "decay_steps": 7,
            "end_learning_rate": 0.0625,
            "power": 1.0,
            "cycle": True,
        },
        units=8,
        resumed_at=17,
        exposes=("quotient-by-reciprocal",),
    )
    yield scheduled(
        "integer-rate-of-a-schedule",
        "A schedule whose initial learning rate is given as the integer 1 decays like that of 1.0.",
        "ExponentialDecay",
        {"initial_learning_rate": 1, "decay_steps": 4, "decay_rate": 0.5},
        units=8,
        exposes=("settings-become-integers", "natural-exponential", "first-element-for-all"),
    )
    yield scheduled(
        "integer-rate-of-an-inverse-decay",
        "A schedule whose initial learning rate is given as the integer 1 decays like that of 1.0.",
        "InverseTimeDecay",
        {"initial_learning_rate": 1, "decay_steps": 2, "decay_rate": 0.75},
        units=3,
        exposes=(
            "settings-become-integers",
            "staircase-always",
            "first-element-for-all",
            "inverse-decay-compounds",
            "decay-steps-ignored",
        ),
    )
    yield scheduled(
        "warmup-from-the-integer-zero",
        "The warmup starts from the integer 0, as in an example of Keras' documentation.",
        "CosineDecay",
        {
            "initial_learning_rate": 0,
            "decay_steps": 16,
            "alpha": 0.25,
            "warmup_target": 0.25,
            "warmup_steps": 4,
        },
        units=12,
        exposes=(
            "settings-become-integers",
            "warmup-ignored",
            "warmup-is-part-of-decay",
            "warmup-one-step-longer",
            "alpha-added-to-cosine",
            "cosine-cut-at-alpha",
            "cosine-of-half-the-angle",
        ),
    )


def scheduled(
    name: str,
    notes: str,
    class_name: str,
    schedule: dict[str, Any],
    units: int = 0,
    resumed_at: int | None = None,
    exposes: Sequence[str] = (),
) -> Case:
    """Return a case of plain descent at the rates of a schedule."""
    return named_case(
        name,
        notes,
        floats(1.0, -2.0, 0.5),
        lambda call: floats(0.5, 0.25, -0.125 * (call + 1)),
        learning_rate={"class_name": class_name, "config": schedule},
        units=units,
        exposes=exposes,
        state=None if resumed_at is None else State(calls=resumed_at),
    )
