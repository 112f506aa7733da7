"""Updates of Optax are watched by wrapping the transformation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance

jax = pytest.importorskip("jax", reason="the transformations are those of Optax, an extra")
optax = pytest.importorskip("optax", reason="Optax is an extra")

PARAMS = {"kernel": np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4), "bias": np.ones(4, "float32")}


def trained(transformation: Any, steps: int = 6, params: Any = PARAMS, **settings: Any) -> tuple[Any, Any]:
    with conformance.watch(transformation, params, **settings) as report:
        watched = report.optimizer
        params, state = jax.tree.map(jax.numpy.asarray, params), watched.init(params)
        for step in range(steps):
            gradients = jax.tree.map(lambda w, step=step: (w - step) * np.float32(0.3), params)
            updates, state = watched.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
    return report, params


@pytest.mark.parametrize("nesterov", [False, True])
def test_what_optax_does_is_as_defined(nesterov: bool) -> None:
    schedule = optax.exponential_decay(0.1, 2, 0.5)
    settings = {"learning_rate": schedule, "momentum": 0.9, "nesterov": nesterov}
    report, _ = trained(optax.sgd(**settings), **settings)
    assert report.ok, report
    assert report.steps == 6


def test_clipping_is_judged_by_whole_norms_in_a_sample() -> None:
    chain = optax.chain(optax.clip_by_global_norm(0.25), optax.sgd(0.125))
    report, _ = trained(chain, learning_rate=0.125, global_clipnorm=0.25, sample=4)
    assert report.ok, report
    report, _ = trained(optax.sgd(0.125), learning_rate=0.125, global_clipnorm=0.25)
    assert report.step == 0
    assert "clipping-ignored" in report.mistake.names


def test_a_mistake_is_named_with_the_path_of_its_leaf() -> None:
    report, _ = trained(optax.sgd(0.125, momentum=0.5), learning_rate=0.125, momentum=0.5, nesterov=True)
    assert (report.step, report.violation.variable) == (0, "bias")
    assert "nesterov-ignored" in report.mistake.names


def test_numbers_are_the_same_without_watching_and_afterwards_nothing_is_watched() -> None:
    plain = optax.sgd(0.1, momentum=0.9)
    report, watched = trained(plain, learning_rate=0.1, momentum=0.9)
    params, state = jax.tree.map(jax.numpy.asarray, PARAMS), plain.init(PARAMS)
    for step in range(6):
        gradients = jax.tree.map(lambda w, step=step: (w - step) * np.float32(0.3), params)
        updates, state = plain.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    assert all(np.array_equal(params[name], watched[name]) for name in PARAMS)
    report.optimizer.update(gradients, state, params)
    assert report.steps == 6


def test_what_cannot_be_watched_is_refused() -> None:
    with (
        pytest.raises(ValueError, match="learning_rate must be declared"),
        conformance.watch(optax.sgd(0.1), PARAMS),
    ):
        pass
    with conformance.watch(optax.sgd(0.1), PARAMS, learning_rate=0.1) as report:
        state = report.optimizer.init(PARAMS)
        with pytest.raises(ValueError, match="tracers"):
            jax.jit(report.optimizer.update)(PARAMS, state, PARAMS)
        with pytest.raises(ValueError, match="params must be given"):
            report.optimizer.update(PARAMS, state)
