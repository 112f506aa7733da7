"""Trains with Keras on the backend of ``KERAS_BACKEND``, and gives the recorded gradients to the reference.

Prints, as JSON, the names of the arrays whose bits differ, for each training.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

import sgd_ref
import sgd_ref.conformance
from numba_kernels.keras import SGD
from sgd_ref.arithmetic.formats import BFLOAT16

BACKEND = keras.backend.backend()
DIGITS = load_digits()
IMAGES, LABELS = (DIGITS.data / 16).astype("float32"), DIGITS.target
SCHEDULES = keras.optimizers.schedules
EVERYTHING = {
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-3,
    "global_clipnorm": 0.5,
    "use_ema": True,
    "ema_momentum": 0.9,
    "ema_overwrite_frequency": 7,
    "loss_scale_factor": 1000.0,
    "gradient_accumulation_steps": 3,
}


class Tap:
    """Records the gradients that an optimizer gets, when it gets them."""

    def __init__(self, optimizer: Any) -> None:
        self.calls: list[list[Any]] = []
        name = "stateless_apply" if BACKEND == "jax" else "apply"
        self._taken = getattr(optimizer, name)
        # Keras looks at what is set as an attribute.
        object.__setattr__(optimizer, name, self._stateless if BACKEND == "jax" else self._apply)

    def _apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        grads = list(grads)
        if BACKEND == "torch":
            self._record(*[gradient.numpy() for gradient in grads])
        else:
            import tensorflow as tf  # noqa: PLC0415

            dense = [tf.convert_to_tensor(gradient) for gradient in grads]
            tf.numpy_function(self._record, dense, [])
        return self._taken(grads, trainable_variables)

    def _stateless(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        from jax.experimental import io_callback  # noqa: PLC0415

        io_callback(self._record, None, *grads, ordered=True)
        return self._taken(optimizer_variables, grads, trainable_variables)

    def _record(self, *gradients: Any) -> None:
        self.calls.append([np.array(gradient) for gradient in gradients])


def network(classes: int = 10) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same"),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(classes),
        ]
    )


def compiled(model: Any, optimizer: Any, **options: Any) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], **options)
    return model


def fitted(model: Any, batches: int, epochs: int = 1, callbacks: Any = ()) -> None:
    images = IMAGES.reshape(-1, 8, 8, 1)[: 50 * batches]
    model.fit(
        images, LABELS[: 50 * batches], batch_size=50, epochs=epochs, verbose=0, callbacks=list(callbacks)
    )


def array(variable: Any) -> Any:
    found = np.array(keras.ops.convert_to_numpy(variable))
    # NumPy has no bfloat16, and some backends give float32 for it.
    return found.astype(BFLOAT16) if variable.dtype == "bfloat16" else found


class Reference:
    """The reference beside an optimizer of Keras."""

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.variables = [array(variable) for variable in model.trainable_variables]
        self.optimizer = optimizer
        optimizer.build(self.variables, [variable.path for variable in model.trainable_variables])

    def feed(self, calls: list[list[Any]]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for gradients in calls:
                self.optimizer.apply(gradients)
        calls.clear()

    def finish(self) -> None:
        self.optimizer.finalize_variable_values(self.variables)

    def differences(self, model: Any, optimizer: Any) -> list[str]:
        """Return the names of what differs in bits from an optimizer of Keras."""
        own = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        pairs = [
            *zip(model.trainable_variables, self.variables, strict=True),
            *zip(optimizer.momentums, own.velocities, strict=True),
            *zip(getattr(optimizer, "_model_variables_moving_average", []), own.averages, strict=True),
            *zip(getattr(optimizer, "_accumulated_gradients", []), own.accumulators, strict=True),
        ]
        names = [v.path for v, expected in pairs if array(v).tobytes() != np.asarray(expected).tobytes()]
        if int(keras.ops.convert_to_numpy(optimizer._iterations)) != own.calls:
            names.append("calls")
        return names


def everything() -> list[str]:
    """Train twice with all features on, save in the midst of a window, load, and go on."""
    schedule = SCHEDULES.CosineDecay(0.2, 100, warmup_target=0.4, warmup_steps=10)
    optimizer = SGD(schedule, **EVERYTHING)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = compiled(network(), optimizer)
    tap = Tap(optimizer)
    rate = sgd_ref.schedules.CosineDecay(0.2, 100, warmup_target=0.4, warmup_steps=10)
    own = sgd_ref.SGD(rate, **EVERYTHING)
    own.exclude_from_weight_decay(var_names=["bias"])
    reference = Reference(model, own)
    differing = []
    for epochs in (2, 1):
        fitted(model, 12, epochs)
        reference.feed(tap.calls)
        reference.finish()
        differing += reference.differences(model, optimizer)
    _, accuracy = model.evaluate(IMAGES.reshape(-1, 8, 8, 1)[1500:], LABELS[1500:], verbose=0)
    differing += [] if accuracy > 0.3 else [f"an accuracy of {accuracy}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        fitted(model, 1)
        model.save(path)
        loaded = keras.models.load_model(path)
    reference.feed(tap.calls)
    reference.finish()
    assert type(loaded.optimizer) is SGD
    # Keras saves no exclusion.
    loaded.optimizer.weight_decay = None
    config = {**own.get_config(), "weight_decay": None}
    # The paths of the loaded variables are shorter.
    state = list(own.get_weights())
    own = sgd_ref.SGD.from_config(config)
    reference = Reference(loaded, own)
    own.set_weights(state)
    compiled_again = Tap(loaded.optimizer)
    fitted(loaded, 4)
    reference.feed(compiled_again.calls)
    reference.finish()
    return differing + reference.differences(loaded, loaded.optimizer)


def callbacks() -> list[str]:
    """Rates that callbacks set."""
    rates = [0.3, 0.1, 0.7]
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch])
    optimizer = SGD(0.5, momentum=0.5, clipnorm=0.25)
    model = compiled(network(), optimizer)
    tap, reference = Tap(optimizer), Reference(model, sgd_ref.SGD(0.5, momentum=0.5, clipnorm=0.25))
    fitted(model, 5, 3, [scheduler])
    for rate, start in zip(rates, (0, 5, 10), strict=True):
        reference.optimizer.learning_rate = rate
        reference.feed(tap.calls[start : start + 5])
    differing = reference.differences(model, optimizer)
    tap.calls.clear()
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=0, min_delta=100.0)
    fitted(model, 5, 2, [plateau])
    assert len(tap.calls) == 10
    reference.feed(tap.calls[:5])
    # The first epoch sets the best loss, and the second is no better.
    reference.feed(tap.calls[5:])
    differing += reference.differences(model, optimizer)
    reduced = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    differing += [] if reduced == np.float32(0.7) / 2 else [f"a rate of {reduced}"]
    optimizer.weight_decay = 0.01
    reference = Reference(model, sgd_ref.SGD.from_config(optimizer.get_config()))
    reference.optimizer.set_weights([array(variable) for variable in optimizer.variables])
    tap.calls.clear()
    fitted(model, 2)
    reference.feed(tap.calls)
    return differing + reference.differences(model, optimizer)


def mixed() -> list[str]:
    """Train in mixed precision under a LossScaleOptimizer, whose first scale is too high."""
    keras.config.set_dtype_policy("mixed_float16")
    settings = {"momentum": 0.9, "global_clipnorm": 0.5, "use_ema": True, "gradient_accumulation_steps": 2}
    optimizer = SGD(0.1, **settings)
    outer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**40, dynamic_growth_steps=10)
    model = compiled(network(), outer)
    keras.config.set_dtype_policy("float32")
    tap = Tap(outer)
    own = sgd_ref.LossScaleOptimizer(sgd_ref.SGD(0.1, **settings), 2.0**40, 10)
    reference = Reference(model, own)
    fitted(model, 20, 3)
    reference.feed(tap.calls)
    reference.finish()
    scale = float(keras.ops.convert_to_numpy(outer.dynamic_scale))
    differing = [] if scale == float(own.loss_scale) < 2.0**40 else [f"a scale of {scale}"]
    return differing + reference.differences(model, optimizer)


def embedding() -> list[str]:
    """Train an embedding, whose gradient TensorFlow gives by rows."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((64,), dtype="int32"), layers.Embedding(17, 4), layers.Flatten(), layers.Dense(10)]
    )
    differing = []
    for settings in ({"loss_scale_factor": 8.0}, {"momentum": 0.5, "clipnorm": 0.1}):
        optimizer = SGD(0.5, **settings)
        compiled(model, optimizer)
        tap, reference = Tap(optimizer), Reference(model, sgd_ref.SGD(0.5, **settings))
        model.fit(DIGITS.data[:200].astype("int32"), LABELS[:200], batch_size=50, verbose=0)
        reference.feed(tap.calls)
        differing += reference.differences(model, optimizer)
    return differing


