"""Instructions that access memory: loads, stores, atomic additions, fences and parameters."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.machine.access_kinds import ATOMIC_ADD, READ, WRITE
from numba_kernels.selfcheck.ptx.machine.frame import Frame
from numba_kernels.selfcheck.ptx.machine.memory import FRESH, WRITTEN
from numba_kernels.selfcheck.ptx.machine.operands import Address, Operand, address, operand, vector
from numba_kernels.selfcheck.ptx.opcodes.operation import DTYPES
from numba_kernels.selfcheck.ptx.program import Instruction, Kernel
from sgd_ref.arithmetic.formats import Array

Keep = Callable[[Operand], Operand]
Step = Callable[[Frame], None]

ACCESS = re.compile(
    r"(?:ld|st)\.(?P<space>global|shared)(?:\.v(?P<lanes>[24]))?\.(?P<type>[busf](?:16|32|64))"
)

ATOMIC = re.compile(r"(?P<kind>atom|red)\.(?P<space>global|shared)\.add\.u64")

FENCES = ("membar.gl", "membar.cta", "membar.sys")


def _known(pattern: re.Pattern[str], instruction: Instruction) -> re.Match[str]:
    match = pattern.fullmatch(instruction.opcode)
    if not match:
        raise NotUnderstood(
            f"line {instruction.line}: the opcode {instruction.opcode} is not known: {instruction}"
        )
    return match


def _addresses(frame: Frame, place: Address) -> Array:
    if not place.base:
        return np.array([place.offset])
    return np.asarray(frame.values[place.base] + place.offset)


def parameter(kernel: Kernel, instruction: Instruction, keep: Keep) -> Step:
    """Return the step of ``ld.param``."""
    target, source = instruction.operands
    name = source.strip("[] ")
    kept = kernel.dtype_of(target)
    if name not in kernel.parameters or kernel.parameters[name][1] != kept.itemsize:
        raise NotUnderstood(f"line {instruction.line}: {name} must be a parameter of {kept}: {instruction}")
    offset, size = kernel.parameters[name]

    def step(frame: Frame) -> None:
        frame.values[target] = np.frombuffer(frame.launch.arguments[offset : offset + size], kept)

    return step


def load(kernel: Kernel, instruction: Instruction, keep: Keep) -> Step:
    """Return the step of ``ld.global`` or ``ld.shared``."""
    match = _known(ACCESS, instruction)
    targets, place = vector(instruction.operands[0]), address(kernel, instruction, instruction.operands[1])
    dtype, lanes = DTYPES[match["type"]], int(match["lanes"] or 1)
    kept = [kernel.dtype_of(target) for target in targets]
    if len(targets) != lanes or any(wide.itemsize < dtype.itemsize for wide in kept):
        raise NotUnderstood(f"line {instruction.line}: registers must have room: {instruction}")
    size = dtype.itemsize * lanes
    per_place = min(size, 8) // dtype.itemsize
    is_global = match["space"] == "global"
    if not is_global and lanes > 1:
        raise NotUnderstood(f"line {instruction.line}: packets in shared memory are not known: {instruction}")

    def step(frame: Frame) -> None:
        addresses = _addresses(frame, place)
        launch = frame.launch
        if is_global:
            places = launch.memory.places(addresses, size, WRITTEN, launch.described(frame, instruction))
            launch.log.add(instruction, True, READ, addresses, size, frame.chosen)
            numbers = launch.memory.view(dtype)
            first = places * per_place if per_place > 1 else places
            read = [numbers[first + lane] if lane else numbers[first] for lane in range(lanes)]
        else:
            what = launch.described(frame, instruction)
            places = launch.shared.places(addresses, frame.blocks, size, WRITTEN, what)
            launch.log.add(instruction, False, READ, addresses, size, frame.chosen)
            read = [launch.shared.read(places, dtype)]
        for target, wide, got in zip(targets, kept, read, strict=True):
            frame.values[target] = got.astype(wide) if wide.itemsize != dtype.itemsize else got.view(wide)

    return step


def store(kernel: Kernel, instruction: Instruction, keep: Keep) -> Step:
    """Return the step of ``st.global`` or ``st.shared``."""
    match = _known(ACCESS, instruction)
    place, sources = address(kernel, instruction, instruction.operands[0]), vector(instruction.operands[1])
    dtype, lanes = DTYPES[match["type"]], int(match["lanes"] or 1)
    given = [keep(_stored(kernel, instruction, source, dtype)) for source in sources]
    size = dtype.itemsize * lanes
    per_place = min(size, 8) // dtype.itemsize
    is_global = match["space"] == "global"
    if len(sources) != lanes or (not is_global and lanes > 1):
        raise NotUnderstood(f"line {instruction.line}: a store must have {lanes} numbers: {instruction}")

    def step(frame: Frame) -> None:
        addresses = _addresses(frame, place)
        launch = frame.launch
        values = [_narrowed(frame.values[source.key], dtype) for source in given]
        if not is_global:
            what = launch.described(frame, instruction)
            places = launch.shared.places(addresses, frame.blocks, size, FRESH, what)
            launch.log.add(instruction, False, WRITE, addresses, size, frame.chosen, tuple(values))
            launch.shared.write(places, np.broadcast_to(values[0], places.shape))
            return
        places = launch.memory.places(addresses, size, FRESH, launch.described(frame, instruction))
        launch.log.add(instruction, True, WRITE, addresses, size, frame.chosen, tuple(values))
        numbers = launch.memory.view(dtype)
        first = places * per_place
        for lane, value in enumerate(values):
            # If several threads write to one address, any of them may be the last.
            numbers[first + lane] = value if len(first) >= len(value) else value[-1:]
        launch.memory.mark(places, size)

    return step


def _stored(kernel: Kernel, instruction: Instruction, text: str, dtype: np.dtype[Any]) -> Operand:
    if text.startswith("%"):
        kept = kernel.dtype_of(text)
        if kept.itemsize < dtype.itemsize:
            raise NotUnderstood(f"line {instruction.line}: {text} must have as many bits: {instruction}")
        return Operand(text, None, None)
    return operand(kernel, instruction, text, dtype)


def _narrowed(values: Array, dtype: np.dtype[Any]) -> Array:
    if values.dtype.itemsize == dtype.itemsize:
        return values.view(dtype)
    return values.astype(dtype)


def atomic(kernel: Kernel, instruction: Instruction, keep: Keep) -> Step:
    """Return the step of an atomic addition, one thread after the other in the order of the frame."""
    match = _known(ATOMIC, instruction)
    has_result = match["kind"] == "atom"
    place = address(kernel, instruction, instruction.operands[int(has_result)])
    amount = keep(operand(kernel, instruction, instruction.operands[-1], DTYPES["u64"]))
    target = instruction.operands[0] if has_result else None
    is_global = match["space"] == "global"

    def step(frame: Frame) -> None:
        launch = frame.launch
        addresses = frame.spread(_addresses(frame, place))
        amounts = frame.spread(frame.values[amount.key])
        what = launch.described(frame, instruction)
        # On a device, the order of threads is not known either.
        turns = launch.generator.permutation(frame.count)
        launch.log.add(instruction, is_global, ATOMIC_ADD, addresses[turns], 8, frame.threads[turns])
        if is_global:
            places = launch.memory.places(addresses, 8, WRITTEN, what)
            words = launch.memory.view(DTYPES["u64"])
        else:
            places = launch.shared.places(addresses, frame.blocks, 8, WRITTEN, what)
            words = launch.shared.bytes.view(np.uint64)
        before = np.empty(frame.count, np.uint64)
        for turn in turns:
            before[turn] = words[places[turn]]
            words[places[turn]] += amounts[turn]
        if target is not None:
            frame.values[target] = before

    return step


def fence(kernel: Kernel, instruction: Instruction, keep: Keep) -> Step:
    """Return the step of a fence, which matters only for the detection of races."""
    if instruction.opcode not in FENCES:
        raise NotUnderstood(f"line {instruction.line}: this fence is not known: {instruction}")

    def step(frame: Frame) -> None:
        frame.launch.log.fence(frame.threads)

    return step


ACCESSES: dict[str, Callable[[Kernel, Instruction, Keep], Step]] = {
    "ld.param": parameter,
    "ld.": load,
    "st.": store,
    "atom.": atomic,
    "red.": atomic,
    "membar": fence,
}
"""The functions that make steps, by the beginning of the opcode."""
