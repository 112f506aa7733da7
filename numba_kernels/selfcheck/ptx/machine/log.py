"""What a launch did in memory, kept for the detection of races after it."""

from __future__ import annotations

from typing import NamedTuple

from numba_kernels.selfcheck.ptx.program import Instruction
from sgd_ref.arithmetic.formats import Array


class Access(NamedTuple):
    """One instruction of some threads that reached memory.

    Attributes
    ----------
    instruction : Instruction
        What they executed.
    kind : int
        0 read, 1 wrote, 2 added atomically.
    addresses : ndarray of uint64
        For each thread one, or one for all.
    size : int
        In bytes.
    threads : ndarray or None
        The threads; None for all.
    values : tuple of ndarray
        What was written, for each thread or for all.
    step : int
        When: the number of the event in the launch.
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
        Number of threads of the launch.

    Attributes
    ----------
    step : int
        The number of the last event: accesses, fences and barriers have one each.
    in_global, in_shared : list of Access
        In the order in which they happened.
    fences, barriers : list of tuple
        The step, and the threads that executed a fence, or that passed a barrier.
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
        """Keep an access."""
        if self.is_kept:
            self.step += 1
            accesses = self.in_global if is_global else self.in_shared
            accesses.append(Access(instruction, kind, addresses, size, threads, values, self.step))

    def fence(self, threads: Array) -> None:
        """Keep a fence."""
        if self.is_kept:
            self.step += 1
            self.fences.append((self.step, threads))

    def pass_barrier(self, threads: Array) -> None:
        """Keep that threads were released from a barrier."""
        if self.is_kept:
            self.step += 1
            self.barriers.append((self.step, threads))
