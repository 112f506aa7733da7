"""One launch: threads that execute basic blocks together, in a random order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.faults import Fault
from numba_kernels.selfcheck.ptx.machine.barriers import Barriers
from numba_kernels.selfcheck.ptx.machine.code import Code
from numba_kernels.selfcheck.ptx.machine.frame import Frame
from numba_kernels.selfcheck.ptx.machine.log import Log
from numba_kernels.selfcheck.ptx.machine.memory import Memory
from numba_kernels.selfcheck.ptx.machine.races import find_race
from numba_kernels.selfcheck.ptx.machine.registers import Registers
from numba_kernels.selfcheck.ptx.machine.shared_memory import SharedMemory
from numba_kernels.selfcheck.ptx.program import Instruction
from sgd_ref.arithmetic.formats import Array

WARP = 32

MOST_STEPS = 2_000_000
"""The largest number of executions of basic blocks in a launch, each for all threads that are at the
block."""


class Launch:
    """A kernel that is executed once by a grid of threads.

    Parameters
    ----------
    code : Code
        The kernel.
    memory : Memory
        The memory of the device.
    blocks, threads : int
        The number of blocks, and of threads in each block.
    arguments : bytes
        The arguments of the kernel, each at the offset of its parameter.
    seed : int or sequence of int
        The seed of the content of registers and shared memory, and of the order.
    in_random_order : bool
        Whether warps and blocks overtake each other. Otherwise the threads that are furthest behind always go
        first, which is quicker.
    finds_races : bool
        Whether accesses are compared after the launch.
    """

    def __init__(
        self,
        code: Code,
        memory: Memory,
        blocks: int,
        threads: int,
        arguments: bytes,
        seed: Any = 0,
        in_random_order: bool = False,
        finds_races: bool = True,
    ) -> None:
        kernel = code.kernel
        self.code, self.memory, self.arguments = code, memory, arguments
        self.blocks, self.threads, self.count = blocks, threads, blocks * threads
        self.all_threads = np.arange(self.count)
        self.generator = np.random.default_rng(seed)
        self.shared = SharedMemory(blocks, kernel.shared_bytes, kernel.shared.values(), self.generator)
        self.log = Log(finds_races, self.count)
        self._registers = Registers(kernel, self.count, self.generator)
        self._barriers = Barriers(blocks, threads)
        self._in_random_order = in_random_order
        self._waiting: dict[int, list[Array | None]] = {0: [None]}

    def run(self) -> None:
        """Execute the kernel.

        Raises
        ------
        Fault
            If its behaviour is undefined on a device.
        """
        with np.errstate(all="ignore"):
            steps = 0
            while self._waiting:
                steps += 1
                if steps > MOST_STEPS:
                    raise Fault("limit", f"{self.name} did not end in {MOST_STEPS} steps")
                self._step()
            self._barriers.require_nobody_waits()
        if self.log.is_kept:
            find_race(self.log, self.threads, self.name)

    @property
    def name(self) -> str:
        """The symbol of the kernel."""
        return self.code.kernel.entry

    def described(self, frame: Frame, instruction: Instruction) -> Callable[[int], str]:
        """Return a function that describes an instruction and the thread at some position of the frame."""

        def describe(place: int) -> str:
            thread = int(frame.threads[place])
            block, within = divmod(thread, self.threads)
            return f"{self.name} line {instruction.line}, block {block} thread {within}, {instruction}"

        return describe

    def _step(self) -> None:
        index, chosen = self._next()
        body, executed = self.code.bodies[index], self.code.executed
        frame = Frame(self, chosen)
        values = frame.values
        values.update(body.constants)
        for name in body.specials:
            values[name] = frame.special(name)
        self._registers.read(body.inputs, chosen, values)
        for step in body.steps:
            step(frame)
        self._registers.write(body.outputs, chosen, values)
        executed[index] += frame.count
        self._go_on(index, frame)

    def _next(self) -> tuple[int, Array | None]:
        """Return the next basic block to execute, and the threads that are there."""
        if not self._in_random_order:
            index = min(self._waiting)
            return index, self._together(self._waiting.pop(index))
        generator = self.generator
        index = min(self._waiting)
        if len(self._waiting) > 1 and generator.random() < 0.3:
            index = int(generator.choice(sorted(self._waiting)))
        chosen = self._together(self._waiting.pop(index))
        if self.count > WARP and generator.random() < 0.15:
            threads = self.all_threads if chosen is None else chosen
            # The choice is among the warps of one block or of all blocks; whole blocks may be chosen, too.
            unit = WARP if generator.random() < 0.5 else self.threads
            units = threads // unit
            some = generator.permutation(np.unique(units))
            taken = np.isin(units, some[: max(1, len(some) // 2)])
            if not taken.all():
                self._add(index, threads[~taken])
                chosen = threads[taken]
        return index, chosen

    def _together(self, parts: list[Array | None]) -> Array | None:
        if parts[0] is None:
            return None
        threads = np.concatenate(parts) if len(parts) > 1 else parts[0]  # type: ignore[arg-type]
        return None if len(threads) == self.count else threads

    def _add(self, index: int, threads: Array | None) -> None:
        self._waiting.setdefault(index, []).append(threads)

    def _go_on(self, index: int, frame: Frame) -> None:
        last, following = self.code.bodies[index].last, self.code.following[index]
        if last is None or last.opcode == "bra.uni" or (last.opcode == "bra" and not last.guard):
            self._add(following[0], frame.chosen)
        elif last.opcode == "bra":
            self._branch(frame, last.guard, following)
        elif last.opcode == "bar.sync":
            self._after_barrier(self._barriers.arrive(frame, index, last), following[0])
        else:
            self._barriers.leave(frame)

    def _after_barrier(self, threads: Array | None, index: int) -> None:
        if threads is None:
            return
        self.log.pass_barrier(threads)
        self._add(index, None if len(threads) == self.count else threads)

    def _branch(self, frame: Frame, guard: str, following: list[int]) -> None:
        taken = frame.values[guard.lstrip("!")]
        if guard.startswith("!"):
            taken = ~taken
        target, otherwise = following
        count = int(np.count_nonzero(taken))
        if count == len(taken):
            self._add(target, frame.chosen)
        elif count == 0:
            self._add(otherwise, frame.chosen)
        else:
            self._add(target, frame.threads[taken])
            self._add(otherwise, frame.threads[~taken])
