"""Trains with Keras on the backend of ``KERAS_BACKEND``, watched, and prints what is reported, as JSON."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

from sgd_ref import conformance

DIGITS = load_digits()
IMAGES, LABELS = (DIGITS.data[:64] / 16).astype("float32"), DIGITS.target[:64]


class NeverDecays(keras.optimizers.SGD):
    """Its velocity loses nothing."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        velocity = self.momentums[self._get_variable_index(variable)]
        rate = keras.ops.cast(learning_rate, variable.dtype)
        velocity.assign(velocity - keras.ops.cast(gradient, variable.dtype) * rate)
        variable.assign(variable + velocity)


def trained(optimizer: Any, eager: bool = True) -> tuple[Any, bytes]:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((64,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, run_eagerly=eager)
    if optimizer.name == "unwatched":
        model.fit(IMAGES, LABELS, batch_size=16, verbose=0, shuffle=False)
        return None, weights(model)
    try:
        with conformance.watch(optimizer, model) as report:
            model.fit(IMAGES, LABELS, batch_size=16, verbose=0, shuffle=False)
    finally:
        assert "apply" not in vars(optimizer)
    return report, weights(model)


def weights(model: Any) -> bytes:
    return b"".join(np.asarray(array).tobytes() for array in model.get_weights())


def refused() -> str:
    try:
        trained(keras.optimizers.SGD(0.1), eager=False)
    except Exception as error:  # noqa: BLE001 - whatever the backend makes of it
        return str(error)
    return "nothing"


def main() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    right = {
        "learning_rate": schedule,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.01,
        "clipnorm": 0.5,
    }
    window = {"gradient_accumulation_steps": 2, "momentum": 0.5, "global_clipnorm": 0.25}
    reports = [trained(keras.optimizers.SGD(**settings))[0] for settings in (right, window)]
    averaged = trained(keras.optimizers.SGD(**window, use_ema=True))[0]
    wrong = trained(NeverDecays(0.0625, momentum=0.5))[0]
    _, watched = trained(keras.optimizers.SGD(**right))
    _, unwatched = trained(keras.optimizers.SGD(**right, name="unwatched"))
    print(
        json.dumps(
            {
                "backend": keras.backend.backend(),
                "ok": [report.ok for report in reports],
                "steps": [report.steps for report in reports],
                "reports": [str(report) for report in (*reports, wrong)],
                "wrong": [wrong.step, wrong.violation.variable, list(wrong.mistake.names)],
                "averaged": [] if averaged.mistake is None else list(averaged.mistake.names),
                "same": watched == unwatched,
                "refused": refused(),
            }
        )
    )


if __name__ == "__main__":
    main()