def own_callable() -> list[str]:
    """A callable is asked once in each step; the step runs eagerly, and compiled."""
    differing = []
    for eager in (True, False):
        asked = iter(range(1, 100))
        settings = {"momentum": 0.5, "clipvalue": 0.01, "loss_scale_factor": 3.0}
        optimizer = SGD(lambda asked=asked: 1 / next(asked), **settings)
        model = compiled(network(), optimizer, run_eagerly=eager)
        tap = Tap(optimizer)
        again = iter(range(1, 100))
        reference = Reference(model, sgd_ref.SGD(lambda again=again: 1 / next(again), **settings))
        fitted(model, 4)
        reference.feed(tap.calls)
        differing += reference.differences(model, optimizer)
    return differing


def watched() -> list[str]:
    """The recorder of the kit judges a training, and one whose averages Keras' own optimizer makes."""
    settings = {"momentum": 0.5, "use_ema": True, "gradient_accumulation_steps": 2}
    found = []
    for kind in (SGD, keras.optimizers.SGD):
        optimizer = kind(0.0625, **settings)
        model = compiled(network(), optimizer, run_eagerly=True)
        with sgd_ref.conformance.watch(optimizer, model) as report:
            fitted(model, 4)
        found.append(report.ok)
    return [] if found == [True, False] else [f"reports {found}"]


