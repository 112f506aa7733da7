"""Launches: configured once, and without Numba's advice, which stays on for the user's own kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import toolkit
from numba_kernels.cuda.toolkit import Kernel, cuda


class Dispatcher:
    """Warns of few blocks where the switch is on, as that of Numba does."""

    def __init__(self) -> None:
        self.configured: list[Any] = []
        self.launched: list[Any] = []

    def __getitem__(self, configuration: Any) -> Callable[..., None]:
        self.configured.append(configuration)
        if cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS:
            warnings.warn("Grid size 1 will likely result in GPU under-utilization", stacklevel=2)
        if configuration[0] == 0:
            raise ValueError("no blocks")
        return lambda *arguments: self.launched.append((configuration, arguments))


def nothing() -> None:
    """Stand for a kernel."""


@pytest.fixture(autouse=True)
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolkit, "IS_SIMULATED", False)
    monkeypatch.setattr(cuda.config, "CUDA_LOW_OCCUPANCY_WARNINGS", 1)


def test_a_grid_of_few_blocks_is_launched_without_a_warning() -> None:
    dispatcher = Dispatcher()
    kernel = Kernel("nothing", nothing, dispatcher)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        kernel.launch(1, 8, 0, 2)
        kernel.launch(1, 8, 0, 3)
        kernel.launch(2, 8, 0, 4)
        assert not found
        dispatcher[1, 8, 0]
        assert len(found) == 1
    assert dispatcher.configured == [(1, 8, 0), (2, 8, 0), (1, 8, 0)]
    assert dispatcher.launched == [((1, 8, 0), (2,)), ((1, 8, 0), (3,)), ((2, 8, 0), (4,))]


def test_the_users_switch_is_as_it_was() -> None:
    kernel = Kernel("nothing", nothing, Dispatcher())
    for value in (0, 1):
        cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS = value
        kernel.launch(1, 1 + value, 0)
        assert value == cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS
        with pytest.raises(ValueError, match="no blocks"):
            kernel.launch(0, 1, 0)
        assert value == cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS
