"""The exact cases: their settings, the dtypes that hold all their numbers, and their purpose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.catalogue.case import LossScaling

Features = Mapping[str, Any]


PIECEWISE = {
    "class_name": "PiecewiseConstantDecay",
    "config": {"boundaries": [2, 5], "values": [0.5, 0.125, 0.25]},
}


LINEAR = {
    "class_name": "PolynomialDecay",
    "config": {"initial_learning_rate": 0.5, "decay_steps": 8, "end_learning_rate": 0.0625, "power": 1.0},
}


STAIRCASE = {
    "class_name": "ExponentialDecay",
    "config": {"initial_learning_rate": 0.5, "decay_steps": 3, "decay_rate": 0.5, "staircase": True},
}


LARGE_SCALE = LossScaling(8.0, 3), {4: math.inf}


SMALL_SCALE = LossScaling(0.5, 2), {1: -math.inf, 3: math.nan, 4: math.inf}


IN_WINDOWS = LossScaling(8.0, 3), {2: math.inf, 6: -math.inf}
"""Settings of dynamic loss scaling, and for some calls a number that is not finite."""


MOMENTUM = {"momentum": 0.5}


NESTEROV = {"momentum": 0.5, "nesterov": True}


SINGLE_AND_WIDER = (FLOAT32, FLOAT64)


ALL = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)


CONFIGS: dict[str, tuple[Features, tuple[np.dtype[Any], ...]]] = {
    "plain": (
        {"exposes": ("scalars-skipped", "first-variable-only", "ascends", "rate-left-out-without-momentum")},
        ALL,
    ),
    "momentum": (
        MOMENTUM
        | {
            "exposes": (
                "zero-elements-skipped",
                "moves-by-old-velocity",
                "nesterov-unasked",
                "velocities-in-bfloat16",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "nesterov": (
        NESTEROV | {"exposes": ("nesterov-ignored", "look-ahead-kept", "look-ahead-before-velocity")},
        SINGLE_AND_WIDER,
    ),
    "decay": (
        {"weight_decay": 0.5}
        | {
            "exposes": (
                "decay-multiplies-gradient",
                "decay-without-rate",
                "decay-after-update",
                "decay-skipped-without-momentum",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "momentum-and-decay": (
        MOMENTUM
        | {"weight_decay": 0.5}
        | {
            "exposes": (
                "decay-enters-velocity",
                "decay-is-clipped",
                "decay-before-unscaling",
                "decay-ignored",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "nesterov-and-decay": (
        NESTEROV
        | {"weight_decay": 0.25, "gradient_accumulation_steps": 2}
        | {"exposes": ("accumulator-keeps-mean", "decay-while-accumulating", "nesterov-with-full-velocity")},
        SINGLE_AND_WIDER,
    ),
    "exclusion": (
        MOMENTUM
        | {"weight_decay": 0.5, "excluded": ("bias", "kern")}
        | {"exposes": ("decay-twice", "exclusion-ignored", "exclusion-by-whole-name", "vectors-not-decayed")},
        SINGLE_AND_WIDER,
    ),
    "clipvalue": (
        MOMENTUM
        | {"clipvalue": 1.0}
        | {"exposes": ("clipvalue-is-norm", "clipvalue-drops-sign", "clips-the-velocity")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "clipnorm": (
        {"clipnorm": 2.0}
        | {
            "exposes": (
                "clips-to-one",
                "clipnorm-by-rows",
                "clipnorm-of-large-elements-only",
                "largest-element-as-norm",
            )
        },
        ALL,
    ),
    "clipnorm-and-momentum": (
        MOMENTUM
        | {"clipnorm": 2.0}
        | {"exposes": ("scales-up-to-clipnorm", "clipnorm-is-global", "clip-adds-epsilon")},
        SINGLE_AND_WIDER,
    ),
    "global-clipnorm": (
        {"global_clipnorm": 4.0}
        | {
            "exposes": (
                "global-clipnorm-by-variable",
                "norm-without-root",
                "global-norm-adds-norms",
                "global-norm-without-first-gradient",
            )
        },
        ALL,
    ),
    "global-clipnorm-and-nesterov": (
        NESTEROV
        | {"global_clipnorm": 4.0}
        | {"exposes": ("limit-squared", "clip-adds-epsilon", "global-norm-is-largest-norm")},
        SINGLE_AND_WIDER,
    ),
    "averages": (
        {"use_ema": True}
        | {"exposes": ("finalize-ignored", "finalize-overwrites-averages", "finalize-exchanges")},
        SINGLE_AND_WIDER,
    ),
    "averages-of-momentum": (
        MOMENTUM
        | {"use_ema": True, "gradient_accumulation_steps": 2}
        | {"exposes": ("averages-on-every-call", "averages-debiased", "first-average-by-calls")},
        SINGLE_AND_WIDER,
    ),
    "overwrite": (
        {"use_ema": True, "ema_overwrite_frequency": 3}
        | {"exposes": ("first-average-computed", "overwrite-one-late", "overwrite-before-average")},
        SINGLE_AND_WIDER,
    ),
    "accumulation": (
        MOMENTUM
        | {"gradient_accumulation_steps": 2}
        | {"exposes": ("updates-times-zero", "last-gradient-dropped", "velocity-decays-while-accumulating")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "accumulation-of-four": (
        NESTEROV
        | {"gradient_accumulation_steps": 4}
        | {"exposes": ("summed-in-place", "accumulator-overwritten", "look-ahead-stored-as-velocity")},
        SINGLE_AND_WIDER,
    ),
    "loss-scale": (
        MOMENTUM
        | {"loss_scale_factor": 256.0}
        | {"exposes": ("unscaled-in-place", "scaled-again", "zero-elements-skipped")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "dynamic-loss-scale": (
        MOMENTUM
        | {"dynamic": LARGE_SCALE}
        | {
            "exposes": (
                "scale-starts-anew",
                "skipped-call-with-zeros",
                "skipped-call-moves-velocities",
                "skipped-call-decays-velocities",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "small-loss-scale": (
        MOMENTUM
        | {"dynamic": SMALL_SCALE}
        | {
            "exposes": (
                "only-nan-tested",
                "only-infinity-tested",
                "non-finite-elements-zeroed",
                "skipped-call-decays-velocities",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "dynamic-loss-scale-in-windows": (
        MOMENTUM
        | {"dynamic": IN_WINDOWS, "gradient_accumulation_steps": 2}
        | {
            "exposes": (
                "growth-one-late",
                "growth-counts-updates",
                "skipped-call-resets-accumulators",
                "unscaled-after-accumulation",
                "tested-in-updates-only",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "dynamic-loss-scale-and-averages": (
        {"dynamic": LARGE_SCALE, "use_ema": True}
        | {
            "exposes": (
                "first-average-computed",
                "unscaled-with-previous-scale",
                "finiteness-not-tested",
                "skipped-call-averages",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "piecewise": (
        MOMENTUM
        | {"learning_rate": PIECEWISE}
        | {"exposes": ("schedule-one-behind", "boundary-excluded", "dampened")},
        SINGLE_AND_WIDER,
    ),
    "piecewise-of-calls": (
        NESTEROV
        | {"learning_rate": PIECEWISE, "gradient_accumulation_steps": 2, "weight_decay": 0.5}
        | {"exposes": ("schedule-counts-updates", "first-gradient-dropped", "decay-with-previous-rate")},
        SINGLE_AND_WIDER,
    ),
    "linear": (
        {"learning_rate": LINEAR}
        | {
            "exposes": (
                "updates-counted-twice",
                "schedule-ends-one-early",
                "polynomial-compounds",
                "power-is-end-rate",
            )
        },
        SINGLE_AND_WIDER,
    ),
    "linear-and-momentum": (
        MOMENTUM
        | {"learning_rate": LINEAR}
        | {"exposes": ("schedule-ends-one-early", "polynomial-compounds", "momentum-scales-gradient")},
        SINGLE_AND_WIDER,
    ),
    "staircase": (
        MOMENTUM
        | {"learning_rate": STAIRCASE}
        | {"exposes": ("staircase-ignored", "natural-exponential", "dampened-after-the-first-update")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "callable": (
        MOMENTUM
        | {"rates": (0.5, 0.125, 0.25, 1.0, 0.0625)}
        | {"exposes": ("rate-frozen", "callable-one-call-late", "velocity-starts-at-gradient")},
        SINGLE_AND_WIDER,
    ),
    "sparse": (
        MOMENTUM
        | {"gradients": "sparse"}
        | {"exposes": ("indices-sorted-alone", "lazy-momentum", "repeated-rows-move-again")},
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "sparse-and-clipvalue": (
        {"gradients": "sparse", "clipvalue": 1.0}
        | {"exposes": ("rows-clipped-one-by-one", "last-duplicate-wins", "duplicates-averaged")},
        ALL,
    ),
    "missing": (
        MOMENTUM
        | {"gradients": "missing", "weight_decay": 0.25, "use_ema": True}
        | {"exposes": ("first-average-computed", "missing-decays-velocity", "averages-debiased-late")},
        (FLOAT64,),
    ),
    "missing-in-windows": (
        MOMENTUM
        | {"gradients": "missing", "gradient_accumulation_steps": 2}
        | {"exposes": ("accumulator-not-reset",)},
        ALL,
    ),
    "resumed": (
        NESTEROV
        | {"use_ema": True, "calls": 5}
        | {
            "exposes": ("averages-lost-on-restore", "look-ahead-stored-as-velocity", "averages-of-velocities")
        },
        SINGLE_AND_WIDER,
    ),
    "resumed-averages": (
        {"use_ema": True, "ema_overwrite_frequency": 3, "calls": 7}
        | {"exposes": ("averages-lost-on-restore", "overwrite-one-late", "averages-in-bfloat16")},
        SINGLE_AND_WIDER,
    ),
    "resumed-with-loss-scale": (
        MOMENTUM
        | {"dynamic": LARGE_SCALE, "calls": 4}
        | {
            "exposes": (
                "scale-lost-on-restore",
                "growth-counter-lost-on-restore",
                "unscaled-with-previous-scale",
                "finiteness-not-tested",
            )
        },
        (FLOAT16, *SINGLE_AND_WIDER),
    ),
    "resumed-in-a-window": (
        MOMENTUM
        | {"gradient_accumulation_steps": 4, "calls": 6}
        | {
            "exposes": (
                "velocities-lost-on-restore",
                "accumulators-lost-on-restore",
                "last-gradient-not-divided",
            )
        },
        ALL,
    ),
    "everything": (
        NESTEROV
        | {
            "weight_decay": 0.25,
            "clipvalue": 1.0,
            "use_ema": True,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 2,
            "loss_scale_factor": 16.0,
            "learning_rate": PIECEWISE,
        }
        | {
            "exposes": (
                "gradients-divided-by-place",
                "overwrite-counts-calls",
                "overwrite-while-accumulating",
                "average-momentum-fed-back",
                "averaged-twice",
                "averages-only-when-overwriting",
                "clipvalue-limits-exchanged",
                "decay-doubled",
                "decay-halved",
                "decay-times-loss-scale",
                "gradients-centralized",
                "mean-divided-twice",
                "momentum-squared",
                "only-averages-move",
                "rate-multiplies-old-velocity",
                "signs-of-gradients",
                "step-dampened",
                "sum-clipped-in-every-call",
                "velocity-debiased",
                "window-inverted",
            )
        },
        (FLOAT64,),
    ),
}
"""For each exact case: the settings that differ from plain ones, and the dtypes that hold all its numbers."""
