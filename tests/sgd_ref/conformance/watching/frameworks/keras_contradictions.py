"""Trains with Keras' own SGD on the backend of ``KERAS_BACKEND``, and prints what is named, as JSON.

Each training is a small ``fit`` with digits in which Keras contradicts its documentation. The arguments
choose trainings; by default all of the backend run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

from sgd_ref import conformance

BACKEND = keras.backend.backend()
DIGITS = load_digits()


def named(
    dtype: str = "float32",
    images: float = 1 / 16,
    rate: float = 0.0625,
    not_decayed: Sequence[str] = (),
    **settings: Any,
) -> list[str]:
    """Return what is named in a training with a dtype, a factor of the images, and settings."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(dtype)
    layers = [keras.Input((64,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(rate, **settings)
    optimizer.exclude_from_weight_decay(var_names=list(not_decayed))
    model.compile(optimizer=optimizer, loss=loss, run_eagerly=True)
    data = (DIGITS.data[:64] * images).astype(dtype)
    with conformance.watch(optimizer, model) as report:
        model.fit(data, DIGITS.target[:64], batch_size=16, verbose=0, shuffle=False)
    return [] if report.mistake is None else list(report.mistake.names)


EVERYWHERE: dict[str, dict[str, Any]] = {
    "averages-on-every-call": {"use_ema": True, "gradient_accumulation_steps": 2, "momentum": 0.5},
    # No name contains this text, but it is found as a pattern.
    "exclusion-by-pattern": {"weight_decay": 0.01, "not_decayed": ["k.rnel"]},
    # One batch explodes.
    "norm-of-rounded-squares": {"images": 1e21, "clipnorm": 1.0},
}

OF_BACKENDS: dict[str, dict[str, dict[str, Any]]] = {
    "torch": {
        "decay-factor-in-single": {"dtype": "float64", "weight_decay": 0.01},
        "averaging-through-float32": {"dtype": "float64", "use_ema": True},
        "clipping-through-float32": {"dtype": "float64", "clipvalue": 0.01},
    },
    "tensorflow": {
        "momentum-through-float32": {"dtype": "float64", "momentum": 0.9},
        # The scale is infinite in the dtype of the gradients.
        "unscale-in-dtype-of-gradient": {"dtype": "float16", "loss_scale_factor": 2.0**17},
        "subnormals-flushed": {"images": 1e-36, "rate": 0.001, "momentum": 0.5},
    },
    "jax": {
        "unscale-in-dtype-of-gradient": {"dtype": "float16", "loss_scale_factor": 2.0**17},
        "subnormals-flushed": {"images": 1e-36, "rate": 0.001, "momentum": 0.5},
    },
}


def main() -> None:
    trainings = {**EVERYWHERE, **OF_BACKENDS[BACKEND]}
    np.seterr(all="ignore")
    found = {name: named(**trainings[name]) for name in sys.argv[1:] or trainings}
    print(json.dumps({"backend": BACKEND, "found": found}))


if __name__ == "__main__":
    main()
