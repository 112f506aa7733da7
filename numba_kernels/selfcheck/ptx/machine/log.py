"""The log of the memory accesses of a launch, for the detection of races afterwards."""

from __future__ import annotations

from typing import NamedTuple

from numba_kernels.selfcheck.ptx.program import Instruction
from sgd_ref.arithmetic.formats import Array


class Access(NamedTuple):
    """One execution of an instruction that accesses memory, by some threads.

    Attributes
    ----------
    instruction : Instruction
        The executed instruction.
    kind : int
        0 read, 1 wrote, 2 added atomically.
    addresses : ndarray of uint64
        One address for each thread, or one for all.
    size : int
        The size of the access in bytes.
    threads : ndarray or None
        The threads; None for all.
    values : tuple of ndarray
        The written values, for each thread or for all.
    step : int
        The time of the access: the number of the event in the launch.
    """

    instruction: Instruction
    kind: int
    addresses: Array
    size: int
    threads: Array | None
    values: tuple[Array, ...]
    step: int


class Log:
    """All accesses, fences and barriers of a launch.

    Parameters
    ----------
    is_kept : bool
        Whether anything is kept.
    count : int
        The number of threads of the launch.

    Attributes
    ----------
    step : int
        The number of the last event; each access, fence and barrier is an event.
    in_global, in_shared : list of Access
        The accesses in the order in which they happened.
    fences, barriers : list of tuple
        For each fence or barrier, its step, and the threads that executed the fence or passed the barrier.
    """

    def __init__(self, is_kept: bool, count: int) -> None:
        self.is_kept, self.count = is_kept, count
        self.step = 0
        self.in_global: list[Access] = []
        self.in_shared: list[Access] = []
        self.fences: list[tuple[int, Array]] = []
        self.barriers: list[tuple[int, Array]] = []

    def add(
        self,
        instruction: Instruction,
        is_global: bool,
        kind: int,
        addresses: Array,
        size: int,
        threads: Array | None,
        values: tuple[Array, ...] = (),
    ) -> None:
        """Record an access."""
        if self.is_kept:
            self.step += 1
            accesses = self.in_global if is_global else self.in_shared
            accesses.append(Access(instruction, kind, addresses, size, threads, values, self.step))

    def fence(self, threads: Array) -> None:
        """Record a fence."""
        if self.is_kept:
            self.step += 1
            self.fences.append((self.step, threads))

    def pass_barrier(self, threads: Array) -> None:
        """Record that threads were released from a barrier."""
        if self.is_kept:
            self.step += 1
            self.barriers.append((self.step, threads))
