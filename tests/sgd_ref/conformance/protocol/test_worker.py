"""Workers that behave, and workers that crash, hang, lie and flood, each a few lines of Python."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.catalogue.case import Case, Unsupported
from sgd_ref.conformance.protocol import answer, failures, running_program
from sgd_ref.conformance.protocol import worker as process
from sgd_ref.conformance.protocol.worker import ImplementationError, Worker

START = """
import json, os, sys, time
handshake = {"protocol": 1, "name": "fake", "version": "1.0", "versions": {"process": str(os.getpid())}}
print(json.dumps(handshake), flush=True)
def answer(case, **outcome):
    print(json.dumps({"id": case["id"], **outcome}), flush=True)
def unchanged(case):
    answer(case, trajectory=[{"variables": case["variables"]}] * (len(case["gradients"]) + case["finalize"]))
"""

LOOP = """
for line in sys.stdin:
    case = json.loads(line)
    if case["id"] == "good":
        unchanged(case)
        continue
"""


def worker(reaction: str, time_limit: float = 20.0, loop: str = LOOP) -> Worker:
    """Return a worker that leaves variables as they are in case "good" and reacts to other cases."""
    body = "".join(f"    {line}\n" for line in reaction.splitlines())
    return Worker([sys.executable, "-c", START + loop + body], time_limit=time_limit)


def case(name: str, size: int = 2, finalize: bool = False) -> Case:
    variables = (np.array([1.0, -0.0, np.nan, 1e-45] * size, np.float32), np.array(2.0, np.float32))
    return Case(name, {}, ("kernel", "bias"), variables, (variables, variables), finalize=finalize)


def assert_good(run: Worker) -> None:
    """Assert that the worker answers to the good case."""
    expected = case("good", finalize=True)
    trajectory = run(expected)
    assert len(trajectory) == 3
    for record in trajectory:
        for found, variable in zip(record["variables"], expected.variables, strict=True):
            assert found.dtype == variable.dtype
            assert found.tobytes() == variable.tobytes()


def is_gone(identity: int) -> bool:
    """Whether there is no such process, not even as a zombie."""
    try:
        os.kill(identity, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Assert that no process that was started in a test outlives it."""
    started = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)

    monkeypatch.setattr(running_program, "Popen", Recorded)
    yield
    gc.collect()
    assert all(is_gone(identity) for identity in started)


def identity_of(run: Worker) -> int:
    return int(run.handshake.versions["process"])


def test_one_process_answers_to_many_cases() -> None:
    with worker("pass") as run:
        assert (run.handshake.name, run.handshake.version) == ("fake", "1.0")
        first = identity_of(run)
        assert_good(run)
        assert_good(run)
        assert identity_of(run) == first


def test_large_cases_pass_through_the_pipes() -> None:
    with worker("unchanged(case)") as run:
        large = case("large", size=200_000)
        assert run(large)[1]["variables"][0].tobytes() == large.variables[0].tobytes()


def test_unsupported() -> None:
    with worker("answer(case, unsupported='no bfloat16')") as run:
        with pytest.raises(Unsupported, match=r"^no bfloat16$"):
            run(case("bad"))
        assert_good(run)


def test_errors_of_the_optimizer() -> None:
    error = '{"type": "ValueError", "message": "too wide", "call": 1}'
    with worker(f"answer(case, error={error})") as run:
        with pytest.raises(ImplementationError, match=r"^call 1: ValueError: too wide$") as caught:
            run(case("bad"))
        assert (caught.value.kind, caught.value.message, caught.value.call) == ("ValueError", "too wide", 1)
        assert_good(run)


def test_crash_shows_status_and_standard_error_and_the_next_case_runs() -> None:
    with worker("sys.stderr.write('out of luck\\n'); sys.exit(3)") as run:
        with pytest.raises(process.WorkerDied, match=r"(?s)ended with status 3.*out of luck"):
            run(case("bad"))
        assert_good(run)


def test_crash_by_a_signal_is_named() -> None:
    with worker("os.kill(os.getpid(), 11)") as run:
        with pytest.raises(process.WorkerDied, match=r"was ended by signal 11 \(Segmentation fault"):
            run(case("bad"))
        assert_good(run)


def test_crash_in_the_middle_of_an_answer() -> None:
    with worker("""sys.stdout.write('{"id": "bad", "traj'); sys.stdout.flush(); sys.exit(0)""") as run:
        with pytest.raises(
            process.WorkerDied, match=r"no complete answer, only b'.*\"traj', and .* status 0"
        ):
            run(case("bad"))
        assert_good(run)


