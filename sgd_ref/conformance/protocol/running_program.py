"""One run of a program: lines into its standard input, lines out of its standard output."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Literal, NoReturn

from sgd_ref.conformance.protocol.failures import (
    InvalidAnswer,
    WorkerDied,
    WorkerFailed,
    WorkerHung,
    showable,
)

Requests = queue.SimpleQueue[bytes | None]

CHUNK = 65536
SHOWN_OF_STANDARD_ERROR = 4000
SHOWN_OF_A_LINE = 100
SECONDS_TO_END = 2.0


@dataclass(frozen=True)
class _Received:
    """A message from standard output.

    Attributes
    ----------
    content : bytes
        A line without its end; only its beginning if the output ended or the line is too long.
    what : str
        "line"; "surplus": a line that was not asked for; "overlong"; "end" of the output.
    """

    content: bytes
    what: Literal["line", "surplus", "overlong", "end"]


@dataclass
class _Inbox:
    """The messages of a program that have not been taken yet.

    Attributes
    ----------
    longest : int
        The greatest length of the next line, in bytes.
    received : queue of _Received
        At most two messages: one that was asked for, and one that was not.
    begun : bytearray
        The beginning of a line whose end has not arrived.
    """

    longest: int
    received: queue.SimpleQueue[_Received] = field(default_factory=queue.SimpleQueue)
    begun: bytearray = field(default_factory=bytearray)


class RunningProgram:
    """A program that runs, with its pipes.

    Each pipe has a thread: the program may block on any pipe while the kit waits for another. Output that was
    not asked for stays in the pipe, so that a flood of output costs neither memory nor time.

    Parameters
    ----------
    command : list of str
        The program and its arguments.
    environment : mapping of str to str or None
        Its environment variables; those of this process if None.
    longest : int
        The greatest length of its first line, in bytes.

    Raises
    ------
    OSError
        If there is no such program, or it cannot be executed.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str] | None, longest: int) -> None:
        # A session of its own, so that the processes that the program starts can be ended with it.
        self._popen = Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
        )
        self._requests: Requests = queue.SimpleQueue()
        self._inbox = _Inbox(longest)
        self._unasked: _Received | None = None
        self._errors = bytearray()
        self._threads = [
            threading.Thread(target=_write, args=(self._popen, self._requests), daemon=True),
            threading.Thread(target=_read, args=(self._popen, self._inbox), daemon=True),
            threading.Thread(target=_listen, args=(self._popen, self._errors), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._finalizer = weakref.finalize(self, _end, self._popen, self._requests, self._threads)

    def has_left(self) -> bool:
        """Whether the program ended, or closed its output, after it wrote nothing but answers."""
        unasked = self._first_unasked()
        return self._popen.poll() is not None if unasked is None else unasked == _Received(b"", "end")

    def exchange(self, request: bytes, seconds: float, longest: int) -> bytes:
        """Write a line and return the line that comes back, of at most `longest` bytes.

        Raises
        ------
        WorkerFailed
            If no line comes, or more than one line, or something that is no line. The program is ended then.
        """
        unasked = self._first_unasked()
        if unasked is not None:
            self._fail(InvalidAnswer, f"it wrote what no case had asked for: {_beginning(unasked.content)}")
        self._inbox.longest = longest
        self._requests.put(request)
        return self.receive(seconds)

    def receive(self, seconds: float) -> bytes:
        """Return the next line, as `exchange` does."""
        try:
            received = self._inbox.received.get(timeout=seconds)
        except queue.Empty:
            begun = bytes(self._inbox.begun)
            half = f", only {len(begun)} bytes without a newline: {_beginning(begun)}" if begun else ""
            self._fail(WorkerHung, f"no answer within {seconds:g} seconds{half}")
        beginning = _beginning(received.content)
        if received.what == "surplus":
            self._fail(InvalidAnswer, f"it wrote more than one line: {beginning}, ...")
        if received.what == "overlong":
            self._fail(
                InvalidAnswer, f"it wrote more than {self._inbox.longest} bytes in a line: {beginning}"
            )
        if received.what == "end":
            half = f", only {beginning}" if received.content else ""
            self._fail(WorkerDied, f"no complete answer{half}, and the process {self._status()}")
        return received.content

    def leave(self) -> None:
        """End the input of the program, and give it some time to end by itself."""
        self._requests.put(None)
        with contextlib.suppress(TimeoutExpired):
            self._popen.wait(SECONDS_TO_END)

    def kill(self) -> None:
        """End the program and all processes that it started, if it still runs."""
        self._finalizer()

    def _first_unasked(self) -> _Received | None:
        """Return the output since the last answer was taken, and keep it."""
        if self._unasked is None:
            # The last output of a program that has ended may still be on its way.
            patience = SECONDS_TO_END if self._popen.poll() is not None else 0.0
            with contextlib.suppress(queue.Empty):
                self._unasked = self._inbox.received.get(patience > 0, patience)
        return self._unasked

    def _fail(self, kind: type[WorkerFailed], message: str) -> NoReturn:
        self.kill()
        lines = showable(bytes(self._errors).decode(errors="replace").strip())
        raise kind(message + (f"; the end of its standard error:\n{lines}" if lines else ""))

    def _status(self) -> str:
        try:
            status = self._popen.wait(SECONDS_TO_END)
        except TimeoutExpired:
            return "did not end"
        if status >= 0:
            return f"ended with status {status}"
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"


def _beginning(content: bytes) -> str:
    return repr(content[:SHOWN_OF_A_LINE]) + ("..." if len(content) > SHOWN_OF_A_LINE else "")


def _write(process: Popen[bytes], requests: Requests) -> None:
    """Write requests until there are no more."""
    assert process.stdin is not None
    # The end of its output has already shown that the program has ended.
    with contextlib.suppress(BrokenPipeError):
        for request in iter(requests.get, None):
            process.stdin.write(request)
            process.stdin.flush()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _read(process: Popen[bytes], inbox: _Inbox) -> None:
    """Read standard output line by line, until it ends or holds more than was asked for."""
    assert process.stdout is not None
    while chunk := os.read(process.stdout.fileno(), CHUNK):
        inbox.begun += chunk
        line, newline, rest = inbox.begun.partition(b"\n") if b"\n" in chunk else (inbox.begun, b"", b"")
        if len(line) > inbox.longest:
            inbox.received.put(_Received(bytes(line), "overlong"))
            return
        if newline:
            is_surplus = bool(rest) or not inbox.received.empty()
            inbox.begun = bytearray(rest)
            inbox.received.put(_Received(bytes(line), "surplus" if is_surplus else "line"))
            if is_surplus:
                return
    inbox.received.put(_Received(bytes(inbox.begun), "end"))


def _listen(process: Popen[bytes], errors: bytearray) -> None:
    """Read standard error to its end and keep the last of it."""
    assert process.stderr is not None
    while chunk := os.read(process.stderr.fileno(), CHUNK):
        errors.extend(chunk)
        del errors[:-SHOWN_OF_STANDARD_ERROR]


def _end(process: Popen[bytes], requests: Requests, threads: list[threading.Thread]) -> None:
    """End a process that may still run, and free all of its resources."""
    if process.poll() is None:
        if sys.platform == "win32":
            process.kill()
        else:
            # macOS refuses this for a process that has just ended.
            with contextlib.suppress(PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    requests.put(None)
    for thread in threads:
        thread.join(SECONDS_TO_END)
    # A pipe that another process still holds open would block its thread, and closing it would block this
    # one.
    if not any(thread.is_alive() for thread in threads):
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
