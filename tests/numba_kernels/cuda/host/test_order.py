"""What the host copies to new memory is there before a kernel runs, on whatever stream that is."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.host import device_state
from numba_kernels.cuda.host.buffers import Buffer
from numba_kernels.cuda.toolkit import Kernel
from numba_kernels.cuda.toolkit import cuda as numba_cuda
from sgd_ref import schedules

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))

SHAPES = [(45,), (3, 3)]
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
SETTINGS = {"momentum": 0.5, "use_ema": True, "global_clipnorm": 1.0}


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record copies to new memory and from the device, waits and launches, in order."""
    found: list[str] = []

    def recorded(owner: Any, name: str, event: str) -> None:
        function = getattr(owner, name)

        def record(*arguments: Any, **keywords: Any) -> Any:
            found.append(event)
            return function(*arguments, **keywords)

        monkeypatch.setattr(owner, name, record)

    recorded(numba_cuda, "to_device", "copy")
    recorded(numba_cuda, "synchronize", "wait")
    recorded(Buffer, "upload", "upload")
    recorded(Kernel, "launch", "launch")
    recorded(device_state, "to_host", "read")
    return found


def assert_ordered(events: list[str]) -> None:
    assert "launch" in events
    after_copy = False
    for event in events:
        assert not (event == "launch" and after_copy), events
        after_copy = event == "copy" or (after_copy and event != "wait")
    events.clear()


def arrays(layout: Callable[[Any], Any], dtypes: Any = DTYPES) -> list[Any]:
    return [layout(np.ones(shape, dtype)) for shape, dtype in zip(SHAPES, dtypes, strict=True)]


@pytest.mark.filterwarnings("ignore:no gradient was given")
@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("layout", [pairs.to_device, pairs.with_gaps], ids=["whole", "gaps"])
def test_kernels_come_after_the_copies_to_new_memory(layout: Any, is_scaled: bool, events: list[str]) -> None:
    inner = pairs.cuda.SGD(0.5, **SETTINGS)
    optimizer = pairs.cuda.LossScaleOptimizer(inner) if is_scaled else inner
    variables = arrays(layout)
    calls = [
        arrays(pairs.to_device),
        [None, arrays(pairs.to_device)[1]],
        arrays(pairs.with_gaps),
        arrays(pairs.to_device, [np.dtype(np.float16)] * 2),
    ]
    events.clear()
    for gradients in calls:
        optimizer.apply(gradients, variables)
        assert_ordered(events)
    # A call like one before has nothing to wait for.
    optimizer.apply(calls[0], variables)
    assert not {"copy", "wait"} & set(events)
    assert_ordered(events)
    inner.finalize_variable_values(variables)
    assert_ordered(events)


def test_what_is_made_and_set_between_calls_is_there_for_any_stream(events: list[str]) -> None:
    schedule = schedules.ExponentialDecay(0.5, 3, 0.7)
    optimizer = pairs.cuda.SGD(schedule, **SETTINGS)
    variables = arrays(pairs.to_device)
    events.clear()
    optimizer.build(variables)
    assert "copy" in events
    assert events[-1] == "wait"
    weights = optimizer.get_weights()
    for change in (lambda: optimizer.set_weights(weights), lambda: optimizer.prepare_replays(1)):
        events.clear()
        change()
        assert "upload" in events
        assert events[-1] == "wait"
    scaled = pairs.cuda.LossScaleOptimizer(optimizer)
    events.clear()
    scaled.set_weights(scaled.get_weights())
    assert events[-1] == "wait"


@pytest.mark.parametrize("rate", [0.25, schedules.ExponentialDecay(0.5, 3, 0.7)], ids=["number", "schedule"])
@pytest.mark.parametrize("has_graph", [False, True])
def test_a_rate_that_is_set_beside_a_graph_is_there_for_its_replays(
    has_graph: bool, rate: Any, events: list[str]
) -> None:
    """A graph may be replayed on any stream; without one only the stream of the calls asks for the rate."""
    optimizer = pairs.cuda.SGD(0.5, **SETTINGS)
    variables = arrays(pairs.to_device)
    optimizer.apply(arrays(pairs.to_device), variables)
    optimizer._state.has_graph = has_graph
    events.clear()
    optimizer.learning_rate = rate
    assert "upload" in events
    assert events[-2:] == (["launch", "wait"] if has_graph else ["upload", "launch"])


@pytest.mark.parametrize("has_graph", [False, True])
def test_variables_that_are_finalized_beside_a_graph_are_there_for_any_stream(
    has_graph: bool, events: list[str]
) -> None:
    optimizer = pairs.cuda.SGD(0.5, **SETTINGS)
    variables = arrays(pairs.to_device)
    optimizer.apply(arrays(pairs.to_device), variables)
    weights = optimizer.get_weights()
    optimizer._state.has_graph = has_graph
    events.clear()
    optimizer.finalize_variable_values(variables)
    after_launches = events[len(events) - events[::-1].index("launch") :]
    assert after_launches == (["wait"] if has_graph else [])
    pairs.assert_equal_bits("averages", weights[2:4], [pairs.on_host(array) for array in variables])


@pytest.mark.parametrize("is_scaled", [False, True])
def test_state_is_read_when_all_launches_on_any_stream_have_ended(is_scaled: bool, events: list[str]) -> None:
    inner = pairs.cuda.SGD(0.5, **SETTINGS)
    optimizer = pairs.cuda.LossScaleOptimizer(inner) if is_scaled else inner
    optimizer.apply(arrays(pairs.to_device), arrays(pairs.to_device))
    inner._state.copies_to_host()
    launch = len(events) - 1 - events[::-1].index("launch")
    reads = [index for index, event in enumerate(events) if event == "read"]
    assert len(reads) == 2 * len(SHAPES)
    assert "wait" in events[launch : reads[0]]
