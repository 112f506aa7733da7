"""fit: it trains real models, adds nothing to the calls of ``apply``, and fails before anything changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import FrozenInstanceError
from fractions import Fraction
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from sklearn.datasets import load_digits

from sgd_ref import SGD, LossScaleOptimizer, fit
from sgd_ref.schedules import CosineDecay
from sgd_ref.training import History, Progress

Array = np.ndarray[Any, np.dtype[Any]]
Batch = tuple[Array, Array]

BATCH = 32
HIDDEN = 24
HELD_OUT = 360


@cache
def digits() -> tuple[list[Batch], Batch]:
    """Batches to train on and the digits held out, in a fixed random order."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(labels))
    images, labels = (images[order] / 16).astype("float32"), labels[order]
    training = [
        (images[start : start + BATCH], labels[start : start + BATCH])
        for start in range(HELD_OUT, len(labels), BATCH)
    ]
    return training, (images[:HELD_OUT], labels[:HELD_OUT])


def initial(dtype: Any) -> list[Array]:
    """The variables of a network with one hidden layer."""
    generator = np.random.default_rng(11)
    return [
        generator.normal(0, 1 / 8, (64, HIDDEN)).astype(dtype),
        np.zeros(HIDDEN, dtype),
        generator.normal(0, 1 / 5, (HIDDEN, 10)).astype(dtype),
        np.zeros(10, dtype),
    ]


def scores(variables: Sequence[Array], images: Array) -> tuple[Array, Array]:
    """The hidden layer and the scores of the ten digits, in float32."""
    weights, bias, output_weights, output_bias = (variable.astype("float32") for variable in variables)
    hidden = np.maximum(images @ weights + bias, 0)
    return hidden, hidden @ output_weights + output_bias


def cross_entropy(
    variables: Sequence[Array], batch: Batch, scale_loss: Callable[[Any], Any]
) -> tuple[np.float32, list[Array]]:
    """The mean cross-entropy, and the gradients of the scaled loss in the dtype of the variables."""
    images, labels = batch
    hidden, logits = scores(variables, images)
    rows = np.arange(len(labels))
    logits = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[rows, labels]).mean()
    by_logits = probabilities.copy()
    by_logits[rows, labels] -= 1
    by_logits *= np.float32(scale_loss(np.float32(1))) / np.float32(len(labels))
    by_hidden = (by_logits @ variables[2].astype("float32").T) * (hidden > 0)
    gradients = [images.T @ by_hidden, by_hidden.sum(0), hidden.T @ by_logits, by_logits.sum(0)]
    with np.errstate(over="ignore"):
        return loss, [g.astype(v.dtype) for g, v in zip(gradients, variables, strict=True)]


def accuracy(variables: Sequence[Array]) -> float:
    images, labels = digits()[1]
    return float((scores(variables, images)[1].argmax(axis=1) == labels).mean())


def bits(arrays: Sequence[Array]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


class CountingSGD(SGD):
    """SGD that counts how often it is finalized."""

    finalized = 0

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        self.finalized += 1
        super().finalize_variable_values(variables)


def dynamic(initial_scale: float, **settings: Any) -> LossScaleOptimizer:
    return LossScaleOptimizer(CountingSGD(**settings), initial_scale, dynamic_growth_steps=50)


EVERYTHING = {
    "learning_rate": CosineDecay(0.1, 200, warmup_target=0.3, warmup_steps=20),
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.001,
    "global_clipnorm": 1.0,
    "use_ema": True,
    "ema_momentum": 0.9,
    "ema_overwrite_frequency": 35,
    "gradient_accumulation_steps": 2,
}

OPTIMIZERS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "plain": ("float32", lambda: CountingSGD(0.5)),
    "momentum in float64": ("float64", lambda: CountingSGD(0.05, momentum=0.9)),
    "averages": ("float32", lambda: CountingSGD(0.3, use_ema=True, ema_momentum=0.95)),
    "everything": ("float32", lambda: CountingSGD(**EVERYTHING)),
    "fixed scale": ("float32", lambda: CountingSGD(0.5, loss_scale_factor=1024.0)),
    "dynamic scale": ("float32", lambda: dynamic(2.0**15, learning_rate=0.5)),
    "dynamic scale in float16": (
        "float16",
        lambda: dynamic(2.0**30, learning_rate=0.1, momentum=0.75, use_ema=True, ema_momentum=0.75),
    ),
    "dynamic scale in bfloat16": (ml_dtypes.bfloat16, lambda: dynamic(2.0**15, learning_rate=0.25)),
}


