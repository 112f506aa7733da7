"""Graphs of launches, as far as there are any without a device: what is captured is kept and launched again.

While a graph is captured nothing runs. A copy from the host in it repeats what the host's memory held then,
and a launch has the arguments that it had then. The simulator cannot capture; here the optimizer believes
that a stream is captured, and what it enqueues is kept. Real graphs are for `sgd-ref check`.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import simulated
from numba_kernels.cuda.arrays import streams
from numba_kernels.cuda.host import launching
from numba_kernels.cuda.host.buffers import Buffer
from numba_kernels.cuda.host.device_state import DeviceState
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.cuda.toolkit import cuda as numba_cuda
from sgd_ref import SparseRows, schedules

pytestmark = pytest.mark.skipif(not IS_SIMULATED, reason="real graphs are for `sgd-ref check --device cuda`")


pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))
Pair, numbers = pairs.Pair, pairs.numbers

SHAPES = [(45,), (3, 3)]
SETTINGS = {"momentum": 0.5, "use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}
SCHEDULE = schedules.ExponentialDecay(0.5, 3, 0.7)


class Graph:
    """What was captured, in order."""

    def __init__(self) -> None:
        self.nodes: list[Callable[[], None]] = []
        self.frees = True

    def replay(self) -> None:
        for node in self.nodes:
            node()


def _lose_capture(*arguments: Any) -> None:
    raise AssertionError("the capture is lost, as by all that allocates or waits")


@contextmanager
def captured() -> Iterator[Graph]:
    """Capture what the optimizers enqueue here."""
    graph = Graph()

    @contextmanager
    def defer_cleanup() -> Iterator[None]:
        graph.frees = False
        yield
        graph.frees = True

    def upload(buffer: Buffer, handle: int, is_captured: bool = False) -> None:
        assert is_captured, "a copy that is not captured would end the capture"
        assert not graph.frees, "what Numba frees would end the capture"
        memory, target = buffer.host.copy(), buffer.on_device()
        graph.nodes.append(lambda: target.copy_to_device(memory))

    def launch(state: DeviceState, launches: Any, handle: int, gradients: Any = ()) -> None:
        # As memory is allowed when the launch is made, with its gradients.
        regions = state._regions(gradients)
        assert not graph.frees, "what Numba frees would end the capture"

        def run() -> None:
            simulated.allow(regions)
            for kernel, blocks, threads, arguments in launches:
                kernel.launch(blocks, threads, 0, *arguments)

        graph.nodes.append(run)

    with pytest.MonkeyPatch.context() as patch:
        for module in (launching, streams):
            patch.setattr(module, "is_capturing", lambda handle: True)
        for name in ("to_device", "synchronize"):
            patch.setattr(numba_cuda, name, _lose_capture)
        patch.setattr(numba_cuda, "defer_cleanup", defer_cleanup)
        patch.setattr(Buffer, "upload", upload)
        patch.setattr(DeviceState, "launch", launch)
        yield graph


def started(scaling: tuple[float, int] | None = None, rates_ahead: int = 8, **settings: Any) -> Any:
    generator = np.random.default_rng(1)
    variables = [numbers(generator, shape, np.float32) for shape in SHAPES]
    pair = Pair(variables, scaling=scaling, rates_ahead=rates_ahead, **SETTINGS, **settings)
    pair.apply([numbers(generator, shape, np.float32) for shape in SHAPES])
    return pair


def replay(
    pair: Any, graph: Graph, places: list[Any], generator: np.random.Generator, special: Any = None
) -> None:
    """Make a call with both, on the device by a replay with gradients where they were captured."""
    gradients = [numbers(generator, shape, np.float32) for shape in SHAPES]
    if special is not None:
        gradients[1][2, 2] = special
    pair.optimizers[0].apply(gradients)
    for place, gradient in zip(places, gradients, strict=True):
        place.copy_to_device(gradient)
    graph.replay()


def captured_call(pair: Any) -> tuple[Graph, list[Any]]:
    places = [pairs.to_device(np.zeros(shape, np.float32)) for shape in SHAPES]
    before = [np.array(array) for array in pair.hosts]
    with captured() as graph:
        pair.optimizers[1].apply(places)
    # Nothing has run.
    pairs.assert_equal_bits("variables", before, [array.copy_to_host() for array in pair.devices])
    return graph, places


@pytest.mark.parametrize("clipping", [{}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}], ids=str)
def test_replays_are_calls(clipping: dict[str, float]) -> None:
    generator = np.random.default_rng(2)
    pair = started(learning_rate=SCHEDULE, **clipping)
    graph, places = captured_call(pair)
    pair.compare()
    for calls in (3, 8, 1):
        pair.inner[1].prepare_replays(calls)
        for _ in range(calls):
            replay(pair, graph, places, generator)
        pair.compare()


def test_replays_of_skipped_calls() -> None:
    generator = np.random.default_rng(3)
    pair = started(scaling=(8.0, 2), learning_rate=SCHEDULE)
    graph, places = captured_call(pair)
    pair.inner[1].prepare_replays(8)
    for special in (None, np.inf, None, None, np.nan, None):
        replay(pair, graph, places, generator, special)
    pair.compare()


def test_a_replay_without_a_learning_rate_changes_nothing() -> None:
    generator = np.random.default_rng(4)
    pair = started(learning_rate=SCHEDULE)
    graph, places = captured_call(pair)
    pair.inner[1].prepare_replays(2)
    for _ in range(2):
        replay(pair, graph, places, generator)
    # The table has more than was asked for.
    for _ in range(20):
        before = pair.inner[1].calls
        graph.replay()
        if pair.inner[1].calls == before:
            break
    exhausted = [array.copy_to_host() for array in pair.devices]
    weights = pair.inner[1].get_weights()
    graph.replay()
    pairs.assert_equal_bits("variables", exhausted, [array.copy_to_host() for array in pair.devices])
    pairs.assert_equal_bits("weights", weights, pair.inner[1].get_weights())
    assert pair.inner[1].calls == before


def test_a_rate_that_is_set_holds_for_the_replays_that_follow() -> None:
    generator = np.random.default_rng(5)
    pair = started(learning_rate=0.5)
    graph, places = captured_call(pair)
    for rate in (0.25, SCHEDULE, 0.125):
        for optimizer in pair.inner:
            optimizer.learning_rate = rate
        for _ in range(3):
            replay(pair, graph, places, generator)
        pair.compare()


def test_weights_that_are_set_hold_for_the_replays_that_follow() -> None:
    generator = np.random.default_rng(6)
    for rate in (0.25, SCHEDULE):
        pair = started(learning_rate=rate)
        graph, places = captured_call(pair)
        saved = [optimizer.get_weights() for optimizer in pair.inner]
        for calls in (3, 4):
            pair.inner[1].prepare_replays(calls)
            for _ in range(calls):
                replay(pair, graph, places, generator)
            for optimizer, weights in zip(pair.inner, saved, strict=True):
                optimizer.set_weights(weights)


def test_calls_and_replays_take_turns_with_gradients_in_different_places() -> None:
    """A replay leaves the addresses of its own gradients on the device, and a call those of its own."""
    generator = np.random.default_rng(7)
    pair = started(learning_rate=0.5)
    first, places = captured_call(pair)
    # Captured, but not run: the addresses on the device are still those of the call before.
    for place, gradient in zip(places, [numbers(generator, s, np.float32) for s in SHAPES], strict=True):
        place.copy_to_device(gradient)
    pair.optimizers[0].apply([place.copy_to_host() for place in places])
    pair.optimizers[1].apply(places)
    pair.compare()
    second, others = captured_call(pair)
    for graph, own in ((first, places), (second, others), (first, places)):
        replay(pair, graph, own, generator)
        pair.compare()
        gradients = [numbers(generator, shape, np.float32) for shape in SHAPES]
        moved = [pairs.to_device(gradient) for gradient in gradients]
        for _ in range(2):
            pair.optimizers[0].apply(gradients)
            pair.optimizers[1].apply(moved)
            pair.compare()
            replay(pair, graph, own, generator)
            pair.compare()


def test_a_graph_captured_with_the_gradients_of_the_call_before() -> None:
    generator = np.random.default_rng(8)
    pair = started(learning_rate=0.5)
    places = [pairs.to_device(numbers(generator, shape, np.float32)) for shape in SHAPES]
    pair.optimizers[0].apply([place.copy_to_host() for place in places])
    pair.optimizers[1].apply(places)
    with captured() as graph:
        pair.optimizers[1].apply(places)
    pair.apply([numbers(generator, shape, np.float32) for shape in SHAPES])
    replay(pair, graph, places, generator)
    pair.compare()


def test_a_callable_is_not_captured() -> None:
    pair = started(learning_rate=lambda: 0.5)
    places = [pairs.to_device(np.zeros(shape, np.float32)) for shape in SHAPES]
    with (
        captured(),
        pytest.raises(RuntimeError, match=r"^learning_rate must be a number or a schedule while a graph"),
    ):
        pair.optimizers[1].apply(places)
    pair.compare()


def test_a_rate_that_the_device_does_not_know_is_not_captured() -> None:
    pair = started(learning_rate=SCHEDULE, rates_ahead=2)
    pair.apply([np.ones(shape, np.float32) for shape in SHAPES])
    places = [pairs.to_device(np.zeros(shape, np.float32)) for shape in SHAPES]
    with (
        captured(),
        pytest.raises(RuntimeError, match=r"^the device must know the learning rate before a graph"),
    ):
        pair.optimizers[1].apply(places)
    pair.compare()
    pair.inner[1].prepare_replays(1)
    with captured() as graph:
        pair.optimizers[1].apply(places)
    replay(pair, graph, places, np.random.default_rng(9))
    pair.compare()


NEW_CALL = r"^a call must be like one that was made before, outside of a graph, while a graph is captured, "
REMEDY = "; make such a call of apply before the capture$"


def refused(pair: Any, gradients: Any, got: str) -> None:
    """Capture a call that must be refused before anything is enqueued or lost, and has changed nothing."""
    with captured() as graph, pytest.raises(RuntimeError, match=f"{NEW_CALL}.*{got}{REMEDY}"):
        pair.optimizers[1].apply(gradients)
    assert not graph.nodes
    pair.compare()


@pytest.mark.parametrize("scaling", [None, (8.0, 2)], ids=str)
def test_nothing_is_captured_that_would_need_memory(scaling: Any) -> None:
    generator = np.random.default_rng(8)
    shapes = [(45,), (3, 3)]
    variables = [numbers(generator, shape, dtype) for shape, dtype in zip(shapes, ("f4", "f8"), strict=True)]
    pair = Pair(variables, scaling=scaling, momentum=0.5)
    pair.apply([numbers(generator, shapes[0], np.float32), None])
    places = [pairs.to_device(np.zeros_like(variable)) for variable in variables]
    refused(pair, places, "gradients for other variables")
    pair.apply([numbers(generator, variable.shape, variable.dtype) for variable in variables])
    with captured() as graph:
        pair.optimizers[1].apply(places)
    assert graph.nodes


@pytest.mark.parametrize("scaling", [None, (8.0, 2)], ids=str)
@pytest.mark.parametrize("layout", [pairs.with_gaps, pairs.reversed_in_memory], ids=["gaps", "reversed"])
def test_a_gradient_of_a_layout_first_seen_is_not_captured(layout: Any, scaling: Any) -> None:
    generator = np.random.default_rng(9)
    pair = started(scaling=scaling)
    gradients = [numbers(generator, shape, np.float32) for shape in SHAPES]
    moved = [layout(gradient) for gradient in gradients]
    refused(pair, moved, r"the first gradient for .* of float32 with strides \(-?\d+,\)")
    narrow = [pairs.to_device(gradient.astype(np.float16)) for gradient in gradients]
    refused(pair, narrow, r"the first gradient for .* of float16 with strides \(2,\)")
    pair.apply(gradients, layout=layout)
    with captured() as graph:
        pair.optimizers[1].apply(moved)
    pair.optimizers[0].apply(gradients)
    graph.replay()
    pair.compare()


def test_a_sparse_gradient_is_not_captured() -> None:
    pair = started()
    rows = SparseRows(np.array([1]), np.ones((1, 3), np.float32), (3, 3))
    gradients = [pairs.to_device(np.zeros(45, np.float32)), rows]
    refused(pair, gradients, "a sparse gradient for .*, which is on the host")
    # Here only the rows would be copied.
    pair = Pair([np.ones((3, 3), np.float32)], learning_rate=0.5)
    for gradient in (np.ones((3, 3), np.float32), rows):
        pair.apply([gradient])
    refused(pair, [rows], "a sparse gradient for .*, which is on the host")


def test_variables_that_have_moved_are_not_captured() -> None:
    pair = started()
    places = [pairs.to_device(np.zeros(shape, np.float32)) for shape in SHAPES]
    for array in pair.devices:
        array._ary = array._ary.copy()
    refused(pair, places, "variables that have moved in memory")


def test_no_state_is_made_while_a_graph_is_captured() -> None:
    variables, gradients = (
        [pairs.to_device(np.ones(shape, np.float32)) for shape in SHAPES] for _ in range(2)
    )
    optimizer = pairs.cuda.SGD(0.5)
    for make in (lambda: optimizer.build(variables), lambda: optimizer.apply(gradients, variables)):
        with (
            captured() as graph,
            pytest.raises(RuntimeError, match=f"{NEW_CALL}.*an optimizer without state"),
        ):
            make()
        assert not graph.nodes
        assert not optimizer.built
    optimizer.apply(gradients, variables)


def test_a_dtype_without_gradients_is_ready_for_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for what a graph copies is had by the first upload outside of a graph."""
    pair = Pair([np.ones(3, np.float32), np.ones(3, np.float64)], use_ema=True)
    uploaded: list[Buffer] = []
    upload = Buffer.upload

    def recorded(buffer: Buffer, *arguments: Any) -> None:
        uploaded.append(buffer)
        upload(buffer, *arguments)

    monkeypatch.setattr(Buffer, "upload", recorded)
    with pytest.warns(UserWarning, match="no gradient was given"):
        pair.optimizers[1].apply([pairs.to_device(np.ones(3, np.float32)), None])
    assert all(group.gradients in uploaded for group in pair.inner[1]._state.groups)