def by_xla() -> list[str]:
    """XLA compiles the step on JAX; TensorFlow refuses that in words, and PyTorch has no XLA here."""
    if BACKEND == "torch":
        return []
    optimizer = SGD(0.1, momentum=0.5)
    model = compiled(network(), optimizer, jit_compile=True)
    reference = Reference(model, sgd_ref.SGD(0.1, momentum=0.5))
    tap = Tap(optimizer) if BACKEND == "jax" else None
    try:
        fitted(model, 2)
    except RuntimeError as error:
        return [] if BACKEND == "tensorflow" and "jit_compile=False" in str(error) else [str(error)]
    if tap is None:
        return ["nothing was refused"]
    reference.feed(tap.calls)
    return reference.differences(model, optimizer)


def kept() -> list[str]:
    """A tensor of TensorFlow that was read from a variable keeps its values in later steps."""
    if BACKEND != "tensorflow":
        return []
    import tensorflow as tf  # noqa: PLC0415

    w, optimizer = keras.Variable(np.zeros(64, "float32")), SGD(1.0)
    optimizer.build([w])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [w]))
    step(tf.ones(64))
    read = w.value.read_value()
    step(tf.ones(64))
    return [] if (float(read[0]), float(w.value[0])) == (-1.0, -2.0) else [f"reads {read[0]}"]


TRAININGS = {"everything": everything, "callbacks": callbacks, "mixed": mixed, "embedding": embedding}
TRAININGS |= {"callable": own_callable, "watched": watched, "by_xla": by_xla, "kept": kept}


def main() -> None:
    found = {name: TRAININGS[name]() for name in sys.argv[1:] or TRAININGS}
    print(json.dumps({"backend": BACKEND, "differing": found}))


if __name__ == "__main__":
    main()