@pytest.mark.parametrize(("dtype", "make"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_network_learns_to_read_digits(dtype: Any, make: Callable[[], Any]) -> None:
    training, _ = digits()
    epochs = 8
    variables, optimizer = initial(dtype), make()
    history = fit(optimizer, variables, cross_entropy, training, epochs)

    assert accuracy(initial(dtype)) < 0.3
    assert accuracy(variables) >= 0.9
    assert history.epoch_losses[-1] < history.epoch_losses[0] / 2
    assert len(history.losses) == epochs * len(training)
    assert history.epoch_batches == (len(training),) * epochs
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    assert inner.finalized == 1

    expected, by_hand = initial(dtype), make()
    losses = []
    for _ in range(epochs):
        for batch in training:
            loss, gradients = cross_entropy(expected, batch, by_hand.scale_loss)
            by_hand.apply(gradients, expected)
            losses.append(float(loss))
    before = bits(expected)
    by_hand.finalize_variable_values(expected)
    assert bits(variables) == bits(expected)
    assert bits(optimizer.variables) == bits(by_hand.variables)
    assert history.losses == tuple(losses)
    if inner.use_ema:
        assert bits(variables) == bits(optimizer.averages) != before


def test_loss_scaling_in_float16_skips_calls_and_recovers() -> None:
    dtype, make = OPTIMIZERS["dynamic scale in float16"]
    training, _ = digits()
    optimizer, scales = make(), []
    history = fit(
        optimizer,
        initial(dtype),
        cross_entropy,
        training,
        callbacks=[lambda progress: scales.append(progress.optimizer.loss_scale)],
    )
    skipped = len(history.losses) - optimizer.calls
    assert 5 < skipped < len(history.losses) / 2
    assert scales[:5] == [2.0**29, 2.0**28, 2.0**27, 2.0**26, 2.0**25]


def test_a_power_of_two_as_loss_scale_changes_no_bit_of_float32() -> None:
    training, _ = digits()
    plain, scaled, dynamically = initial("float32"), initial("float32"), initial("float32")
    fit(SGD(0.5), plain, cross_entropy, training)
    fit(SGD(0.5, loss_scale_factor=2.0**10), scaled, cross_entropy, training)
    fit(LossScaleOptimizer(SGD(0.5)), dynamically, cross_entropy, training)
    assert bits(scaled) == bits(plain) == bits(dynamically)


def quadratic(variables: Sequence[Array], batch: float, scale_loss: Callable[[Any], Any]) -> Any:
    """The loss sum((w - batch)**2) / 2 of one variable."""
    error = variables[0] - np.float32(batch)
    return (error**2).sum() / 2, [error * np.float32(scale_loss(1.0))]


def weights() -> Array:
    return np.array([1.0, -2.0, 3.0], "float32")


def test_callbacks_learn_where_training_stands() -> None:
    w, optimizer, seen = weights(), SGD(0.5), []
    history = fit(
        optimizer,
        [w],
        quadratic,
        [0.0, 1.0, 2.0],
        epochs=2,
        callbacks=[lambda progress: seen.append((progress, progress.variables[0].copy()))],
    )
    assert [(p.epoch, p.batch) for p, _ in seen] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert tuple(p.loss for p, _ in seen) == history.losses
    assert all(p.optimizer is optimizer and p.variables[0] is w for p, _ in seen)
    assert seen[0][0].loss == 7.0
    assert seen[0][1].tolist() == [0.5, -1.0, 1.5]
    with pytest.raises(FrozenInstanceError):
        seen[0][0].epoch = 3
    with pytest.raises(FrozenInstanceError):
        history.losses = ()  # type: ignore[misc]


def test_every_callback_is_called_in_order_and_may_set_the_learning_rate() -> None:
    order: list[str] = []

    def halve(progress: Progress) -> None:
        order.append("first")
        progress.optimizer.learning_rate /= 2

    w = weights()
    optimizer = SGD(0.5)
    fit(optimizer, [w], quadratic, [0.0, 0.0], callbacks=[halve, lambda _: order.append("second")])
    assert order == ["first", "second"] * 2
    assert optimizer.learning_rate == 0.125
    assert w.tolist() == [0.375, -0.75, 1.125]


def test_epoch_losses_are_means_and_epochs_may_differ_in_length() -> None:
    class Growing:
        """One batch in the first epoch, two in the second, ..."""

        length = 0

        def __iter__(self) -> Iterator[float]:
            self.length += 1
            return iter([0.0] * self.length)

    history = fit(SGD(0.5), [weights()], quadratic, Growing(), epochs=3)
    assert history.losses == tuple(7.0 / 4**call for call in range(6))
    assert history.epoch_batches == (1, 2, 3)
    assert history.epoch_losses == (
        7.0,
        np.mean(history.losses[1:3]),
        np.mean(history.losses[3:]),
    )


def test_whatever_can_be_iterated_serves_as_batches() -> None:
    class BySequenceProtocol:
        def __getitem__(self, index: int) -> float:
            return [0.0, 1.0][index]

    expected = weights()
    fit(SGD(0.5), [expected], quadratic, [0.0, 1.0])
    for batches in (np.array([0.0, 1.0]), BySequenceProtocol(), (b for b in (0.0, 1.0)), {0.0: "", 1.0: ""}):
        w = weights()
        assert len(fit(SGD(0.5), [w], quadratic, batches).losses) == 2
        assert bits([w]) == bits([expected])


def test_a_window_of_accumulation_continues_in_the_next_epoch_and_the_next_fit() -> None:
    w, optimizer = weights(), SGD(0.5, gradient_accumulation_steps=4)
    fit(optimizer, [w], quadratic, [0.0], epochs=3)
    assert bits([w]) == bits([weights()])
    fit(optimizer, [w], quadratic, [0.0])
    assert w.tolist() == [0.5, -1.0, 1.5]


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (2, 2.0),
        (np.float32(1.5), 1.5),
        (np.array(1.5, "float16"), 1.5),
        (ml_dtypes.bfloat16(1.5), 1.5),
        (np.int64(3), 3.0),
        (math.inf, math.inf),
        (-0.0, -0.0),
    ],
)
def test_the_loss_may_be_any_real_number(loss: Any, expected: float) -> None:
    history = fit(SGD(0.5), [weights()], lambda *_: (loss, [weights()]), [0.0])
    assert history.losses == history.epoch_losses == (expected,)
    assert math.copysign(1, history.losses[0]) == math.copysign(1, expected)


