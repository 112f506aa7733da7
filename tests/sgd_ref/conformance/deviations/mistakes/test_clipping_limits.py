"""Limits of clipping: variables of 0 at the learning rate 1/2."""

from __future__ import annotations

from typing import Any


def test_exchanged_limits_leave_the_lower_one(after: Any) -> None:
    outcome = after("clipvalue-limits-exchanged", [[0.0] * 3], [[4.0, -4.0, 0.5]], clipvalue=1.0)
    assert outcome.variables == [[0.5, 0.5, 0.5]]


def test_each_column_is_clipped(after: Any) -> None:
    matrix = [[3.0, 6.0], [4.0, 8.0]]
    outcome = after("clipnorm-by-columns", [[[0.0, 0.0], [0.0, 0.0]]], [matrix], clipnorm=5.0)
    assert outcome.variables == [[[-1.5, -1.5], [-2.0, -2.0]]]
    assert after("clipnorm-by-columns", [[0.0, 0.0]], [[6.0, 8.0]], clipnorm=5.0).variables == [[-1.5, -2.0]]


def test_the_limit_is_added_to_the_norm(after: Any) -> None:
    assert after("limit-added-to-norm", [[0.0, 0.0]], [[3.0, 4.0]], clipnorm=5.0).variables == [[-0.75, -1.0]]


def test_the_norm_of_squared_norms(after: Any) -> None:
    given = ([[0.0], [0.0]], [[4.0], [0.0]])
    assert after(None, *given, global_clipnorm=2.0).variables == [[-1.0], [0.0]]
    outcome = after("global-norm-of-squared-norms", *given, global_clipnorm=2.0)
    assert outcome.variables == [[-0.5 * 4 * 2 / 16], [0.0]]
    assert after("global-norm-of-squared-norms", [[0.0]], [[4.0]], clipnorm=2.0).variables == [[-1.0]]


def test_the_sum_so_far_is_clipped(after: Any) -> None:
    settings = {"gradient_accumulation_steps": 2, "clipvalue": 1.0}
    assert after(None, [[0.0]], [[4.0]], [[-3.0]], **settings).variables == [[-0.25]]
    outcome = after("sum-clipped-in-every-call", [[0.0]], [[4.0]], [[-3.0]], **settings)
    assert outcome.variables == [[0.5]]
    assert after("sum-clipped-in-every-call", [[0.0]], [[4.0]], **settings).accumulators == [[1.0]]
