"""Mistakes in PTX: each is a change of one instruction that a person or a compiler could make."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from numba_kernels.selfcheck.ptx.program import Instruction, Kernel

Change = Callable[[Instruction, Kernel], list[str] | None]
"""A function from an instruction to its replacements; None if the change does not apply."""

SEPARATED = re.compile(r"(?P<operation>add|sub)\.rn\.(?P<type>f32|f64)")


class Mutant(NamedTuple):
    """A kernel with one mistake.

    Attributes
    ----------
    kernel : str
        The name of the kernel.
    change : str
        The name of the mistake.
    before : Instruction
        The original instruction.
    after : str
        The replacement.
    text : str
        The text of the whole kernel.
    """

    kernel: str
    change: str
    before: Instruction
    after: str
    text: str


def _written(instruction: Instruction, opcode: str, operands: tuple[str, ...] | None = None) -> list[str]:
    return [f"{opcode} {', '.join(instruction.operands if operands is None else operands)};"]


def without_barrier(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Remove a barrier."""
    return [] if instruction.opcode == "bar.sync" else None


def without_fence(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Remove a fence."""
    return [] if instruction.opcode == "membar.gl" else None


def swapped(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Swap the operands of a difference or a quotient."""
    if not instruction.opcode.startswith(("sub.rn", "div.rn", "sub.s64")):
        return None
    target, first, second = instruction.operands
    return None if first == second else _written(instruction, instruction.opcode, (target, second, first))


def wrong_bound(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Process one element more or less."""
    others = {
        "setp.lt.s64": "setp.le.s64",
        "setp.ge.s64": "setp.gt.s64",
        "setp.gt.s64": "setp.ge.s64",
        "setp.le.s64": "setp.lt.s64",
    }
    other = others.get(instruction.opcode)
    return None if other is None else _written(instruction, other)


def truncated(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Cut off the low half of a float32 that must be rounded to bfloat16."""
    if instruction.opcode != "cvt.rn.bf16x2.f32":
        return None
    target, upper, _ = instruction.operands
    return [f"mov.b32 {target}, {upper};", f"and.b32 {target}, {target}, -65536;"]


def fused(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Round a product and a sum only once, although each must be rounded."""
    match = SEPARATED.fullmatch(instruction.opcode)
    if match is None:
        return None
    target, first, second = instruction.operands
    product = _product_before(instruction, kernel, second, match["type"])
    if product is None or target in (first, second, *product):
        return None
    a, b = product
    start = f"{'neg' if match['operation'] == 'sub' else 'mov'}.{match['type']} {target}, {a};"
    return [start, f"fma.rn.{match['type']} {target}, {target}, {b}, {first};"]


def _product_before(
    instruction: Instruction, kernel: Kernel, register: str, kind: str
) -> tuple[str, str] | None:
    """Return the factors of a register, if it holds a product of the same basic block."""
    for block in kernel.blocks:
        if instruction not in block.instructions:
            continue
        place = block.instructions.index(instruction)
        for other in reversed(block.instructions[:place]):
            if other.operands and other.operands[0] == register:
                is_product = other.opcode == f"mul.rn.{kind}"
                return (other.operands[1], other.operands[2]) if is_product else None
    return None


def wrong_field(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Read the next field of a table."""
    match = re.fullmatch(r"\[(%rd\d+)\+(\d+)\]", instruction.operands[-1]) if instruction.operands else None
    if match is None or not instruction.opcode.startswith("ld.global"):
        return None
    step = 4 if instruction.opcode.endswith("32") else 8
    return _written(
        instruction, instruction.opcode, (instruction.operands[0], f"[{match[1]}+{int(match[2]) + step}]")
    )


def other_choice(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Choose the other of two numbers."""
    if not instruction.opcode.startswith("selp."):
        return None
    target, first, second, chosen = instruction.operands
    return _written(instruction, instruction.opcode, (target, second, first, chosen))


def without_store(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Leave out a store."""
    return [] if instruction.opcode.startswith("st.") else None


def not_atomic(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Read, add and write in separate instructions."""
    if not instruction.opcode.startswith("atom."):
        return None
    target, place, amount = instruction.operands
    space = instruction.opcode.split(".")[1]
    back = f"sub.s64 {target}, {target}, {amount};"
    return [
        f"ld.{space}.u64 {target}, {place};",
        f"add.s64 {target}, {target}, {amount};",
        f"st.{space}.u64 {place}, {target};",
        back,
    ]


def wrong_rounding(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Round in the other direction."""
    others = {"cvt.rm.f32.f64": "cvt.rp.f32.f64", "cvt.rp.f32.f64": "cvt.rm.f32.f64"}
    other = others.get(instruction.opcode)
    return None if other is None else _written(instruction, other)


def by_reciprocal(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Multiply by a reciprocal instead of dividing."""
    # Rounding to a half type nearly always hides the last digit of a float32.
    if not instruction.opcode.startswith("div.rn.") or "float16" in kernel.entry:
        return None
    kind = instruction.opcode[-3:]
    target, first, second = instruction.operands
    if target == first:
        return None
    return [f"rcp.rn.{kind} {target}, {second};", f"mul.rn.{kind} {target}, {first}, {target};"]


def wrong_scale(instruction: Instruction, kernel: Kernel) -> list[str] | None:
    """Use half of the element size."""
    if instruction.opcode != "shl.b64" or instruction.operands[2] not in ("1", "2", "3"):
        return None
    target, source, amount = instruction.operands
    return _written(instruction, instruction.opcode, (target, source, str(int(amount) - 1)))


CHANGES: tuple[Change, ...] = (
    without_barrier,
    without_fence,
    swapped,
    wrong_bound,
    truncated,
    fused,
    wrong_field,
    other_choice,
    without_store,
    not_atomic,
    wrong_rounding,
    by_reciprocal,
    wrong_scale,
)


def mutants(
    name: str, text: str, kernel: Kernel, executed: set[int], seed: int, count: int
) -> Iterator[Mutant]:
    """Yield some mutants of a kernel, of as many kinds as possible, in instructions that are executed.

    Parameters
    ----------
    name, text : str
        The name and the text of the kernel.
    kernel : Kernel
        The parsed text.
    executed : set of int
        The basic blocks that the cases reach.
    seed, count : int
        The seed of the choice, and the largest number of mutants.
    """
    generator = random.Random(f"{seed} {name}")
    lines = text.split("\n")
    reached = [line for block in kernel.blocks if block.index in executed for line in block.instructions]
    kinds = list(CHANGES)
    generator.shuffle(kinds)
    made = 0
    for change in kinds:
        places = [(line, after) for line in reached if (after := change(line, kernel)) is not None]
        if not places or made == count:
            continue
        line, after = generator.choice(places)
        changed = list(lines)
        changed[line.line - 1] = " ".join(after)
        made += 1
        yield Mutant(name, change.__name__, line, " ".join(after), "\n".join(changed))


def with_rate_truncated(name: str, text: str, kernel: Kernel) -> Mutant:
    """Return a kernel for bfloat16 that truncates the learning rate instead of rounding it.

    The rate is the first number that such a kernel rounds.
    """
    first = next(
        line for block in kernel.blocks for line in block.instructions if line.opcode == "cvt.rn.bf16x2.f32"
    )
    after = " ".join(truncated(first, kernel) or ())
    lines = text.split("\n")
    lines[first.line - 1] = after
    return Mutant(name, "the learning rate truncated (A)", first, after, "\n".join(lines))
