"""The constructor has the settings of ``Settings``, and so has every optimizer."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest

import numba_kernels
import numba_kernels.cuda
import sgd_ref
from sgd_ref.base.configuration import KEYS
from sgd_ref.base.configured import Configured
from sgd_ref.base.fixed_setting import FixedSetting
from sgd_ref.base.settings import SETTINGS, Settings

OWN = {
    numba_kernels.SGD: ("threads", "communicator", "replicated"),
    numba_kernels.cuda.SGD: ("rates_ahead",),
}
"""What kernels take beside the settings."""


def test_the_signature_lists_the_settings() -> None:
    parameters = inspect.signature(sgd_ref.SGD).parameters
    assert tuple(parameters) == KEYS == ("learning_rate", *SETTINGS)
    types = get_type_hints(Configured.__init__)
    for setting in fields(Settings):
        assert parameters[setting.name].default == setting.default
        assert types[setting.name] == get_type_hints(Settings)[setting.name]


def test_each_setting_is_an_attribute() -> None:
    attributes = [name for name, value in vars(Configured).items() if isinstance(value, FixedSetting)]
    assert tuple(attributes) == SETTINGS


@pytest.mark.parametrize("kernels", OWN)
def test_kernels_have_the_same_constructor_and_arguments_of_their_own(kernels: type) -> None:
    parameters = dict(inspect.signature(kernels).parameters)
    for name in OWN[kernels]:
        assert parameters.pop(name).kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters == dict(inspect.signature(sgd_ref.SGD).parameters)


def test_every_argument_of_kernels_arrives() -> None:
    given = {
        "learning_rate": 0.5,
        "momentum": 0.25,
        "nesterov": True,
        "weight_decay": 0.125,
        "clipnorm": 2.0,
        "use_ema": True,
        "ema_momentum": 0.75,
        "ema_overwrite_frequency": 3,
        "name": "mine",
        "loss_scale_factor": 4.0,
        "gradient_accumulation_steps": 5,
    }
    for kernels in OWN:
        config = kernels(**given).get_config()
        assert config == sgd_ref.SGD(**given).get_config()  # type: ignore[arg-type]
        assert {key: config[key] for key in given} == given
