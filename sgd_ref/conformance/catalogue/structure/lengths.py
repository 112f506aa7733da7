"""Structures about the length of a run, for mistakes that begin only after some calls."""

from __future__ import annotations

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64
from sgd_ref.conformance.catalogue.structure.building import Form, Structure

RUN_14 = Structure(
    "calls-14",
    "A run of 14 calls.",
    {"pair": (2,), "one": (1,)},
    calls=14,
    exposes=("one-element-skipped",),
    exposes_with_momentum=("velocity-reset-every-twelve-updates",),
)

RUN_66 = Structure(
    "calls-66",
    "A run of 66 calls.",
    {"pair": (2,)},
    calls=66,
    exposes=("ascends",),
    exposes_with_momentum=("velocity-reset-every-twelve-updates",),
)

RUN_260 = Structure(
    "calls-260",
    "A run of more calls than an integer of 8 bits can count.",
    {"pair": (2,)},
    calls=260,
    exposes=("every-hundredth-update-lost", "count-stays-at-hundred"),
    exposes_with_momentum=("velocity-starts-anew-after-eight-bits",),
)

RUN_1002 = Structure(
    "calls-1002",
    "A run of more than a thousand calls.",
    {"pair": (2,)},
    calls=1002,
    forms=(Form("plain", FLOAT32), Form("momentum", FLOAT32), Form("momentum", FLOAT64)),
    exposes=("updates-end-after-a-thousand", "every-hundredth-update-lost", "count-stays-at-hundred"),
    exposes_with_momentum=("velocity-starts-anew-after-eight-bits",),
)

STRUCTURES = (RUN_14, RUN_66, RUN_260, RUN_1002)