def test_losses_that_are_not_finite_are_reported_as_they_are() -> None:
    losses = [math.inf, -math.inf, math.nan, 1.0, 1e308, 1e308]
    history = fit(SGD(0.5), [weights()], lambda _, batch, __: (batch, [weights()]), losses)
    assert [repr(loss) for loss in history.losses] == [repr(loss) for loss in losses]
    assert math.isnan(history.epoch_losses[0])
    history = fit(SGD(0.5), [weights()], lambda _, batch, __: (batch, [weights()]), losses[-2:])
    assert history.epoch_losses == (math.inf,)


def build_with_name(w: Array) -> SGD:
    optimizer = SGD(0.5, momentum=0.5)
    optimizer.build([w], ["kernel"])
    return optimizer


def test_an_optimizer_that_is_built_keeps_its_names_and_its_state() -> None:
    w = weights()
    optimizer = build_with_name(w)
    fit(optimizer, [w], quadratic, [0.0])
    velocity = optimizer.velocities[0].copy()
    fit(optimizer, [w], quadratic, [0.0])
    assert optimizer.variable_names[-1] == "SGD/kernel_momentum"
    assert optimizer.calls == 2
    assert velocity.tolist() == [-0.5, 1.0, -1.5]
    assert w.tolist() == [0.0, 0.0, 0.0]


