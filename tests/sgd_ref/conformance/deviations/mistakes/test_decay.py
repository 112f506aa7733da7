"""Weight decay of 1/2 at the learning rate 1/2: a quarter of each weight, if it is decayed at all."""

from __future__ import annotations

from typing import Any

import pytest

DECAY = {"weight_decay": 0.5}
MOMENTUM = {"momentum": 0.5, "weight_decay": 0.5}


@pytest.mark.parametrize(
    ("name", "settings", "variable"),
    [
        # The definition: 16 - 4 - 1/2 * 4.
        (None, DECAY, 10.0),
        ("decay-twice", DECAY, 16 - 4.0 - 3 - 2),
        ("decay-without-rate", DECAY, 16 - 8.0 - 2),
        ("decay-after-update", DECAY, (16 - 2.0) * 0.75),
        ("decay-grows-weights", DECAY, 16 + 4.0 - 2),
        ("decay-ignored", DECAY, 16 - 2.0),
        ("decay-of-signs", DECAY, 16 - 0.25 - 2),
        ("decay-multiplies-gradient", DECAY, 16 - 0.5 * 4 * (1 + 0.5 * 16)),
        ("decay-skipped-without-momentum", DECAY, 16 - 2.0),
        ("decay-skipped-without-momentum", MOMENTUM, 10.0),
        ("vectors-not-decayed", DECAY, 16 - 2.0),
        # Without momentum and clipping, coupled decay is the same.
        ("decay-enters-velocity", DECAY, 10.0),
        ("decay-is-clipped", DECAY, 10.0),
        ("decay-is-clipped", DECAY | {"clipvalue": 5.0}, 16 - 0.5 * 5),
        ("decay-enters-velocity", DECAY | {"clipvalue": 2.0}, 16 - 0.5 * (2 + 8)),
    ],
)
def test_one_update(after: Any, name: str | None, settings: dict[str, Any], variable: float) -> None:
    assert after(name, [[16.0]], [[4.0]], **settings).variables == [[variable]]


@pytest.mark.parametrize("name", ["decay-enters-velocity", "decay-is-clipped", "decay-before-unscaling"])
def test_coupled_decay_is_in_the_velocity(after: Any, name: str) -> None:
    assert after(None, [[16.0]], [[4.0]], **MOMENTUM).velocities == [[-2.0]]
    assert after(name, [[16.0]], [[4.0]], **MOMENTUM).velocities == [[-6.0]]


def test_decay_before_unscaling_is_divided_by_the_loss_scale(after: Any) -> None:
    settings = {**DECAY, "loss_scale_factor": 4.0}
    assert after(None, [[16.0]], [[16.0]], **settings).variables == [[10.0]]
    assert after("decay-before-unscaling", [[16.0]], [[16.0]], **settings).variables == [
        [16 - 0.5 * (16 + 8) / 4]
    ]
    assert after("decay-is-clipped", [[16.0]], [[16.0]], **settings).variables == [[10.0]]


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        (None, (0.5, 0.25, 0.125)),
        ("decay-with-first-rate", (0.5, 0.5, 0.5)),
        ("decay-with-previous-rate", (0.5, 0.5, 0.25)),
    ],
)
def test_decay_takes_the_rate_of_its_call(after: Any, name: str | None, rates: tuple[float, ...]) -> None:
    given = iter((0.5, 0.25, 0.125))
    zeros = [[0.0]]
    outcome = after(name, [[1.0]], zeros, zeros, zeros, learning_rate=lambda: next(given), **DECAY)
    expected = 1.0
    for rate in rates:
        expected *= 1 - 0.5 * rate
    assert outcome.variables == [[expected]]


def test_decay_while_accumulating_happens_in_every_call(after: Any) -> None:
    settings = {**DECAY, "gradient_accumulation_steps": 2}
    calls = [[0.0]], [[0.0]], [[0.0]]
    assert after(None, [[16.0]], *calls, **settings).variables == [[12.0]]
    assert after("decay-while-accumulating", [[16.0]], *calls, **settings).variables == [[16 * 0.75**3]]


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        (None, [12.0, 16.0, 16.0]),
        ("exclusion-ignored", [12.0, 12.0, 12.0]),
        ("exclusion-inverted", [16.0, 12.0, 12.0]),
        ("exclusion-by-whole-name", [12.0, 12.0, 16.0]),
        ("exclusion-by-first-name-only", [12.0, 16.0, 12.0]),
    ],
)
def test_excluded_variables(after: Any, name: str | None, variables: list[float]) -> None:
    outcome = after(
        name,
        [[16.0]] * 3,
        [[0.0]] * 3,
        names=["kernel", "a_bias", "scale"],
        excluded=["bias", "scale"],
        **DECAY,
    )
    assert outcome.variables == [[variable] for variable in variables]


def test_nothing_is_inverted_where_nothing_is_excluded(after: Any) -> None:
    assert after("exclusion-inverted", [[16.0]], [[0.0]], **DECAY).variables == [[12.0]]


def test_matrices_are_decayed_and_vectors_not(after: Any) -> None:
    outcome = after("vectors-not-decayed", [[[16.0]], [16.0], 16.0], [[[0.0]], [0.0], 0.0], **DECAY)
    assert outcome.variables == [[[12.0]], [16.0], 16.0]


def test_decay_without_gradient(after: Any) -> None:
    calls = [None, [0.0]]
    assert after(None, [[16.0], [16.0]], calls, **DECAY).variables == [[16.0], [12.0]]
    assert after("decay-without-gradient", [[16.0], [16.0]], calls, **DECAY).variables == [[12.0], [12.0]]


@pytest.mark.parametrize(
    ("name", "decayed"),
    [
        (None, [False, True, False, False]),
        ("exclusion-ignores-case", [False, False, False, False]),
        ("exclusion-at-start-of-name", [True, True, False, True]),
        ("exclusion-at-end-of-name", [False, True, True, False]),
        ("exclusion-by-parts-of-name", [True, True, True, False]),
        ("exclusion-by-all-names", [True, True, True, True]),
    ],
)
def test_names_of_excluded_variables(after: Any, name: str | None, decayed: list[bool]) -> None:
    names = ["a/LayerNorm", "normal", "bias_net", "dense/bias"]
    outcome = after(
        name, [[1.0]] * 4, [[0.0]] * 4, names=names, excluded=["rNorm", "bias", "NORM"], weight_decay=1.0
    )
    assert [w != [1.0] for w in outcome.variables] == decayed