def test_half_a_line_and_then_silence() -> None:
    with worker("""sys.stdout.write('{"id": "b'); sys.stdout.flush(); time.sleep(600)""", 1.0) as run:
        with pytest.raises(process.WorkerHung, match=r"1 seconds, only 9 bytes without a newline: b'.*\"b'"):
            run(case("bad"))
        assert_good(run)


def test_crash_between_two_cases_does_not_count_for_the_next_one() -> None:
    with worker("unchanged(case); sys.exit(1)") as run:
        first = identity_of(run)
        run(case("last"))
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert_good(run)
        assert identity_of(run) != first
        assert is_gone(first)


def test_hang_is_ended_and_the_next_case_runs() -> None:
    with worker("sys.stderr.write('thinking'); sys.stderr.flush(); time.sleep(600)", 2.0) as run:
        assert_good(run)
        first = identity_of(run)
        with pytest.raises(process.WorkerHung, match=r"(?s)within 2 seconds.*thinking"):
            run(case("bad"))
        assert is_gone(first)
        assert_good(run)


def test_hang_without_reading_a_large_case_is_ended() -> None:
    with worker("time.sleep(600)", 1.0, loop="if True:\n") as run, pytest.raises(process.WorkerHung):
        run(case("bad", size=200_000))


@pytest.mark.parametrize(
    "reaction",
    [
        "print('Epoch 1/10', flush=True)",
        "print('', flush=True)",
        "print('[]', flush=True)",
        'print(\'{"id": "bad"}\', flush=True)',
        "answer({'id': 'other'}, unsupported='why')",
        "answer(case, unsupported='why', trajectory=[])",
        "answer(case, unsupported='')",
        "answer(case, surprise=1)",
        "answer(case, error='broken')",
        "answer(case, error={'type': 'ValueError', 'message': 'm', 'call': -1})",
        "answer(case, trajectory='none')",
        "answer(case, trajectory=[{}, {}])",
        "answer(case, trajectory=[{'variables': [1.0, 2.0]}] * 2)",
        "sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()",
    ],
)
def test_junk_is_refused_and_the_next_case_runs(reaction: str) -> None:
    with worker(reaction) as run:
        with pytest.raises(process.InvalidAnswer, match="no answer to the case"):
            run(case("bad"))
        assert_good(run)


def test_two_lines_at_once_are_refused() -> None:
    twice = "line = json.dumps({'id': case['id'], 'unsupported': 'w'}) + '\\n'"
    with worker(f"{twice}; sys.stdout.write(line + line); sys.stdout.flush()") as run:
        with pytest.raises(process.InvalidAnswer, match=r"it wrote more than one line: b'\{"):
            run(case("bad"))
        assert_good(run)


@pytest.mark.parametrize("leaving", ["", "; sys.exit(0)"])
def test_a_late_line_is_not_taken_for_the_next_answer(tmp_path: Path, leaving: str) -> None:
    answered, written = tmp_path / "answered", tmp_path / "written"
    # However busy the machine is: the first answer was read before the second one is written.
    waiting = f"while not os.path.exists({str(answered)!r}): time.sleep(0.01)"
    late = f"unchanged(case); open({str(written)!r}, 'w').close()"
    with worker(f"unchanged(case)\n{waiting}\n{late}{leaving}") as run:
        first = identity_of(run)
        run(case("twice"))
        answered.touch()
        while not written.exists():
            time.sleep(0.01)
        if leaving:
            os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        with pytest.raises(process.InvalidAnswer, match=r"what no case had asked for: b'{.*twice"):
            run(case("bad"))
        assert_good(run)


@pytest.mark.parametrize(
    "records",
    [
        "[{'variables': case['variables']}]",
        "[{'variables': case['variables']}] * 3",
        "[{'variables': case['variables'][:1]}] * 2",
        "[{'variables': case['variables'] * 2}] * 2",
        "[{'variables': case['variables'][::-1]}] * 2",
        "[]",
    ],
)
def test_wrong_numbers_and_shapes_are_refused(records: str) -> None:
    with worker(f"answer(case, trajectory={records})") as run:
        with pytest.raises(
            process.InvalidAnswer, match=r"number of records|dtypes and shapes of record \d.variables"
        ):
            run(case("bad"))
        assert_good(run)


