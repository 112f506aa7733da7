"""Implementations in a process of their own, in any language: a line of JSON in, a line of JSON out.

The process works through many cases. It first writes its handshake, one line,
``{"protocol": 1, "name": "my_sgd", "version": "1.0", "language": "C", "dtypes": ["float32"],
"features": {"momentum": ["none", "classic"]}, "versions": {"libm": "2.39"}}``, of which the first three
are required. Then it reads a case, one line on its standard input, as `encoding` says, and writes one
line on its standard output, with the identity of the case and one of three outcomes:

- ``{"id": ..., "trajectory": [...]}``;
- ``{"id": ..., "unsupported": "why"}``, for what it does not offer;
- ``{"id": ..., "error": {"type": "ValueError", "message": "...", "call": 3}}``, where the optimizer
  refused or broke, ``call`` counted from 0, null where no call was to blame.

It ends when its standard input does. Its standard error is free for anything; the last lines are shown
where it fails. `Worker` is this side of the pipes, `serve` the other one for implementations in Python.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any, BinaryIO, Self

from sgd_ref.conformance import encoding
from sgd_ref.conformance.case import Case, Implementation, Record, Unsupported
from sgd_ref.validation import integer_at_least, positive_real, reject_type, reject_value, text

Program = Popen[bytes]
Lines = queue.SimpleQueue[bytes | None]

PROTOCOL = 1
OUTCOMES = ("trajectory", "unsupported", "error")
LONGEST_LINE = 2**28
SHOWN_OF_STANDARD_ERROR = 4000
SECONDS_TO_END = 2.0


class ImplementationError(Exception):
    """The implementation refused or broke, and said so.

    Attributes
    ----------
    kind, message : str
        Name of the type of the error, such as ``"ValueError"``, and what it said.
    call : int or None
        The gradient call in which it happened, counted from 0; None where no call was to blame.
    """

    def __init__(self, kind: str, message: str, call: int | None = None) -> None:
        where = "" if call is None else f"call {call}: "
        super().__init__(f"{where}{kind}: {message}")
        self.kind = kind
        self.message = message
        self.call = call


class WorkerFailed(Exception):
    """The process of the implementation did not answer as it has to."""


class WorkerDied(WorkerFailed):
    """The process ended, or closed its standard output, before its answer was complete."""


class WorkerHung(WorkerFailed):
    """The process did not answer within the time limit and was ended."""


class InvalidAnswer(WorkerFailed):
    """The process wrote something else than an answer to the case."""


@dataclass(frozen=True)
class Handshake:
    """What an implementation says of itself before the first case.

    Attributes
    ----------
    name, version, language : str
        The implementation, and what it is written in.
    dtypes : list of str or None
        The dtypes of variables that it offers; None for all of them.
    features : dict of str to list of str
        The values that it offers on an axis such as ``"momentum"``; all of them where it is not listed.
    versions : dict of str to str
        What it is built on.
    """

    name: str
    version: str
    language: str = ""
    dtypes: list[str] | None = None
    features: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


class Worker:
    """An implementation in a process of its own: call it with a case, get the trajectory.

    The process is started when it is first needed, and again after it failed. It gets one case at a
    time: an object of this class serves one thread.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    environment : mapping of str to str, optional
        Its environment variables, that of this process if left out.
    time_limit : float
        Seconds for one case.
    start_limit : float
        Seconds from the start to the handshake.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    OSError
        When the process is started, if there is no such program.

    Examples
    --------
    >>> program = '''
    ... import json, sys
    ... print(json.dumps({"protocol": 1, "name": "nothing", "version": "1.0"}), flush=True)
    ... for line in sys.stdin:
    ...     print(json.dumps({"id": json.loads(line)["id"], "unsupported": "everything"}), flush=True)
    ... '''
    >>> with Worker([sys.executable, "-c", program]) as run:
    ...     run(Case(id="one", config={}, names=(), variables=(), gradients=()))
    Traceback (most recent call last):
    sgd_ref.conformance.case.Unsupported: everything
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        time_limit: float = 60.0,
        start_limit: float = 120.0,
    ) -> None:
        if isinstance(command, str) or not command or not all(isinstance(part, str) for part in command):
            reject_type("command", command, "a program and its arguments, as a sequence of strings")
        self._command = list(command)
        self._environment = None if environment is None else dict(environment)
        self._time_limit = positive_real("time_limit", time_limit)
        self._start_limit = positive_real("start_limit", start_limit)
        self._process: _Process | None = None

    @property
    def handshake(self) -> Handshake:
        """What the implementation says of itself; starts the process if it does not run."""
        return self._running().handshake

    def __call__(self, case: Case) -> list[Record]:
        """Return the trajectory that the implementation answers with.

        Raises
        ------
        Unsupported
            If the implementation does not offer what the case needs.
        ImplementationError
            If the optimizer refused or broke.
        WorkerFailed
            If the process died, hung or wrote something else than an answer; it is started again for
            the next case.
        """
        request = encoding.to_line(encoding.case_to_json(case))
        process = self._running()
        try:
            return _outcome(case, process.exchange(request, self._time_limit))
        except (Unsupported, ImplementationError):
            raise
        except BaseException:
            # What is left in the pipes would be taken for the answer to the next case.
            self._kill()
            raise

    def close(self) -> None:
        """End the process, if it runs."""
        if self._process is not None:
            self._process.leave()
        self._kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _running(self) -> _Process:
        if self._process is not None and self._process.popen.poll() is not None:
            self._kill()
        if self._process is None:
            self._process = _Process(self._command, self._environment)
            try:
                self._process.handshake = _handshake(self._process.exchange(b"", self._start_limit))
            except BaseException:
                self._kill()
                raise
        return self._process

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


