"""Averages in place of the parameters, for a while and for good."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import Parameter

from numba_kernels.torch import SGD


def made(**settings: Any) -> tuple[Any, Any]:
    w = Parameter(torch.tensor([1.0, -2.0]))
    return w, SGD([w], lr=0.5, **{"use_ema": True, "ema_momentum": 0.5, **settings})


def step(w: Any, optimizer: Any) -> None:
    w.grad = torch.ones(2)
    optimizer.step()


def test_the_averages_are_there_within_the_statement_only() -> None:
    w, optimizer = made()
    step(w, optimizer)
    step(w, optimizer)
    address = w.data_ptr()
    # The first average is a copy of 0.5, the second is 0.5 * 0.5 + 0.5 * 0.
    with optimizer.swap_averages():
        assert w.tolist() == [0.25, -2.75]
        assert w.data_ptr() == address
    assert w.tolist() == [0.0, -3.0]
    step(w, optimizer)
    assert w.tolist() == [-0.5, -3.5]
    assert optimizer.state[w]["average"].tolist() == [-0.125, -3.125]


def test_an_error_within_the_statement_brings_the_parameters_back() -> None:
    w, optimizer = made()
    for _ in range(2):
        step(w, optimizer)
    swap = optimizer.swap_averages()
    swap.__enter__()
    w.data.zero_()
    assert not swap.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert w.tolist() == [0.0, -3.0]
    step(w, optimizer)


def test_nothing_else_is_done_within_the_statement() -> None:
    w, optimizer = made()
    step(w, optimizer)
    w.grad = torch.ones(2)
    saved = optimizer.state_dict()
    with optimizer.swap_averages():
        for forbidden in (
            optimizer.step,
            optimizer.finalize,
            optimizer.swap_averages,
            lambda: optimizer.load_state_dict(saved),
            lambda: optimizer.add_param_group({"params": Parameter(torch.ones(1))}),
        ):
            with pytest.raises(RuntimeError, match="must not be called while swap_averages lends"):
                forbidden()
    assert w.tolist() == [0.5, -2.5]
    assert optimizer.param_groups[0]["calls"] == 1


def test_finalize_writes_the_averages_for_good() -> None:
    w, optimizer = made()
    for _ in range(2):
        step(w, optimizer)
    optimizer.finalize()
    assert w.tolist() == [0.25, -2.75]


def test_before_the_first_update_there_is_a_warning() -> None:
    w, optimizer = made(gradient_accumulation_steps=2)
    step(w, optimizer)
    with pytest.warns(UserWarning, match="no averages before its first update"):
        optimizer.finalize()
    with pytest.warns(UserWarning, match="no averages before its first update"), optimizer.swap_averages():
        assert w.tolist() == [1.0, -2.0]


def test_without_averages() -> None:
    w, optimizer = made(use_ema=False)
    step(w, optimizer)
    optimizer.finalize()
    assert w.tolist() == [0.5, -2.5]
    with pytest.raises(RuntimeError, match="use_ema=True"):
        optimizer.swap_averages()
