"""A target is named by its word and one value of each of its options."""

from __future__ import annotations

import argparse

import pytest

from sgd_ref.command.one_target import add_options, name_of
from sgd_ref.command.options import WrongUsage


def chosen(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    add_options(parser)
    return parser.parse_args(arguments)


def test_options_that_are_left_out_have_their_first_value() -> None:
    assert name_of(chosen("optax")) == "optax eager"
    assert name_of(chosen("keras", "--backend", "jax", "--mode", "compiled")) == "keras jax compiled"


def test_an_option_of_another_target_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match="backend"):
        name_of(chosen("optax", "--backend", "jax"))


def test_all_values_together_are_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        chosen("keras", "--backend", "all")
    assert "invalid choice: 'all'" in capsys.readouterr().err
