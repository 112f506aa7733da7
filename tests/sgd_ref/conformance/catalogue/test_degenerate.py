"""Each kind of case that shows nothing is refused, and what comes near to it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SparseRows
from sgd_ref.conformance import Case, LossScaling
from sgd_ref.conformance.catalogue import degenerate
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.degenerate import refuse_degenerate
from sgd_ref.conformance.catalogue.tiers import make_case

PLAIN = make_case(PLAINEST)
ZERO = tuple(np.zeros_like(variable) for variable in PLAIN.variables)
ROWS = SparseRows([0, 1], np.zeros((2, 4), np.float32), (17, 4))


def with_settings(**settings: Any) -> Case:
    return replace(PLAIN, config=PLAIN.config | settings)


DEGENERATE: dict[str, tuple[Case, str]] = {
    "too few calls": (replace(PLAIN, gradients=PLAIN.gradients[:8]), "it has 8 calls, fewer than 9"),
    "small variables": (
        replace(PLAIN, variables=(np.ones(64, np.float32), np.ones((8, 8), np.float32))),
        "no variable has more than 64 elements",
    ),
    "zero gradients": (replace(PLAIN, gradients=(ZERO,) * 9), "every gradient is zero or missing"),
    "missing gradients": (
        replace(PLAIN, gradients=((None, ZERO[1], ROWS, None, None),) * 9),
        "every gradient is zero or missing",
    ),
    "a learning rate of 0": (with_settings(learning_rate=0.0), "a constant learning rate of 0 or 1"),
    "a learning rate of 1": (with_settings(learning_rate=1.0), "a constant learning rate of 0 or 1"),
    "a momentum of 1": (with_settings(momentum=1.0), "a momentum of 1 hides the multiplication"),
    "averages that are the variables": (
        with_settings(use_ema=True, ema_momentum=0.0),
        "an ema_momentum of 0, 1/2 or 1",
    ),
    "averages of equal parts": (
        with_settings(use_ema=True, ema_momentum=0.5),
        "an ema_momentum of 0, 1/2 or 1 hides which of its two factors is which",
    ),
    "averages that never change": (
        with_settings(use_ema=True, ema_momentum=1.0),
        "an ema_momentum of 0, 1/2 or 1",
    ),
    "averages that overwrite always": (
        with_settings(use_ema=True, ema_overwrite_frequency=1),
        "averages that overwrite the variables in every update equal them",
    ),
    "a fixed loss scale of 1": (with_settings(loss_scale_factor=1.0), "a loss scale of 1 hides the division"),
    "a dynamic loss scale of 1": (
        replace(PLAIN, loss_scaling=LossScaling(1.0, 2)),
        "a loss scale of 1 hides the division",
    ),
    "a single window": (
        with_settings(gradient_accumulation_steps=5),
        "9 calls are fewer than two windows of 5",
    ),
}

NEARLY_DEGENERATE: dict[str, Case] = {
    "9 calls": replace(PLAIN, gradients=PLAIN.gradients[:9]),
    "65 elements": replace(PLAIN, variables=(np.ones(65, np.float32),)),
    "one gradient": replace(PLAIN, gradients=(*((ZERO,) * 8), (*ZERO[:4], np.ones(0)), PLAIN.gradients[0])),
    "one row": replace(
        PLAIN, gradients=(*((ZERO,) * 8), (SparseRows([1], np.ones((1, 5), np.float32), (7, 5)), *ZERO[1:]))
    ),
    "rate": with_settings(learning_rate=1.5),
    "momentum": with_settings(momentum=0.0),
    "unused ema_momentum": with_settings(use_ema=False, ema_momentum=0.5, ema_overwrite_frequency=1),
    "windows": with_settings(gradient_accumulation_steps=4),
    "scale": replace(PLAIN, loss_scaling=LossScaling(0.5, 1)),
}


@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_cases_are_refused(kind: str) -> None:
    case, why = DEGENERATE[kind]
    with pytest.raises(ValueError, match=f"^case {case.id} is degenerate: {why}"):
        refuse_degenerate(case)


@pytest.mark.parametrize("kind", NEARLY_DEGENERATE)
def test_nearly_degenerate_cases_are_not(kind: str) -> None:
    refuse_degenerate(NEARLY_DEGENERATE[kind])


def test_make_case_refuses_degenerate_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degenerate, "FEWEST_CALLS", 100)
    with pytest.raises(ValueError, match="is degenerate: it has 9 calls"):
        make_case(PLAINEST)
