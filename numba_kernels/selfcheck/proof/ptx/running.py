"""One thread of a kernel in PTX, run with known indices and with symbols for numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, Expressions, Node, constant_value
from numba_kernels.selfcheck.proof.ptx import bits
from numba_kernels.selfcheck.proof.ptx.bits import Bits
from numba_kernels.selfcheck.proof.ptx.tables import Tables
from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.program import Instruction, Kernel

KINDS = {"f32": FLOAT, "f64": DOUBLE}

ARITHMETIC = {
    f"{op}.rn.{kind}": (f"f{op}", name) for op in ("add", "sub", "mul", "div") for kind, name in KINDS.items()
}

PREDICATES = {"lt": "olt", "gt": "ogt", "le": "ole", "ge": "oge", "eq": "oeq", "ne": "one"}
PREDICATES |= {"ltu": "ult", "gtu": "ugt", "leu": "ule", "geu": "uge", "equ": "ueq", "neu": "une"}

RELATIONS: dict[str, Callable[[int, int], bool]] = {
    name: getattr(operator, name) for name in ("lt", "gt", "le", "ge", "eq", "ne")
}

INTEGERS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul.lo": operator.mul,
    "mul.wide": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "shl": operator.lshift,
    "shr": operator.rshift,
}

NOTHING_HERE = ("bar.sync", "membar.gl")

MOST_STEPS = 200_000


@dataclass
class Thread:
    """The state of a thread, on one of its paths.

    Attributes
    ----------
    registers : dict of str to value
        A known integer or truth value, `Bits`, or the expression of a number or of a truth value.
    block : int
        The next basic block.
    stored : dict of int to Node
        The expression that was stored at each address.
    known : dict of Node to Node
        Settings that equal a constant on this path.
    reached : set of int
        The basic blocks so far.
    """

    registers: dict[str, Any]
    block: int = 0
    stored: dict[int, Node] = field(default_factory=dict)
    known: dict[Node, Node] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)

    def copy(self) -> Thread:
        """Return an independent copy."""
        return replace(
            self,
            registers=dict(self.registers),
            stored=dict(self.stored),
            known=dict(self.known),
            reached=set(self.reached),
        )


class Runner:
    """The runs of a kernel in one memory.

    Parameters
    ----------
    e : Expressions
        The expressions of the proof.
    kernel : Kernel
        The kernel.
    tables : Tables
        The memory.
    half : str
        The name of the dtype.
    """

    def __init__(self, e: Expressions, kernel: Kernel, tables: Tables, half: str) -> None:
        self._e, self._kernel, self._tables, self._half = e, kernel, tables, half
        self._parameters: dict[str, int] = {}

    def run(self, arguments: tuple[int, ...], thread: int, threads: int) -> list[Thread]:
        """Return the ends of all paths of one thread of the only block."""
        self._parameters = dict(zip(self._kernel.parameters, arguments, strict=True))
        special = {"%tid.x": thread, "%ntid.x": threads, "%ctaid.x": 0, "%nctaid.x": 1}
        waiting, ends, steps = [Thread(dict(special))], list[Thread](), 0
        while waiting:
            path = waiting.pop()
            while path is not None:
                steps += 1
                if steps > MOST_STEPS:
                    raise NotUnderstood("a thread that does not end")
                path.reached.add(path.block)
                block = self._kernel.blocks[path.block]
                path.block += 1
                last = block.instructions[-1]
                for instruction in block.instructions:
                    if instruction.opcode not in ("bra", "bra.uni", "ret"):
                        self._execute(path, instruction)
                if last.opcode == "ret":
                    ends.append(path)
                    break
                if last.opcode == "bra.uni":
                    path.block = self._kernel.labels[last.operands[0]]
                elif last.opcode == "bra":
                    waiting += self._branched(path, last)
        return ends

    def _branched(self, path: Thread, branch: Instruction) -> list[Thread]:
        """Go on at a branch; return the path on the other side if both are possible."""
        condition = self._value(path, branch.guard.lstrip("!"))
        if isinstance(condition, Node):
            condition = self._e.substituted(condition, path.known)
            if condition.is_constant:
                condition = bool(condition.args[0])
        target = self._kernel.labels[branch.operands[0]]
        if not isinstance(condition, Node):
            if bool(condition) != branch.guard.startswith("!"):
                path.block = target
            return []
        other = path.copy()
        self._learn(path, condition)
        (other if branch.guard.startswith("!") else path).block = target
        return [other]

    def _learn(self, path: Thread, condition: Node) -> None:
        """Record the settings that a true condition says are equal to constants."""
        if condition.op == "and":
            for operand in condition.operands:
                self._learn(path, operand)
        if condition.op != "fcmp" or condition.args[0] != "oeq":
            return
        setting, constant = sorted(condition.operands, key=lambda node: node.is_constant)
        # The comparison does not show the sign of a zero.
        if constant.is_constant and setting.op in ("slot", "factor") and constant_value(constant) != 0:
            path.known[setting] = constant

    def _value(self, path: Thread, text: str) -> Any:
        if text.startswith("%"):
            if text not in path.registers:
                raise NotUnderstood(f"{text} is read, which was not written")
            return path.registers[text]
        if text.startswith(("0f", "0F")):
            return self._e.constant(FLOAT, int(text[2:], 16))
        if text.startswith(("0d", "0D")):
            return self._e.constant(DOUBLE, int(text[2:], 16))
        return int(text, 0)

    def _address(self, path: Thread, text: str) -> int:
        base, _, offset = text[1:-1].partition("+")
        found = self._value(path, base)
        if not isinstance(found, int):
            raise NotUnderstood(f"an address that depends on numbers: {text}")
        return found + int(offset or 0)

    def _execute(self, path: Thread, instruction: Instruction) -> None:
        opcode, operands = instruction.opcode, instruction.operands
        if opcode in NOTHING_HERE:
            return
        if opcode.startswith("ld."):
            self._load(path, opcode, operands)
        elif opcode.startswith("st.global."):
            self._store(path, opcode, operands)
        elif opcode.startswith("mov.b32") and "{" in "".join(operands):
            self._move_halves(path, operands)
        else:
            values = [self._value(path, operand) for operand in operands[1:]]
            path.registers[operands[0]] = self._result(opcode, operands[0], values)

    def _load(self, path: Thread, opcode: str, operands: tuple[str, ...]) -> None:
        if opcode.startswith("ld.param"):
            path.registers[operands[0]] = self._parameters[operands[1][1:-1]]
            return
        if not opcode.startswith("ld.global."):
            raise NotUnderstood(opcode)
        address, kind = self._address(path, operands[1]), opcode.rpartition(".")[2]
        for place, register in enumerate(_registers(operands[0])):
            at = address + int(kind[1:]) // 8 * place
            if at in path.stored:
                raise NotUnderstood("an element is read that was written before")
            if kind in KINDS:
                value: Any = self._tables.number(at, KINDS[kind])
            elif kind[1:] == "64":
                value = self._tables.word(at)
            elif kind[1:] == "16":
                value = self._tables.half(at)
            else:
                value = Bits(self._tables.half(at).low, self._tables.half(at + 2).low)
            path.registers[register] = value

    def _store(self, path: Thread, opcode: str, operands: tuple[str, ...]) -> None:
        address, kind = self._address(path, operands[0]), opcode.rpartition(".")[2]
        for place, register in enumerate(_registers(operands[1])):
            at = address + int(kind[1:]) // 8 * place
            value = self._value(path, register)
            if kind in KINDS:
                self._put(path, at, value)
            elif int(kind[1:]) == 8 * self._tables.size > 16 and isinstance(value, int):
                # Zeros are stored as integers.
                self._put(path, at, self._e.constant(FLOAT if kind[1:] == "32" else DOUBLE, value))
            elif kind[1:] in ("16", "32"):
                found = bits.known(value) if isinstance(value, int) else value
                self._put(path, at, found.low)
                if kind[1:] == "32":
                    self._put(path, at + 2, found.high)
            else:
                raise NotUnderstood(f"{opcode} outside of the last block")

    def _put(self, path: Thread, address: int, value: Node | int) -> None:
        self._tables.place(address)
        if address in path.stored:
            raise NotUnderstood("an element is written twice")
        path.stored[address] = self._e.constant("16 bits", value) if isinstance(value, int) else value

    def _move_halves(self, path: Thread, operands: tuple[str, ...]) -> None:
        if operands[0].startswith("{"):
            given = self._value(path, operands[1])
            found = given if isinstance(given, Bits) else self._bits(given)
            for register, half in zip(_registers(operands[0]), found, strict=True):
                path.registers[register] = Bits(half, 0)
            return
        low, high = (self._value(path, register) for register in _registers(operands[1]))
        path.registers[operands[0]] = Bits(self._bits(low).low, self._bits(high).low)

    def _bits(self, value: Any) -> Bits:
        if isinstance(value, Bits):
            return value
        return bits.known(value) if isinstance(value, int) else bits.of_number(self._e, self._half, value)

    def _result(self, opcode: str, target: str, values: list[Any]) -> Any:
        e = self._e
        if opcode in ARITHMETIC:
            op, kind = ARITHMETIC[opcode]
            return e.make(op, kind, *values)
        name, _, kind = opcode.rpartition(".")
        if name == "mov":
            return self._moved(target, values[0])
        if name == "neg" and kind in KINDS:
            return e.make("fneg", KINDS[kind], values[0])
        if name == "selp":
            return self._chosen(kind, *values)
        if name.startswith("setp."):
            return self._compared(name[5:], kind, values)
        if kind == "pred":
            return self._joined(name, values)
        if opcode.startswith("cvt."):
            return self._converted(opcode, values)
        if name in INTEGERS:
            return self._integer(name, kind, values)
        raise NotUnderstood(f"{opcode} in an elementwise kernel")

    def _moved(self, target: str, value: Any) -> Any:
        is_float = target.startswith("%f")
        if isinstance(value, Bits):
            return bits.to_number(self._e, value) if is_float else value
        if isinstance(value, Node) and value.kind == FLOAT and not is_float:
            return bits.of_number(self._e, self._half, value)
        return value

    def _chosen(self, kind: str, first: Any, second: Any, condition: Any) -> Any:
        if not isinstance(condition, Node):
            return first if condition else second
        if kind in KINDS:
            return self._e.make("select", KINDS[kind], condition, first, second)
        if not isinstance(first, Bits) and not isinstance(second, Bits):
            raise NotUnderstood("an index that depends on numbers")
        pairs = zip(self._bits(first), self._bits(second), strict=True)
        return Bits(*(self._chosen_half(condition, one, other) for one, other in pairs))

    def _chosen_half(self, condition: Node, one: Node | int, other: Node | int) -> Node | int:
        if one == other:
            return one
        first, second = (
            self._e.constant("16 bits", half) if isinstance(half, int) else half for half in (one, other)
        )
        return self._e.make("select", "16 bits", condition, first, second)

    def _compared(self, relation: str, kind: str, values: list[Any]) -> Any:
        if kind in KINDS:
            found = self._e.make("fcmp", "i1", PREDICATES[relation], *values)
            return bool(found.args[0]) if found.is_constant else found
        if not all(isinstance(value, int) for value in values) or relation not in RELATIONS:
            raise NotUnderstood(f"setp.{relation}.{kind} of numbers")
        return RELATIONS[relation](*values)

    def _joined(self, op: str, values: list[Any]) -> Any:
        nodes = [value if isinstance(value, Node) else self._e.truth(bool(value)) for value in values]
        found = self._e.make(op, "i1", *nodes)
        return bool(found.args[0]) if found.is_constant else found

    def _converted(self, opcode: str, values: list[Any]) -> Any:
        e = self._e
        if opcode == "cvt.rn.bf16x2.f32":
            high, low = (bits.rounded(e, "bfloat16", value) for value in values)
            return Bits(low, high)
        if opcode == "cvt.rn.f16.f32":
            return Bits(bits.rounded(e, "float16", values[0]), 0)
        if opcode == "cvt.f32.f16":
            return e.make("widen", FLOAT, "float16", self._bits(values[0]).low)
        if opcode == "cvt.f64.f32":
            return e.make("fpext", DOUBLE, values[0])
        if opcode in ("cvt.u16.u32", "cvt.u32.u16") and isinstance(values[0], Bits):
            return Bits(values[0].low, 0)
        if opcode.rpartition(".")[2] in ("s32", "u32", "u16") and isinstance(values[0], int):
            return values[0]
        raise NotUnderstood(f"{opcode} in an elementwise kernel")

    def _integer(self, name: str, kind: str, values: list[Any]) -> Any:
        if not all(isinstance(value, int) for value in values):
            return self._of_bits(name, [self._bits(value) for value in values[:1]], values)
        width = 64 if name == "mul.wide" else int(kind[1:])
        if kind.startswith("u"):
            values = [value & ((1 << width) - 1) for value in values]
        found = INTEGERS[name](*values) & ((1 << width) - 1)
        return found - (1 << width) if found >> (width - 1) else found

    def _of_bits(self, name: str, given: list[Bits], values: list[Any]) -> Bits:
        other = values[1]
        if name == "and" and isinstance(other, int):
            return bits.masked(given[0], other)
        if name in ("shl", "shr") and isinstance(other, int):
            return bits.shifted(given[0], other if name == "shl" else -other)
        if name == "or":
            return bits.joined(given[0], self._bits(other))
        raise NotUnderstood(f"{name} of numbers")


def _registers(text: str) -> list[str]:
    return [part.strip() for part in text.strip("{}").split(",")]
