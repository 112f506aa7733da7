"""What the tests of the bounds share: bounds from which something was taken away."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType

import pytest

Change = Callable[[ModuleType, str, str], ModuleType]


@pytest.fixture
def changed() -> Change:
    """Return a copy of a module in which one piece of its text, which it has once, reads otherwise."""

    def copy(module: ModuleType, old: str, new: str) -> ModuleType:
        source = inspect.getsource(module)
        assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in {module.__name__}"
        made = ModuleType(module.__name__)
        exec(compile(source.replace(old, new), module.__name__, "exec"), made.__dict__)
        return made

    return copy