def test_wrong_dtypes_are_refused() -> None:
    wider = "{'dtype': 'float64', 'shape': [], 'bits': '4000000000000000'}"
    with worker(f"answer(case, trajectory=[{{'variables': [case['variables'][0], {wider}]}}] * 2)") as run:
        with pytest.raises(
            process.InvalidAnswer, match=r"float64\[\].*must be .*'float32\[\]'|got .*float64"
        ):
            run(case("bad"))
        assert_good(run)


@contextlib.contextmanager
def memory_stays_small() -> Iterator[None]:
    """Assert that no more than 8 MiB of memory were taken at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("text", "message"), [("x", r"more than \d+ bytes in a line"), ("x\\n", "one line")])
def test_a_flood_on_standard_output_does_not_fill_memory(text: str, message: str) -> None:
    flood = f"while True:\n    sys.stdout.write('{text}' * 65536)"
    with memory_stays_small(), worker(flood) as run:
        with pytest.raises(process.InvalidAnswer, match=message):
            run(case("bad"))
        assert_good(run)


def test_a_flood_between_two_cases_stays_in_the_pipe() -> None:
    flood = "unchanged(case)\ntime.sleep(0.2)\nwhile True:\n    print('x' * 65536)"
    with memory_stays_small(), worker(flood) as run:
        run(case("last"))
        time.sleep(1.0)
        with pytest.raises(process.InvalidAnswer, match="what no case had asked for: b'xxx"):
            run(case("bad"))
        assert_good(run)


def test_an_answer_may_be_as_long_as_every_array_needs() -> None:
    everything = ["variables", "velocities", "averages", "accumulators"]
    records = f"[{{key: case['variables'] for key in {everything}}}] * len(case['gradients'])"
    large = case("large", size=100_000)
    wide = Case("large", {}, large.names, tuple(v.astype("f8") for v in large.variables), large.gradients)
    with worker(f"answer(case, trajectory={records})") as run:
        assert run(wide)[1]["accumulators"][0].tobytes() == wide.variables[0].tobytes()
    assert answer.longest_answer(wide) < 2 * 4 * 2 * 17 * 400_001 + 2**20


def test_what_a_program_says_can_be_shown() -> None:
    reaction = "answer(case, unsupported='\\x1b[31m \\ud800 ' + 'x' * 9000)"
    with worker(reaction) as run, pytest.raises(Unsupported) as caught:
        run(case("bad"))
    shown = str(caught.value)
    shown.encode()
    assert shown.startswith("\N{REPLACEMENT CHARACTER}[31m \N{REPLACEMENT CHARACTER} xxx")
    assert len(shown) == failures.LONGEST_SHOWN + 3


def test_flood_on_standard_error_neither_blocks_nor_fills_memory() -> None:
    flood = "sys.stderr.write('noise ' * 1_000_000); sys.stderr.write('the end'); sys.stderr.flush()"
    with worker(f"{flood}; unchanged(case)") as run:
        run(case("flood"))
    with (
        worker(f"{flood}; sys.exit(1)") as run,
        pytest.raises(process.WorkerDied, match=r"the end$") as caught,
    ):
        run(case("flood"))
    assert len(str(caught.value)) < 2 * running_program.SHOWN_OF_STANDARD_ERROR


@pytest.mark.parametrize(
    ("greeting", "error", "message"),
    [
        ("", process.WorkerDied, "ended with status 0"),
        ("raise ImportError('no such module')", process.WorkerDied, "no such module"),
        ("print('hello')", process.InvalidAnswer, "the handshake: not a line of JSON"),
        ("print('{}')", process.InvalidAnswer, "protocol must be 1"),
        (
            'print(\'{"protocol": 3, "name": "n", "version": "1"}\')',
            process.InvalidAnswer,
            "protocol must be 1",
        ),
        ('print(\'{"protocol": 1, "version": "1"}\')', process.InvalidAnswer, "name must be a string"),
        ('print(\'{"protocol": 1, "name": "n", "version": ""}\')', process.InvalidAnswer, "version must be"),
        ('print(\'{"protocol": 1, "name": "n", "version": "1", "x": 1}\')', process.InvalidAnswer, "'x'"),
        ("print('x' * 70_000)", process.InvalidAnswer, "more than 65536 bytes in a line"),
        (
            'print(\'{"protocol": 1, "name": "n", "version": "1"}\' + chr(10) + "more")',
            process.InvalidAnswer,
            "more than one line",
        ),
    ],
)
def test_broken_handshakes_are_refused(greeting: str, error: type[Exception], message: str) -> None:
    with Worker([sys.executable, "-c", greeting]) as run:
        with pytest.raises(error, match=message):
            _ = run.handshake
        with pytest.raises(error, match=message):
            run(case("any"))


def test_hang_before_the_handshake() -> None:
    run = Worker([sys.executable, "-c", "import time; time.sleep(600)"], start_limit=0.5)
    with pytest.raises(process.WorkerHung, match=r"within 0\.5 seconds"):
        run(case("any"))


def test_handshake_is_read_completely() -> None:
    greeting = (
        '{"protocol": 1, "name": "my_sgd", "version": "1.0", "language": "C", "dtypes": ["float32"],'
        ' "features": {"update": ["plain", "momentum"]}, "versions": {"libm": "2.39"}}'
    )
    with Worker([sys.executable, "-c", f"print('{greeting}')"]) as run:
        handshake = run.handshake
    assert (handshake.name, handshake.version, handshake.language) == ("my_sgd", "1.0", "C")
    assert handshake.dtypes == ["float32"]
    assert handshake.features == {"update": ["plain", "momentum"]}
    assert handshake.versions == {"libm": "2.39"}


def test_a_worker_ends_with_its_input_or_is_ended(tmp_path: Path) -> None:
    farewell = tmp_path / "farewell"
    polite = f"    pass\nopen({str(farewell)!r}, 'w').close()\nif False:\n"
    for after in (polite, "    pass\ntime.sleep(600)\nif False:\n"):
        run = worker("pass", loop=LOOP + after)
        identity = identity_of(run)
        run.close()
        assert is_gone(identity)
        assert farewell.exists()
        run.close()


def test_what_the_worker_started_is_ended_with_it(tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    reaction = f"""
import subprocess
subprocess.Popen(['sleep', '600'], stdout=open({pipe!r}, 'w'))
sys.stderr.write('started')
sys.stderr.flush()
time.sleep(600)
"""
    with worker(reaction, 2.0) as run, pytest.raises(process.WorkerHung, match="started"):
        run(case("bad"))
    deadline = time.monotonic() + 20
    while True:
        # As long as somebody can write, reading from an empty pipe raises an error.
        try:
            assert os.read(reading, 1) == b""
            break
        except BlockingIOError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    os.close(reading)


def test_a_worker_that_is_forgotten_is_ended() -> None:
    run = worker("pass")
    identity = identity_of(run)
    del run
    gc.collect()
    assert is_gone(identity)


def test_an_interrupt_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker("time.sleep(600)") as run:
        first = identity_of(run)
        previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        try:
            with pytest.raises(KeyboardInterrupt):
                run(case("bad"))
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert is_gone(first)
        assert_good(run)


def test_missing_programs_are_named(tmp_path: Path) -> None:
    with Worker([str(tmp_path / "my_sgd")]) as run, pytest.raises(FileNotFoundError, match="my_sgd"):
        run(case("any"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"command": "./my_sgd"}, TypeError),
        ({"command": []}, TypeError),
        ({"command": ["./my_sgd"], "time_limit": 0}, ValueError),
        ({"command": ["./my_sgd"], "start_limit": -1.0}, ValueError),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{list(arguments)[-1]} must be"):
        Worker(**arguments)


SERVING = """
import os
from sgd_ref.conformance.catalogue.case import Unsupported
from sgd_ref.conformance.protocol.worker import Handshake, ImplementationError, serve

def run(case):
    print("noise from Python")
    os.system("echo noise from elsewhere")
    if case.id == "unsupported":
        raise Unsupported("not this")
    if case.id == "broken":
        raise ImplementationError("KeyError", "'x'", 7)
    if case.id == "raises":
        raise IndexError("out of range")
    return [{"variables": list(case.variables)}] * (len(case.gradients) + case.finalize)

def prepare():
    print("noise from imports")
    return Handshake("served", "2.0", dtypes=["float32"]), run

serve(prepare)
"""


def test_serve_is_the_other_end() -> None:
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    with Worker([sys.executable, "-c", SERVING], {**os.environ, "PYTHONPATH": path}) as run:
        assert run.handshake.name == "served"
        assert run.handshake.dtypes == ["float32"]
        assert_good(run)
        with pytest.raises(Unsupported, match=r"^not this$"):
            run(case("unsupported"))
        with pytest.raises(ImplementationError, match=r"^call 7: KeyError: 'x'$"):
            run(case("broken"))
        with pytest.raises(ImplementationError, match=r"^IndexError: out of range$") as caught:
            run(case("raises"))
        assert caught.value.call is None
        assert_good(run)