class _Process:
    """One run of a program, with its pipes."""

    handshake: Handshake

    def __init__(self, command: list[str], environment: dict[str, str] | None) -> None:
        # A session of its own, so that what the program starts in turn can be ended with it.
        self.popen = Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        )
        self._requests: Lines = queue.SimpleQueue()
        self._answers: Lines = queue.SimpleQueue()
        self._errors = bytearray()
        # Each pipe has a thread: the program may block on any of them while we wait for another.
        self._threads = [
            threading.Thread(target=_talk, args=(self.popen, self._requests, self._answers), daemon=True),
            threading.Thread(target=_listen, args=(self.popen, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._finalizer = weakref.finalize(self, _end, self.popen, self._requests, self._threads)

    def exchange(self, request: bytes, limit: float) -> bytes:
        """Write a line, if it is not empty, and return the line that comes back."""
        self._requests.put(request)
        try:
            line = self._answers.get(timeout=limit)
        except queue.Empty:
            self.kill()
            raise WorkerHung(f"no answer within {limit:g} seconds{self._shown_errors()}") from None
        if not line or not line.endswith(b"\n"):
            status = self._status()
            self.kill()
            raise WorkerDied(f"no complete answer, and the process {status}{self._shown_errors()}")
        return line

    def leave(self) -> None:
        """End the input of the program, and give it some time to end by itself."""
        self._requests.put(None)
        with contextlib.suppress(TimeoutExpired):
            self.popen.wait(SECONDS_TO_END)

    def kill(self) -> None:
        """End the program, and everything that it started, if it still runs."""
        self._finalizer()

    def _status(self) -> str:
        try:
            status = self.popen.wait(SECONDS_TO_END)
        except TimeoutExpired:
            return "did not end"
        if status >= 0:
            return f"ended with status {status}"
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"

    def _shown_errors(self) -> str:
        lines = bytes(self._errors).decode(errors="replace").strip()
        return f"; the end of its standard error:\n{lines}" if lines else ""


def serve(prepare: Callable[[], tuple[Handshake, Implementation]]) -> None:
    """Be the process: answer to the cases on standard input until it ends.

    Parameters
    ----------
    prepare : callable
        Imports what the implementation needs and returns the handshake and the implementation.
        What the two print goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "wb")
    # Frameworks print to standard output, also from C, and would print into the answers.
    os.dup2(2, 1)
    handshake, run = prepare()
    _write(answers, {"protocol": PROTOCOL, **asdict(handshake)})
    for request in sys.stdin.buffer:
        case = encoding.case_from_json(encoding.from_line(request))
        _write(answers, {"id": case.id, **_outcome_to_json(run, case)})


def _write(answers: BinaryIO, message: encoding.Json) -> None:
    answers.write(encoding.to_line(message))
    answers.flush()


def _outcome_to_json(run: Implementation, case: Case) -> encoding.Json:
    try:
        return {"trajectory": encoding.trajectory_to_json(run(case))}
    except Unsupported as reason:
        return {"unsupported": str(reason)}
    except ImplementationError as error:
        return {"error": {"type": error.kind, "message": error.message, "call": error.call}}
    except Exception as error:
        return {"error": {"type": type(error).__name__, "message": str(error), "call": None}}


def _outcome(case: Case, line: bytes) -> list[Record]:
    """Return or raise what an answer says, if it is an answer to the case at all."""
    try:
        answer = encoding.from_line(line)
        if answer.pop("id", None) != case.id or len(answer) != 1:
            raise ValueError(f"the keys must be 'id', here {case.id!r}, and one of {', '.join(OUTCOMES)}")
        outcome, content = answer.popitem()
        if outcome == "trajectory":
            trajectory = encoding.trajectory_from_json(content)
            _check_shapes(case, trajectory)
            return trajectory
        if outcome == "unsupported":
            raise Unsupported(text("unsupported", content))
        if outcome == "error":
            raise _error(content)
        raise ValueError(f"{outcome!r} must be one of {', '.join(OUTCOMES)}")
    except (TypeError, ValueError) as error:
        raise InvalidAnswer(f"the answer to case {case.id}: {error}") from error


def _error(content: Any) -> ImplementationError:
    if not isinstance(content, dict) or set(content) != {"type", "message", "call"}:
        reject_value("error", content, "an object with the keys type, message and call")
    call = content["call"]
    index = None if call is None else integer_at_least("error.call", call, 0)
    return ImplementationError(text("error.type", content["type"]), str(content["message"]), index)


def _check_shapes(case: Case, trajectory: list[Record]) -> None:
    expected = [[variable.shape for variable in case.variables]] * (len(case.gradients) + case.finalize)
    found = [[variable.shape for variable in record["variables"]] for record in trajectory]
    if found != expected:
        reject_value("the shapes of the variables in all records", found, f"{expected}")


def _handshake(line: bytes) -> Handshake:
    try:
        document = encoding.from_line(line)
        if document.pop("protocol", None) != PROTOCOL:
            raise ValueError(f"'protocol' must be {PROTOCOL}")
        text("name", document.get("name"))
        text("version", document.get("version"))
        return Handshake(**document)
    except (TypeError, ValueError) as error:
        raise InvalidAnswer(f"the handshake: {error}") from error


def _talk(process: Program, requests: Lines, answers: Lines) -> None:
    """Write requests and read answers, in turn, until there are no more requests."""
    assert process.stdin is not None
    assert process.stdout is not None
    for request in iter(requests.get, None):
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request)
            process.stdin.flush()
        answers.put(process.stdout.readline(LONGEST_LINE))
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _listen(process: Program, errors: bytearray) -> None:
    """Read standard error to its end and keep the last of it."""
    assert process.stderr is not None
    while chunk := os.read(process.stderr.fileno(), 65536):
        errors.extend(chunk)
        del errors[:-SHOWN_OF_STANDARD_ERROR]


def _end(process: Program, requests: Lines, threads: list[threading.Thread]) -> None:
    """End a process that may still run, and free all that belongs to it."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            # macOS refuses for a process that ended just now.
            with contextlib.suppress(PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    requests.put(None)
    for thread in threads:
        thread.join(SECONDS_TO_END)
    # A pipe that somebody else still holds open would block its thread, and closing it this one.
    if not any(thread.is_alive() for thread in threads):
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
