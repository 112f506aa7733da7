"""The state of the simulated device: memory, streams, events, code, graphs, and faults."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_kernels.selfcheck.ptx.driver.errors import (
    CAPTURE_INVALIDATED,
    CAPTURE_UNSUPPORTED,
    INVALID_HANDLE,
    Refused,
)
from numba_kernels.selfcheck.ptx.driver.queue import LEGACY, Queue, Work
from numba_kernels.selfcheck.ptx.faults import Fault
from numba_kernels.selfcheck.ptx.machine.code import Code
from numba_kernels.selfcheck.ptx.machine.launch import Launch
from numba_kernels.selfcheck.ptx.machine.memory import BASE, FRESH, WRITTEN, Memory

if TYPE_CHECKING:
    from numba_kernels.selfcheck.ptx.checks.dumping import Dump

LEGACY_HANDLE, PER_THREAD_HANDLE = 1, 2

PROCESSORS = 1
"""The number of multiprocessors of the device: as small as possible, so that each block has several
chunks."""

COMPUTE_CAPABILITY = (9, 0)


@dataclass
class Options:
    """Options for the execution of kernels.

    Attributes
    ----------
    seed : int
        The seed of everything that is drawn at random.
    in_random_order : bool
        Whether warps and blocks overtake each other.
    finds_races : bool
        Whether the detection of races is on.
    """

    seed: int = 0
    in_random_order: bool = False
    finds_races: bool = True


@dataclass
class Capture:
    """A capture of a stream in progress: the work to do at each replay."""

    steps: list[Callable[[], Callable[[], None]]] = field(default_factory=list)
    is_lost: bool = False


class Device:
    """The whole state of a driver.

    Attributes
    ----------
    memory : Memory
        The memory of the device.
    codes : dict of str to Code
        The loaded code, by the symbol of the kernel.
    names : dict of str to str
        The name of each kernel, by its symbol.
    replaced : dict of str to Code
        For mutants: code that is executed in place of the loaded code, by the name of the kernel.
    faults : list of Fault
        The faults of kernels and of the host since the last call of `take_faults`.
    launches : int
        Number of kernels executed.
    dump : Dump or None
        The folder that launches are written into.
    """

    def __init__(self) -> None:
        self.options = Options()
        self.memory = Memory()
        self.codes: dict[str, Code] = {}
        self.names: dict[str, str] = {}
        self.replaced: dict[str, Code] = {}
        self.texts: dict[str, Code] = {}
        self.faults: list[Exception] = []
        self.launches = 0
        self.dump: Dump | None = None
        self.last_message: Any = None
        self.pinned: dict[int, tuple[int, Any]] = {}
        self.events: dict[int, Work | None] = {}
        self.objects: dict[int, Any] = {}
        self.captures: dict[int, Capture] = {}
        self._handles = itertools.count(0x5EED_0000_1000, 16)
        self.queue = Queue(np.random.default_rng(0))

    def fresh_handle(self, what: Any = None) -> int:
        """Return a new handle for an object."""
        handle = next(self._handles)
        self.objects[handle] = what
        return handle

    def object(self, handle: Any, kind: type[Any]) -> Any:
        """Return the object of a handle.

        Raises
        ------
        Refused
            If the object is of another kind.
        """
        found = self.objects.get(int(handle or 0))
        if not isinstance(found, kind):
            raise Refused(INVALID_HANDLE)
        return found

    def take_faults(self) -> list[Exception]:
        """Return the faults since the last call, and forget them."""
        found, self.faults = self.faults, []
        return found

    def stream(self, handle: Any) -> int:
        """Return the number by which the queue knows a stream."""
        number = int(handle or 0)
        if number == LEGACY_HANDLE:
            return LEGACY
        # A blocking stream, like the streams that a program makes.
        if number == PER_THREAD_HANDLE and not self.queue.knows(number):
            self.queue.add_stream(number, is_blocking=True)
        if not self.queue.knows(number):
            raise Refused(INVALID_HANDLE)
        return number

    def is_captured(self, stream: int) -> bool:
        """Whether work on a stream becomes part of a graph; refuses work that a capture forbids.

        Raises
        ------
        Refused
            For the legacy default stream, while a stream that would have to wait for it is captured.
        """
        if stream in self.captures:
            return True
        if stream == LEGACY and self.captures:
            self.lose_captures()
            raise Refused(CAPTURE_UNSUPPORTED)
        return False

    def refuse_in_capture(self) -> None:
        """Refuse to wait, allocate or free during a capture; the attempt invalidates the capture."""
        if self.captures:
            self.lose_captures()
            raise Refused(CAPTURE_UNSUPPORTED)

    def lose_captures(self) -> None:
        """Make all captures end in an error."""
        for capture in self.captures.values():
            capture.is_lost = True

    def put(self, handle: Any, make: Callable[[], Callable[[], None]]) -> Work | None:
        """Put work on a stream, or into the graph that is captured there.

        Parameters
        ----------
        handle : int
            The handle of the stream.
        make : callable
            Returns the work; it is called when the work is put on the stream, and at each replay of a graph.
        """
        stream = self.stream(handle)
        if self.is_captured(stream):
            if self.captures[stream].is_lost:
                raise Refused(CAPTURE_INVALIDATED)
            self.captures[stream].steps.append(make)
            return None
        return self.queue.put(stream, make())

    def copy_in(self, address: int, data: bytes) -> None:
        """Copy bytes of the host into the memory of the device."""
        where = self.memory.region(address, len(data), "a copy to the device")
        self.memory.bytes[where] = np.frombuffer(data, np.uint8)
        self.memory.state[where] = WRITTEN

    def copy_out(self, place: int, address: int, size: int) -> None:
        """Copy bytes of the device into memory of the host."""
        where = self.memory.region(address, size, "a copy from the device")
        if (self.memory.state[where] == FRESH).any():
            first = int(np.flatnonzero(self.memory.state[where] == FRESH)[0])
            raise Fault(
                "uninitialised", f"a copy to the host of {size} bytes: byte {first} was never written"
            )
        ctypes.memmove(place, self.memory.bytes[where].tobytes(), size)

    def copy_within(self, target: int, source: int, size: int) -> None:
        """Copy from memory of the device to memory of the device."""
        to = self.memory.region(target, size, "a copy on the device")
        where = self.memory.region(source, size, "a copy on the device")
        self.memory.bytes[to] = self.memory.bytes[where].copy()
        self.memory.state[to] = self.memory.state[where].copy()

    def fill(self, address: int, value: int, size: int) -> None:
        """Fill memory with one byte."""
        where = self.memory.region(address, size, "memset")
        self.memory.bytes[where], self.memory.state[where] = value, WRITTEN

    def is_on_device(self, address: int) -> bool:
        """Whether an address is in the memory of the device."""
        return BASE <= address < BASE + self.memory.bytes.size

    def is_pinned(self, address: int) -> bool:
        """Whether memory of the host is page-locked, so that a copy from it may happen later."""
        return any(start <= address < start + max(size, 1) for start, (size, _) in self.pinned.items())

    def load(self, text: str) -> Code:
        """Return the code of a PTX text; equal texts give the same object."""
        if text not in self.texts:
            code = Code(text)
            self.texts[text] = code
            self.codes[code.kernel.entry] = code
        return self.texts[text]

    def launch(self, code: Code, blocks: int, threads: int, arguments: bytes) -> None:
        """Execute a kernel."""
        self.launches += 1
        options = self.options
        name = self.names.get(code.kernel.entry, "")
        code = self.replaced.get(name, code)
        seed = [options.seed, self.launches] if options.in_random_order else options.seed
        before = None if self.dump is None else self.dump.before(self.memory)
        Launch(
            code, self.memory, blocks, threads, arguments, seed, options.in_random_order, options.finds_races
        ).run()
        if self.dump is not None and before is not None:
            self.dump.after(before, name, code, (blocks, threads), arguments, self.memory)
