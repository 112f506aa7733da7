"""Implementations in a process of their own, in any language: the protocol, and the kit's side of it.

A program speaks the protocol over its standard input and output, in lines of JSON that end with a newline, in
UTF-8. One process answers many cases.

**Start.** It first writes its handshake, one line of at most 64 KiB:
``{"protocol": 1, "name": "my_sgd", "version": "1.0", "language": "C", "dtypes": ["float32"],
"features": {"update": ["plain", "momentum"]}, "versions": {"libm": "2.39"}}``. The first three are
required. ``dtypes`` (of the variables) and ``features`` (values of the axes of `axes`) are claims: each
claimed value must be graded at least once, and a key that is left out claims nothing. ``versions`` has the
versions of the libraries that the program is built on. The module `handshake` has all keys, and the versions
of the protocol that introduced them.

**Run.** It reads a case, one line in the form of the module `encoding`, and writes one line: the identity of
the case and one of three outcomes.

- ``{"id": ..., "trajectory": [...]}``, a record for each call, and one more after finalisation;
- ``{"id": ..., "unsupported": "why"}``, for a feature that it does not offer;
- ``{"id": ..., "error": {"type": "ValueError", "message": "...", "call": 3}}``, if the optimizer refused or
  broke; ``call`` counts from 0, and is null if the error belongs to no call.

Keys come in any order, each once, and no others. A line may be as long as 1 MiB and 100 bytes for each
element (and each variable) of each record. The program must flush each line, since the next case comes only
after the answer.

**Stop.** The end of its standard input says that there are no more cases; there is no message for this. The
program then has two seconds to end by itself. After that it is killed, with all processes that it started.

**Failures.** A failure gives the case the verdict "error", and the next case goes to a fresh process.
Failures are: no answer in time, half a line, the end of the process, more than one line, a line that is too
long, a line that is no JSON, the identity of another case, and another number of variables, or other shapes
or dtypes. Output between two answers that arrives late fails the case after it. A process that ends after its
answer is started again. Without a valid handshake from the first process, nothing is run at all.

Standard error is free for anything; its last lines are shown if something fails. `Worker` is the kit's side
of the pipes, and `serve` is the other side for implementations in Python.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import BinaryIO, Self

from sgd_ref.conformance.catalogue.case import Case, Implementation, Record, Unsupported
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.protocol.answer import longest_answer, trajectory_of
from sgd_ref.conformance.protocol.digest import digested
from sgd_ref.conformance.protocol.failures import (
    ImplementationError,
    InvalidAnswer,
    WorkerDied,
    WorkerFailed,
    WorkerHung,
)
from sgd_ref.conformance.protocol.handshake import (
    LONGEST_HANDSHAKE,
    Handshake,
    handshake_from_line,
    handshake_to_json,
)
from sgd_ref.conformance.protocol.running_program import RunningProgram
from sgd_ref.validation import positive_real, reject_type

__all__ = [
    "Handshake",
    "ImplementationError",
    "InvalidAnswer",
    "Worker",
    "WorkerDied",
    "WorkerFailed",
    "WorkerHung",
    "serve",
]


class Worker:
    """An implementation in a process of its own: call it with a case, get the trajectory.

    The process is started when it is first needed, and again after it failed. It gets one case at a
    time: an object of this class serves one thread.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    environment : mapping of str to str, optional
        Its environment variables; by default those of this process.
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
    sgd_ref.conformance.catalogue.case.Unsupported: everything
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
        self._handshake: Handshake | None = None
        self._program: RunningProgram | None = None

    @property
    def handshake(self) -> Handshake:
        """The handshake of the implementation; starts the process if there is no handshake yet.

        Raises
        ------
        OSError
            If there is no such program, or it cannot be executed.
        WorkerFailed
            If its first line is no handshake.
        """
        if self._handshake is None:
            self._running()
        assert self._handshake is not None
        return self._handshake

    def __call__(self, case: Case) -> list[Record]:
        """Return the trajectory that the implementation answers with.

        Raises
        ------
        Unsupported
            If the implementation does not offer a feature that the case needs.
        ImplementationError
            If the optimizer refused or broke.
        WorkerFailed
            If the process died, hung or wrote something other than an answer; it is started again for the
            next case.
        """
        program = self._running()
        if case.made is not None and not self.handshake.digests:
            raise Unsupported("its handshake does not say that it answers to big cases, with digests")
        request = encoding.to_line(encoding.case_to_json(case))
        try:
            return trajectory_of(case, program.exchange(request, self._time_limit, longest_answer(case)))
        except (Unsupported, ImplementationError):
            raise
        except BaseException:
            # Anything left in the pipes would be taken for the answer to the next case.
            self._kill()
            raise

    def close(self) -> None:
        """End the process, if it runs."""
        if self._program is not None:
            self._program.leave()
        self._kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _running(self) -> RunningProgram:
        if self._program is not None and self._program.has_left():
            self._kill()
        if self._program is None:
            self._program = RunningProgram(self._command, self._environment, LONGEST_HANDSHAKE)
            try:
                self._handshake = handshake_from_line(self._program.receive(self._start_limit))
            except BaseException:
                self._kill()
                raise
        return self._program

    def _kill(self) -> None:
        if self._program is not None:
            self._program.kill()
            self._program = None


def serve(prepare: Callable[[], tuple[Handshake, Implementation]]) -> None:
    """Answer the cases on standard input, as the process of an implementation, until the input ends.

    Parameters
    ----------
    prepare : callable
        Imports the framework, and returns the handshake and the implementation. Anything that they print goes
        to standard error.
    """
    answers = os.fdopen(os.dup(1), "wb")
    # Frameworks print to standard output, also from C, which would get into the answers.
    os.dup2(2, 1)
    handshake, run = prepare()
    _write(answers, handshake_to_json(replace(handshake, digests=True)))
    for request in sys.stdin.buffer:
        case = encoding.case_from_json(encoding.from_line(request))
        _write(answers, {"id": case.id, **_outcome_to_json(run, case)})


def _write(answers: BinaryIO, message: encoding.Json) -> None:
    answers.write(encoding.to_line(message))
    answers.flush()


def _outcome_to_json(run: Implementation, case: Case) -> encoding.Json:
    try:
        trajectory = run(case)
        if case.made is not None:
            trajectory = digested(trajectory)
        return {"trajectory": encoding.trajectory_to_json(trajectory)}
    except Unsupported as reason:
        return {"unsupported": str(reason)}
    except ImplementationError as error:
        return {"error": {"type": error.kind, "message": error.message, "call": error.call}}
    except Exception as error:
        return {"error": {"type": type(error).__name__, "message": str(error), "call": None}}
