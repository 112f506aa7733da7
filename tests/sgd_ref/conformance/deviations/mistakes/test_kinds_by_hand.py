"""Mistakes whose formulas are short: each is what a line of NumPy gives, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance import Case, LossScaling
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.trajectories import reference
from sgd_ref.schedules import CosineDecay, CosineDecayRestarts, PolynomialDecay

F32 = np.float32
W = np.array([1.5, -0.75, -0.0], F32)
G = (np.array([0.5, 3.0, 0.0], F32), np.array([-1.25, 0.3, 0.0], F32))
LR, M, WD = F32(0.25), F32(0.9), F32(0.1)


def records(name: str, gradients: tuple[Any, ...] = G, w: Any = W, **settings: Any) -> list[dict[str, Any]]:
    scaling = settings.pop("loss_scaling", None)
    rate = settings.pop("learning_rate", 0.25)
    config = SGD(rate, **settings).get_config()
    case = Case("a", config, ("w",), (w,), tuple((g,) for g in gradients), loss_scaling=scaling)
    return reference.run(case, *compose([name]))


def last(name: str, **given: Any) -> Any:
    return records(name, **given)[-1]["variables"][0]


def same(found: Any, wanted: Any) -> bool:
    return np.asarray(found).tobytes() == np.asarray(wanted, np.asarray(found).dtype).tobytes()


def test_momentum_of_zero_multiplies() -> None:
    infinite = (np.array([np.inf, 3.0, 0.0], F32), np.zeros(3, F32))
    found = last("zero-momentum-multiplied", gradients=infinite)
    assert np.isnan(found[0])
    assert not np.signbit(found[2])
    assert np.isneginf(records("zero-momentum-multiplied", gradients=infinite)[0]["variables"][0][0])


def test_decay_that_is_not_set_multiplies() -> None:
    found = last(
        "unset-decay-multiplied", w=np.array([np.inf, 1.0, -0.0], F32), gradients=(np.zeros(3, F32),)
    )
    assert np.isnan(found[0])
    assert found[1] == 1
    assert not np.signbit(found[2])


def test_decay_is_a_constant() -> None:
    w = W - WD * LR
    assert same(last("decay-is-constant", gradients=G[:1], weight_decay=0.1), w - LR * G[0])


def test_averages_begin_with_the_initial_weights() -> None:
    found = records("averages-from-initial-weights", gradients=G[:1], use_ema=True, ema_momentum=0.9)
    w = W - LR * G[0]
    assert same(found[0]["averages"][0], M * W + (F32(1) - M) * w)


def test_momentum_on_the_gradient_alone() -> None:
    v = np.zeros(3, F32) - M * (LR * G[0])
    w = W + v
    v = v - M * (LR * G[1])
    assert same(last("momentum-on-gradient-alone", momentum=0.9), w + v)


def test_norms_of_parts_and_of_replicas() -> None:
    big = np.array([3.0, 4.0], F32)
    found = last("norm-of-replicas", w=np.zeros(2, F32), gradients=(big,), clipnorm=1.0)
    assert np.allclose(found, -0.25 * big / np.sqrt(50))
    optimizer = compose(["global-norm-is-mean-of-norms"])[0](0.5, global_clipnorm=1.0)
    assert optimizer.norm([big, np.array([1.0], F32)]) == 3


def test_the_norm_of_a_call_in_which_the_scale_doubles_is_half() -> None:
    big = np.array([3.0, 4.0], F32) * F32(8)
    settings: dict[str, Any] = {"w": np.zeros(2, F32), "gradients": (big, big), "clipnorm": 1.0}
    one, two = records("norm-with-next-scale", loss_scaling=LossScaling(8.0, 1), **settings)
    assert same(one["variables"][0], -(LR * (big / F32(8) / F32(2.5))))
    kept, _ = records("norm-with-next-scale", loss_scaling=LossScaling(8.0, 3), **settings)
    assert same(kept["variables"][0], -(LR * (big / F32(8) / F32(5))))
    assert two["loss_scale"] == 32


@pytest.mark.parametrize(
    ("name", "step"), [("schedule-advanced-twice", 2), ("warmup-one-step-longer", 3), ("alpha-is-a-rate", 9)]
)
def test_schedules(name: str, step: int) -> None:
    settings: dict[str, Any] = {"alpha": 0.125, "warmup_target": 0.5, "warmup_steps": 2}
    schedule = CosineDecay(0.25, 6, **settings)
    found = records(name, gradients=(G[0],) * 10, learning_rate=schedule)
    rate = float(found[step]["learning_rate"])
    wanted = {
        "schedule-advanced-twice": float(schedule(4)),
        "warmup-one-step-longer": 0.5,
        "alpha-is-a-rate": 0.125,
    }
    assert rate == wanted[name]
    assert rate != float(schedule(step))


def test_state_is_stored_in_a_narrower_dtype() -> None:
    g = (np.array([1 / 3]),)
    found = records("state-in-float32", w=np.ones(1), gradients=g, momentum=0.5)[0]["velocities"][0]
    assert found == np.float32(-0.25 / 3)
    found = records("state-in-float16", w=np.ones(1), gradients=g, momentum=0.5)[0]["velocities"][0]
    assert found == np.float16(-0.25 / 3)


def test_gradients_are_unscaled_unasked() -> None:
    moved = W - last("unscaled-unasked", gradients=(G[0],))
    assert 0 < abs(moved[1]) < abs(float(LR * G[0][1])) / 100
    assert "https://" in DEVIATIONS["unscaled-unasked"].address


def test_decay_stops_at_zero() -> None:
    flat = (np.zeros(3, F32),)
    assert same(last("decay-stops-at-zero", gradients=flat, weight_decay=8.0), [0.0, -0.0, -0.0])
    assert same(last("decay-stops-at-zero", gradients=flat, weight_decay=2.0)[:2], W[:2] / 2)


def test_negative_decay_is_ignored() -> None:
    given: dict[str, Any] = {"w": W[:2], "gradients": (np.zeros(2, F32),)}
    assert same(last("negative-decay-ignored", **given, weight_decay=-2.0), W[:2])
    assert same(last("negative-decay-ignored", **given, weight_decay=2.0, learning_rate=-0.25), W[:2])
    assert same(last("negative-decay-ignored", **given, weight_decay=2.0), W[:2] / 2)


def test_averages_of_zeros_start_anew() -> None:
    w, still = np.zeros(3, F32), np.zeros(3, F32)
    found = records(
        "zero-average-starts-anew", gradients=(still, G[0], G[1]), w=w, use_ema=True, ema_momentum=0.75
    )
    assert same(found[1]["averages"][0], found[1]["variables"][0])
    assert not same(found[2]["averages"][0], found[2]["variables"][0])


def test_nan_is_clipped_to_the_limit() -> None:
    given = (np.array([np.nan, 3.0, -3.0], F32),)
    found = last("nan-clipped-to-the-limit", gradients=given, w=np.zeros(3, F32), clipvalue=2.0)
    assert same(found, [-0.5, -0.5, 0.5])


@pytest.mark.parametrize("setting", ["clipnorm", "global_clipnorm"])
def test_a_norm_of_zero_makes_nan(setting: str) -> None:
    settings: dict[str, Any] = {setting: 1.0}
    assert np.isnan(last("zero-norm-makes-nan", gradients=(np.zeros(3, F32),), **settings)).all()
    assert np.isfinite(last("zero-norm-makes-nan", gradients=G[:1], **settings)).all()


def test_scales_below_one_are_ignored() -> None:
    assert same(last("scale-below-one-ignored", gradients=G[:1], loss_scale_factor=0.5), W - LR * G[0])
    assert same(last("scale-below-one-ignored", gradients=G[:1], loss_scale_factor=2.0), W - LR * (G[0] / 2))


def test_scalars_are_not_unscaled() -> None:
    for shape, moved in (((), -1.0), ((1,), 0.5)):
        w, g = np.ones(shape, F32), (np.full(shape, 8.0, F32),)
        assert last("scalars-not-unscaled", gradients=g, w=w, loss_scale_factor=4.0) == moved


def test_settings_of_zero_take_defaults() -> None:
    for schedule in (
        PolynomialDecay(1.0, 2, 0.0, power=0.0),
        CosineDecayRestarts(1.0, 1, t_mul=1.0, m_mul=0.0),
        PolynomialDecay(1.0, 2, 0.0, power=1.0),
    ):
        rates = [
            float(record["learning_rate"])
            for record in records("zero-settings-take-defaults", gradients=(*G, G[0]), learning_rate=schedule)
        ]
        given = schedule.get_config()
        defaults = {"end_learning_rate": 0.0001, "power": 1.0, "m_mul": 1.0}
        wanted = type(schedule).from_config({k: v or defaults.get(k, v) for k, v in given.items()})
        assert rates == [float(wanted(step)) for step in range(3)]
        assert rates != [float(schedule(step)) for step in range(3)]


def test_counts_of_float32_stand_still() -> None:
    optimizer = compose(["count-in-float32"])[0](0.5)
    w = np.zeros(1, F32)
    optimizer.build([w])
    state = optimizer.get_weights()
    state[0] = np.array(2**24 - 1, np.int64)
    optimizer.set_weights(state)
    for calls in (2**24, 2**24):
        optimizer.apply([np.ones(1, F32)])
        assert optimizer.calls == calls
