"""Settings that can be read on an optimizer and not be changed."""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


class FixedSetting(Generic[Value]):
    """A setting that can be read on the optimizer, but not changed."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, optimizer: None, owner: type) -> Self: ...

    @overload
    def __get__(self, optimizer: object, owner: type) -> Value: ...

    def __get__(self, optimizer: Any, owner: type) -> Value | Self:
        if optimizer is None:
            return self
        value: Value = getattr(optimizer.settings, self.name)
        return value

    def __set__(self, optimizer: Any, value: object) -> None:
        raise AttributeError(
            f"{self.name} is fixed when the optimizer is constructed, got {value!r}; "
            "only learning_rate can be set"
        )
