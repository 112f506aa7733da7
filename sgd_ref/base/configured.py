"""The constructor of an optimizer, and its conversion to a config and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from sgd_ref.base import configuration
from sgd_ref.base import learning_rate as rates
from sgd_ref.base.declared import Declared
from sgd_ref.base.exclusive import Running
from sgd_ref.base.fixed_setting import FixedSetting
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.base.losses import Losses
from sgd_ref.base.settings import SETTINGS, Settings
from sgd_ref.schedules import LearningRateSchedule


class Configured(Declared):
    """The settings of SGD on an optimizer: a constructor that checks them, and attributes that cannot be set.

    The signature is written out for readers, type checkers and editors. It lists the settings of
    ``Settings``, which checks them.

    Attributes
    ----------
    settings : Settings
        All settings but the learning rate.
    rate_source : float32, schedule or callable
        The learning rate as it was given; a number is rounded to float32.
    """

    settings: Settings
    rate_source: np.float32 | LearningRateSchedule | Callable[[], Any]

    momentum = FixedSetting[float]()
    nesterov = FixedSetting[bool]()
    weight_decay = FixedSetting[float | None]()
    clipnorm = FixedSetting[float | None]()
    clipvalue = FixedSetting[float | None]()
    global_clipnorm = FixedSetting[float | None]()
    use_ema = FixedSetting[bool]()
    ema_momentum = FixedSetting[float]()
    ema_overwrite_frequency = FixedSetting[int | None]()
    name = FixedSetting[str]()
    loss_scale_factor = FixedSetting[float | None]()
    gradient_accumulation_steps = FixedSetting[int | None]()

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        name: str = "SGD",
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
    ) -> None:
        arguments = locals()
        self._running = Running()
        self._losses = Losses()
        self.rate_source = rates.checked(learning_rate, self._losses)
        self.settings = Settings.checked(**{name: arguments[name] for name in SETTINGS})

    def get_config(self) -> dict[str, Any]:
        """Return the settings with the keys of Keras' config.

        A learning rate that is a callable, or a schedule of your own class, is None.
        """
        return configuration.of_sgd(self.settings, self.rate_source)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Construct an optimizer from a config that ``get_config`` returned, here or in Keras.

        Parameters
        ----------
        config : mapping
            It is not changed; missing keys take their defaults.
        learning_rate : optional
            Replaces the learning rate of the config; needed if that was a callable.

        Raises
        ------
        TypeError, ValueError
            If a key is unknown or a value not acceptable.

        Examples
        --------
        >>> import sgd_ref
        >>> sgd_ref.SGD.from_config(sgd_ref.SGD(momentum=0.5).get_config()).momentum
        0.5
        """
        return cls(**configuration.arguments_of_sgd(config, learning_rate))