ARGUMENTS: dict[str, Any] = {"loss_and_gradients": quadratic, "batches": [0.0], "epochs": 2, "callbacks": ()}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"optimizer": "SGD"}, TypeError, "optimizer must be an SGD optimizer or a LossScaleOptimizer"),
        ({"variables": []}, ValueError, "variables must be a list with at least one array"),
        ({"variables": [[1.0]]}, TypeError, r"variables\[0\] must be an ndarray"),
        ({"variables": iter([])}, TypeError, "variables must be a list of ndarrays"),
        ({"loss_and_gradients": None}, TypeError, "loss_and_gradients must be a callable, got None"),
        ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 1.0}, TypeError, "epochs must be an integer of at least 1, got 1.0"),
        ({"epochs": True}, TypeError, "epochs must be an integer of at least 1, got True"),
        ({"batches": 3}, TypeError, "batches must be an iterable, got 3"),
        ({"batches": []}, ValueError, "at least one batch in each epoch, got none in epoch 0"),
        ({"callbacks": print}, TypeError, "callbacks must be a list of callables"),
        ({"callbacks": [print, None]}, TypeError, r"callbacks\[1\] must be a callable, got None"),
    ],
)
def test_arguments_are_checked_before_anything_changes(
    changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    w, optimizer, calls = weights(), SGD(0.5), []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return quadratic(*arguments)

    arguments = {"optimizer": optimizer, "variables": [w], **ARGUMENTS, "loss_and_gradients": counted}
    with pytest.raises(error, match=message):
        fit(**(arguments | changed))
    assert not calls
    assert not optimizer.built
    assert bits([w]) == bits([weights()])


def test_a_generator_serves_one_epoch_and_is_refused_for_more_before_it_is_touched() -> None:
    w, optimizer = weights(), SGD(0.5)
    generator = (batch for batch in [0.0, 1.0])
    with pytest.raises(
        ValueError, match="batches must be iterable 2 times, once for each epoch, and no iter"
    ):
        fit(optimizer, [w], quadratic, generator, epochs=2)
    assert not optimizer.built
    assert bits([w]) == bits([weights()])
    assert list(generator) == [0.0, 1.0]


def test_variables_must_be_those_with_which_the_optimizer_was_built() -> None:
    w = weights()
    optimizer = build_with_name(w)
    with pytest.raises(ValueError, match="that the optimizer was built with"):
        fit(optimizer, [weights()], quadratic, [0.0])
    assert optimizer.calls == 0
    assert bits([w]) == bits([weights()])


AVERAGING = {"learning_rate": 0.25, "momentum": 0.5, "use_ema": True, "ema_momentum": 0.75}


def after_two_calls() -> tuple[Array, SGD]:
    w, optimizer = weights(), SGD(**AVERAGING)
    for _ in range(2):
        optimizer.apply(quadratic([w], 0.0, optimizer.scale_loss)[1], [w])
    return w, optimizer


class Stop(Exception):
    pass


def stop_in_loss(variables: Sequence[Array], batch: Any, scale_loss: Callable[[Any], Any]) -> Any:
    if batch is None:
        raise Stop
    return quadratic(variables, batch, scale_loss)


def stop_in_callback(progress: Progress) -> None:
    if (progress.epoch, progress.batch) == (0, 1):
        raise Stop


def failing_batches() -> Iterator[float]:
    yield 0.0
    yield 0.0
    raise Stop


class OnceOnly:
    """Two batches in the first epoch and none afterwards, without being an iterator."""

    batches: Sequence[float] = (0.0, 0.0)

    def __iter__(self) -> Iterator[float]:
        batches, self.batches = self.batches, ()
        return iter(batches)


def answer_third_with(answer: Any) -> Callable[..., Any]:
    def loss_and_gradients(variables: Sequence[Array], batch: Any, scale_loss: Any) -> Any:
        return answer if batch is None else quadratic(variables, batch, scale_loss)

    return loss_and_gradients


THREE = [0.0, 0.0, None]
GRADIENT = [np.zeros(3, "float32")]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"loss_and_gradients": stop_in_loss, "batches": THREE}, Stop, None),
        ({"callbacks": [stop_in_callback], "batches": [0.0] * 3}, Stop, None),
        ({"batches": failing_batches(), "epochs": 1}, Stop, None),
        ({"batches": OnceOnly()}, ValueError, "at least one batch in each epoch, got none in epoch 1"),
        *(
            ({"loss_and_gradients": answer_third_with(answer), "batches": THREE}, error, message)
            for answer, error, message in [
                (None, TypeError, "what loss_and_gradients returns must be a pair"),
                (1.0, TypeError, "must be a pair of the loss and the gradients, got 1.0"),
                ((1.0, GRADIENT, 1), TypeError, "must be a pair of the loss and the gradients"),
                ("ab", TypeError, "must be a pair of the loss and the gradients, got 'ab'"),
                (
                    ("1", GRADIENT),
                    TypeError,
                    "the loss that loss_and_gradients returns must be a real number",
                ),
                ((True, GRADIENT), TypeError, "must be a real number, got True"),
                ((np.True_, GRADIENT), TypeError, "must be a real number, got np.True_"),
                ((1j, GRADIENT), TypeError, "must be a real number, got 1j"),
                ((np.complex64(1), GRADIENT), TypeError, "must be a real number"),
                (
                    (10**400, GRADIENT),
                    ValueError,
                    r"must be a real number in the range of float64, got 10000",
                ),
                ((Fraction(-(10**400)), GRADIENT), ValueError, "the loss that .* in the range of float64"),
                ((10**5000, GRADIENT), ValueError, "in the range of float64, got <int object"),
                ((np.zeros(1), GRADIENT), TypeError, r"must be a real number, got array\(\[0"),
                ((1.0, np.zeros(3)), TypeError, "gradients must be a list"),
                ((1.0, []), ValueError, "gradients must have one entry for each"),
                ((1.0, [np.zeros(3)]), TypeError, r"gradients\[0\] must have a dtype that float32"),
            ]
        ),
    ],
)
def test_a_failure_leaves_everything_as_the_last_call_left_it(
    changed: dict[str, Any], error: type[Exception], message: str | None
) -> None:
    expected, by_hand = after_two_calls()
    w, optimizer = weights(), SGD(**AVERAGING)
    with pytest.raises(error, match=message):
        fit(**({"optimizer": optimizer, "variables": [w]} | ARGUMENTS | changed))
    assert bits([w]) == bits([expected])
    assert bits(optimizer.variables) == bits(by_hand.variables)


def test_finalizing_before_the_first_update_warns_and_changes_nothing() -> None:
    w = weights()
    optimizer = SGD(0.5, use_ema=True, gradient_accumulation_steps=2)
    with pytest.warns(UserWarning, match="no update was made yet"):
        history = fit(optimizer, [w], quadratic, [0.0])
    assert history == History((7.0,), (7.0,), (1,))
    assert bits([w]) == bits([weights()])
