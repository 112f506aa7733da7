"""Turns on a device: why a peer is absent, and which processes go on."""

from __future__ import annotations

from typing import Any

import pytest

from numba_kernels.benchmarks.contest import contest
from numba_kernels.benchmarks.device import workers as workers_of_device
from numba_kernels.benchmarks.device.workers import DeviceTurns, DeviceWorkers
from numba_kernels.benchmarks.workload import Workload
from numba_kernels.selfcheck.device.availability import is_simulated, why_no_device
from sgd_ref.conformance.protocol.failures import WorkerDied
from sgd_ref.conformance.protocol.json_lines import from_line, to_line

SMALL = Workload("1 x 50", "momentum")


class FakeProgram:
    """Answers as it is told to, and keeps what it was asked."""

    made: list[FakeProgram]
    answers: list[Any]

    def __init__(self, command: list[str], environment: Any, longest: int) -> None:
        self.environment = environment
        self.requests: list[Any] = []
        self.has_ended = False
        self.made.append(self)

    def has_left(self) -> bool:
        return self.has_ended

    def exchange(self, request: bytes, seconds: float, longest: int) -> bytes:
        self.requests.append(from_line(request))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return to_line(answer)

    def leave(self) -> None:
        self.has_ended = True

    def kill(self) -> None:
        self.has_ended = True


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> type[FakeProgram]:
    FakeProgram.made, FakeProgram.answers = [], []
    monkeypatch.setattr(workers_of_device, "RunningProgram", FakeProgram)
    return FakeProgram


def timed() -> dict[str, Any]:
    return {"samples": [1.0], "growth": None}


def test_a_family_shares_a_process_and_goes_on(programs: type[FakeProgram]) -> None:
    programs.answers = [timed() for _ in range(3)]
    with DeviceWorkers(lambda: None) as workers:
        for peer in ("torch fused", "torch graph", "kernels"):
            assert workers.ask(peer, SMALL, 0.5, "calls") == timed()
        assert [len(program.requests) for program in programs.made] == [2, 1]
        assert not any(program.has_ended for program in programs.made)
    assert all(program.has_ended for program in programs.made)
    assert programs.made[0].requests[1] == {
        "peer": "torch graph",
        "workload": SMALL.to_json(),
        "seconds": 0.5,
        "timing": "calls",
    }


def test_a_process_that_keeps_memory_or_failed_ends(programs: type[FakeProgram]) -> None:
    programs.answers = [timed(), {"absent": "no luck"}, WorkerDied("died\nof something"), timed()]
    with DeviceWorkers(lambda: None) as workers:
        assert workers.ask("optax", SMALL, 0.0, "steps") == timed()
        assert programs.made[0].environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
        assert workers.ask("torch fused", SMALL, 0.0, "steps") == {"absent": "no luck"}
        assert workers.ask("torch fused", SMALL, 0.0, "steps") == {"absent": "died"}
        assert all(program.has_ended for program in programs.made)
        assert workers.ask("torch fused", SMALL, 0.0, "steps") == timed()
        assert [program.has_ended for program in programs.made] == [True, True, True, False]


def test_too_little_memory_is_a_reason(programs: type[FakeProgram]) -> None:
    large = Workload("one of 1 G", "everything", "bfloat16")
    with DeviceWorkers(lambda: 9 * 2**30 - 1) as workers:
        assert workers.ask("kernels", large, 0.0, "steps") == {
            "absent": "9.0 GiB of the device's memory must be free"
        }
        assert not programs.made
        programs.answers = [timed()]
        assert workers.ask("kernels", SMALL, 0.0, "steps") == timed()


@pytest.mark.skipif(
    why_no_device() is not None or not is_simulated(), reason="numba-cuda is missing, or has a real device"
)
@pytest.mark.share(4)
@pytest.mark.parametrize(
    ("peer", "reasons"),
    [
        ("kernels graph", ["graphs are captured by PyTorch, and it finds no device"]),
        ("torch compiled", ["PyTorch finds no device", "torch is not installed"]),
        ("optax", ["JAX finds no device", "jax is not installed", "optax is not installed"]),
        ("roof driver", ["the simulator has no memory of its own"]),
    ],
)
def test_without_a_device_only_the_simulated_kernels_are_timed(peer: str, reasons: list[str]) -> None:
    with DeviceWorkers() as workers:
        result = contest(DeviceTurns(workers, "steps"), SMALL, ("kernels", peer), 1, 0.0, (1,))
    assert result["kernels"].absent == ""
    assert len(result["kernels"].rounds[0]) == 3
    assert result[peer].absent in reasons
