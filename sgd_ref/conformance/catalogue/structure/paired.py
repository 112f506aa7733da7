"""Structures with an additional feature of the optimizer: a few pairs, in which every feature occurs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.structure import lengths, memory, shapes, variables
from sgd_ref.conformance.catalogue.structure.building import Feature, Form, Structure, made

DECAY = Feature("decay", {"weight_decay": 0.5})
EXCLUSION = Feature("exclusion", {"weight_decay": 0.5}, excluded=("bias", "1"))
CLIPNORM = Feature("clipnorm", {"clipnorm": 8.0})
CLIPVALUE = Feature("clipvalue", {"clipvalue": 6.0})
GLOBAL_CLIPNORM = Feature("global_clipnorm", {"global_clipnorm": 16.0})
AVERAGES = Feature("averages", {"use_ema": True, "ema_momentum": 0.75})
OVERWRITE = Feature("overwrite", {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 2})
BY_TWO = Feature("accumulation-2", {"gradient_accumulation_steps": 2})
BY_THREE = Feature("accumulation-3", {"gradient_accumulation_steps": 3})
FIXED = Feature("fixed", {"loss_scale_factor": 64.0})
DYNAMIC = Feature("dynamic", loss_scaling=LossScaling(16.0, 2))
SPARSE = Feature("sparse", sparse=True)
MIXED = Feature("mixed", dtypes=(FLOAT32, BFLOAT16, FLOAT32, FLOAT16))
MIXED_GLOBAL = Feature("mixed-global_clipnorm", {"global_clipnorm": 16.0}, dtypes=(FLOAT32, BFLOAT16))
CALLABLE = Feature("callable", rates=(0.25, 0.5, 0.125))
EXCLUSION_OF_PARTS = Feature("exclusion", {"weight_decay": 0.5}, excluded=("Norm", "bias"))
LED = Feature("callable", rates=(0.25, 0.5, 0.125), is_led=True)

PLAIN = Form("plain", FLOAT32)
SINGLE = Form("momentum", FLOAT32)
DOUBLE = Form("momentum", FLOAT64)
NESTEROV = Form("nesterov", FLOAT32)
BRAIN = Form("momentum", BFLOAT16)
HALF = Form("momentum", FLOAT16)


EXCLUDED_NAMES = Structure(
    "names-excluded",
    "Names contain the strings to be excluded at their beginning, at their end, within, and in other case.",
    {
        "bias_net/kernel": (3,),
        "normal/kernel": (3,),
        "LayerNorm/gamma": (2,),
        "LayerNorm/bias": (2,),
        "dense/bias": (2,),
        "dense/bias_1": (2,),
        "dense/kernel": (3,),
    },
)


class Pair(NamedTuple):
    """A structure, the features that it is paired with, each in a form, and the purpose of these cases."""

    structure: Structure
    features: tuple[tuple[Feature, Form], ...]
    exposes: tuple[str, ...]


_OF = {
    structure.name: structure
    for group in (variables, shapes, memory, lengths)
    for structure in group.STRUCTURES
}

PAIRS = (
    Pair(
        _OF["equal-shapes"],
        ((DECAY, SINGLE), (CLIPVALUE, SINGLE), (FIXED, HALF)),
        ("velocity-by-shape", "last-gradient-of-each-shape"),
    ),
    Pair(
        _OF["equal-shapes"],
        ((EXCLUSION, SINGLE), (EXCLUSION, DOUBLE)),
        ("exclusion-by-first-part-of-a-name", "velocity-by-shape"),
    ),
    Pair(
        _OF["equal-shapes"],
        ((GLOBAL_CLIPNORM, SINGLE), (DYNAMIC, SINGLE), (SPARSE, SINGLE), (MIXED, SINGLE), (CALLABLE, SINGLE)),
        ("velocity-by-shape", "last-gradient-of-each-shape"),
    ),
    Pair(
        _OF["equal-shapes"],
        ((CLIPNORM, SINGLE), (CLIPNORM, DOUBLE), (CLIPNORM, PLAIN)),
        ("norm-by-shape",),
    ),
    Pair(
        _OF["equal-shapes"],
        ((AVERAGES, SINGLE), (AVERAGES, DOUBLE), (OVERWRITE, SINGLE)),
        ("average-by-shape",),
    ),
    Pair(
        _OF["equal-shapes"],
        ((BY_TWO, SINGLE), (BY_TWO, DOUBLE), (BY_THREE, PLAIN)),
        ("accumulator-by-shape",),
    ),
    Pair(
        _OF["equal-shapes-missing-first"],
        ((EXCLUSION, SINGLE), (EXCLUSION, DOUBLE), (EXCLUSION, PLAIN)),
        ("exclusion-by-place-among-gradients",),
    ),
    Pair(
        _OF["equal-shapes-missing-first"],
        (
            (CLIPNORM, NESTEROV),
            (GLOBAL_CLIPNORM, DOUBLE),
            (AVERAGES, BRAIN),
            (SPARSE, DOUBLE),
            (DYNAMIC, DOUBLE),
        ),
        ("velocity-by-place-among-gradients", "missing-ends-the-loop"),
    ),
    Pair(
        _OF["variables-34"],
        ((CLIPVALUE, PLAIN), (EXCLUSION, PLAIN), (MIXED, PLAIN), (CLIPNORM, PLAIN)),
        ("last-launch-lost",),
    ),
    Pair(
        _OF["axes-three"],
        ((DECAY, DOUBLE), (CLIPNORM, SINGLE), (AVERAGES, NESTEROV), (MIXED, SINGLE), (FIXED, SINGLE)),
        ("three-axes-in-memory-order",),
    ),
    Pair(
        _OF["layout-transposed"],
        ((CLIPNORM, SINGLE), (DECAY, SINGLE), (BY_TWO, SINGLE), (AVERAGES, SINGLE)),
        ("layouts-taken-for-alike",),
    ),
    # The call with an infinity is not the first one.
    Pair(
        replace(_OF["layout-transposed"], calls=4),
        ((DYNAMIC, SINGLE),),
        ("layouts-taken-for-alike",),
    ),
    Pair(
        _OF["layout-strided"],
        ((GLOBAL_CLIPNORM, SINGLE), (FIXED, BRAIN), (MIXED, SINGLE)),
        ("strides-of-gradient-ignored",),
    ),
    Pair(
        _OF["layout-broadcast"],
        ((CLIPNORM, SINGLE), (BY_TWO, SINGLE), (FIXED, SINGLE)),
        ("strides-of-gradient-ignored",),
    ),
    Pair(
        _OF["empty-between"],
        ((GLOBAL_CLIPNORM, SINGLE), (GLOBAL_CLIPNORM, DOUBLE), (GLOBAL_CLIPNORM, PLAIN)),
        ("empty-makes-norm-nan", "empty-ends-the-loop"),
    ),
    Pair(
        _OF["empty-first"],
        ((CLIPNORM, SINGLE), (AVERAGES, SINGLE), (BY_TWO, SINGLE), (DYNAMIC, SINGLE), (DECAY, SINGLE)),
        ("empty-ends-the-loop",),
    ),
    Pair(
        _OF["scalars"],
        ((CLIPNORM, SINGLE), (AVERAGES, SINGLE), (DECAY, SINGLE), (MIXED, SINGLE)),
        ("scalars-skipped",),
    ),
    Pair(
        _OF["one-element"],
        ((CLIPNORM, SINGLE), (CLIPVALUE, BRAIN), (DECAY, HALF), (BY_TWO, SINGLE)),
        ("one-element-skipped",),
    ),
    Pair(
        _OF["calls-66"],
        ((AVERAGES, SINGLE), (AVERAGES, DOUBLE), (AVERAGES, PLAIN)),
        ("average-starts-anew-every-64-updates",),
    ),
    Pair(
        _OF["calls-14"],
        ((DECAY, SINGLE), (BY_THREE, SINGLE), (OVERWRITE, SINGLE), (CALLABLE, SINGLE)),
        ("one-element-skipped",),
    ),
    Pair(_OF["calls-260"], ((CALLABLE, PLAIN),), ("every-hundredth-update-lost",)),
    Pair(
        _OF["calls-66"],
        ((LED, SINGLE), (LED, DOUBLE), (LED, NESTEROV), (LED, BRAIN)),
        ("rate-stays-after-sixteen-calls", "velocity-reset-every-twelve-updates"),
    ),
    Pair(
        _OF["calls-260"],
        ((LED, SINGLE), (LED, DOUBLE)),
        ("rate-stays-after-sixteen-calls", "velocity-starts-anew-after-eight-bits"),
    ),
    Pair(
        _OF["square-matrices"],
        ((CLIPNORM, SINGLE), (DECAY, SINGLE), (AVERAGES, DOUBLE), (BY_TWO, SINGLE), (SPARSE, SINGLE)),
        ("square-velocity-transposed",),
    ),
    Pair(
        _OF["several-missing"],
        ((DECAY, SINGLE), (GLOBAL_CLIPNORM, SINGLE), (AVERAGES, DOUBLE), (EXCLUSION, SINGLE)),
        ("second-missing-counts-as-zeros",),
    ),
    Pair(
        EXCLUDED_NAMES,
        ((EXCLUSION_OF_PARTS, SINGLE), (EXCLUSION_OF_PARTS, DOUBLE), (EXCLUSION_OF_PARTS, PLAIN)),
        (
            "exclusion-ignores-case",
            "exclusion-at-start-of-name",
            "exclusion-at-end-of-name",
            "exclusion-by-parts-of-name",
            "exclusion-by-all-names",
        ),
    ),
    Pair(
        replace(_OF["equal-shapes-missing-first"], calls=6),
        ((BY_THREE, SINGLE), (BY_THREE, DOUBLE), (BY_THREE, PLAIN)),
        ("accumulator-by-place-among-gradients",),
    ),
    Pair(
        _OF["scalars"],
        ((DYNAMIC, SINGLE), (DYNAMIC, DOUBLE)),
        ("scalars-not-tested", "scalars-not-unscaled"),
    ),
    Pair(_OF["resumed-fine"], ((DECAY, SINGLE), (CLIPVALUE, DOUBLE)), ("velocities-restored-through-half",)),
    Pair(_OF["axes-of-one"], ((CLIPNORM, SINGLE), (AVERAGES, SINGLE)), ("axis-of-one-taken-for-broadcast",)),
    Pair(
        _OF["equal-shapes"],
        ((MIXED_GLOBAL, SINGLE), (MIXED_GLOBAL, PLAIN)),
        ("global-norm-of-each-dtype",),
    ),
    Pair(
        replace(_OF["resumed"], shapes=variables.numbered(4, (3,)), calls=4),
        ((AVERAGES, SINGLE), (AVERAGES, DOUBLE), (OVERWRITE, PLAIN)),
        ("averages-start-anew-on-restore",),
    ),
    Pair(
        replace(_OF["resumed"], shapes=variables.numbered(4, (3,)), calls=5),
        ((BY_TWO, SINGLE), (BY_THREE, SINGLE), (BY_TWO, DOUBLE)),
        ("window-starts-anew-on-restore",),
    ),
    Pair(
        replace(_OF["resumed"], shapes=variables.numbered(4, (3,)), calls=4),
        ((DYNAMIC, SINGLE), (EXCLUSION, SINGLE), (CLIPNORM, SINGLE), (MIXED, SINGLE)),
        ("velocities-lost-on-restore",),
    ),
)


def cases() -> Iterator[Case]:
    """Yield the cases of all pairs."""
    for structure, features, exposes in PAIRS:
        for feature, form in features:
            yield made(structure, form, feature, exposes)
