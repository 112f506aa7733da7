"""The meaning of each instruction on symbols.

A value is an ``Affine`` (an index, an address or a count), a ``Node`` (anything that depends on numbers),
a ``Vector`` whose lanes have one expression, or a tuple with an expression for each lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from numba_kernels.selfcheck.proof.expressions import BITS_OF, DOUBLE, FLOAT, HALF, Expressions, Node, parts
from numba_kernels.selfcheck.proof.integers import Affine, Facts
from numba_kernels.selfcheck.proof.llvm.instructions import Instruction, NotUnderstood, Operand, Type


class Vector(NamedTuple):
    """A vector whose lanes have one expression, in which ``elements`` stands for consecutive elements.

    Attributes
    ----------
    lanes : int
        The number of lanes.
    node : Node
        The expression.
    """

    lanes: int
    node: Node


Value = Any

KINDS = {"i16": HALF, "half": HALF}

SIZES = {"i1": 1, "i8": 1, "i16": 2, "half": 2, "i32": 4, "float": 4, "i64": 8, "double": 8, "ptr": 8}
"""The size of each type in memory, in bytes."""


def kind_of(type_: Type) -> str:
    """Return the kind of number of a type, or of a lane of it."""
    return KINDS.get(type_.name, type_.name)


class Opcodes:
    """The instructions that compute, but neither access memory nor branch.

    Parameters
    ----------
    e : Expressions
        The expressions in which nodes are made.
    facts : Facts
        The known facts about unknown integers, which may raise `Split`.
    """

    def __init__(self, e: Expressions, facts: Facts) -> None:
        self._e, self._facts = e, facts

    def literal(self, operand: Operand) -> Value:
        """Return the value of an operand that is a literal."""
        type_ = operand.type
        if operand.form == "splat":
            return Vector(type_.lanes, self.literal(operand.value))
        if operand.form == "lanes":
            return tuple(self.literal(lane) for lane in operand.value)
        if operand.form == "poison":
            poison = self._e.raw("poison", kind_of(type_))
            return (poison,) * type_.lanes if type_.lanes else poison
        if operand.form == "bits":
            if type_.name in ("i64", "ptr"):
                return Affine.constant(operand.value)
            return self._e.constant(kind_of(type_), operand.value)
        raise NotUnderstood(f"the value {operand.value}")

    def result(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        """Return the value of an instruction."""
        op = instruction.op
        if op in ("insertelement", "extractelement", "shufflevector"):
            return self._moved(instruction, operands)
        if op == "freeze":
            return operands[0]
        if op == "getelementptr":
            assert instruction.source is not None
            return self._index(operands[0]) + self._index(operands[1]).times(_size(instruction.source))
        if op in ("inttoptr", "ptrtoint"):
            return operands[0]
        if op == "call":
            return self._intrinsic(instruction, operands)
        if any(isinstance(operand, Affine) for operand in operands):
            return self._on_indices(instruction, operands)
        return self._on_lanes(instruction, operands)

    def _on_lanes(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        lanes = instruction.type.lanes
        if not lanes:
            return self._number(instruction, list(operands))
        widened = [self._broadcast(operand, lanes) for operand in operands]
        if all(isinstance(operand, Vector) for operand in widened):
            return Vector(lanes, self._number(instruction, [operand.node for operand in widened]))
        each = [self.lanes(operand) for operand in widened]
        return tuple(self._number(instruction, list(lane)) for lane in zip(*each, strict=True))

    def _broadcast(self, operand: Value, lanes: int) -> Value:
        """Return one truth value as a vector of equal lanes, for the condition of a select of vectors."""
        return Vector(lanes, operand) if isinstance(operand, Node) else operand

    def _number(self, instruction: Instruction, nodes: list[Node]) -> Node:
        """Return the result for one number."""
        e, op = self._e, instruction.op
        source = instruction.source or instruction.operands[-1].type
        kind = kind_of(instruction.type)
        if op in ("fadd", "fsub", "fmul", "fdiv", "fneg") and instruction.type.name == "half":
            # LLVM does this in float32 only if it may: rounding twice is innocuous here (Figueroa, 1995).
            wide = [e.make("fpext", FLOAT, node) for node in nodes]
            return e.make("fptrunc", HALF, e.make(op, FLOAT, *wide))
        if op == "fcmp":
            wide = [e.make("fpext", FLOAT, node) if source.name == "half" else node for node in nodes]
            return e.make("fcmp", "i1", instruction.words[0], *wide)
        if op == "icmp":
            return e.make("icmp", "i1", instruction.words[0], *nodes)
        if op == "bitcast":
            return self._bitcast(instruction, nodes[0])
        if op in ("fptrunc", "fpext") and (source.name, instruction.type.name) not in (
            ("float", "half"),
            ("half", "float"),
            ("double", "float"),
        ):
            raise NotUnderstood(f"a conversion that no kernel needs: {instruction.text}")
        return e.make(op, kind, *nodes)

    def _bitcast(self, instruction: Instruction, node: Node) -> Node:
        source, target = instruction.source, instruction.type
        assert source is not None
        if source.lanes != target.lanes:
            raise NotUnderstood(f"a change of lanes: {instruction.text}")
        names = source.name, target.name
        if names in (("float", "i32"), ("double", "i64")):
            return self._e.make("bits", kind_of(target), node)
        if names in (("i32", "float"), ("i64", "double")):
            return self._e.make("float", kind_of(target), node)
        if set(names) == {"half", "i16"} or names[0] == names[1]:
            return node
        raise NotUnderstood(f"a change of types: {instruction.text}")

    def _intrinsic(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        name = instruction.words[0]
        if name.startswith("llvm.fabs.") and kind_of(instruction.type) in (FLOAT, DOUBLE):
            return self._on_lanes(
                Instruction(None, "fabs", instruction.type, instruction.operands, text=instruction.text),
                operands,
            )
        if name in ("llvm.smax.i64", "llvm.smin.i64", "llvm.umax.i64", "llvm.umin.i64"):
            first, second = (self._index(operand) for operand in operands)
            predicate = f"{name[5]}{'gt' if name[6:9] == 'max' else 'lt'}"
            is_first = self.compared(predicate, first, second)
            if is_first.is_constant:
                return first if is_first.args[0] else second
        raise NotUnderstood(f"a call that is not known to the prover: {instruction.text}")

    def _index(self, value: Value) -> Affine:
        if isinstance(value, Affine):
            return value
        if isinstance(value, Node) and value.is_constant:
            bits, width = value.args[0], BITS_OF[value.kind]
            return Affine.constant(bits - (1 << width) if bits >> (width - 1) else bits)
        raise NotUnderstood(f"an index that depends on numbers: {value}")

    def _on_indices(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        op = instruction.op
        if op in ("select", "bitcast"):
            return self._chosen(instruction, operands)
        if op in ("zext", "sext", "trunc"):
            return self._resized(instruction, operands[0])
        found = _ON_INDICES[op](self, instruction, *map(self._index, operands)) if op in _ON_INDICES else None
        if found is None:
            known = [
                str(self._facts.resolved(operand)) for operand in operands if isinstance(operand, Affine)
            ]
            raise NotUnderstood(f"an operation on indices: {instruction.text} with {', '.join(known)}")
        return found

    def _chosen(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        if instruction.op == "bitcast":
            return operands[0]
        condition, first, second = operands
        if isinstance(condition, Node) and condition.is_constant:
            return first if condition.args[0] else second
        if first == second:
            return first
        raise NotUnderstood(f"a choice of indices that is not decided: {instruction.text}, by {condition}")

    def _resized(self, instruction: Instruction, operand: Affine) -> Affine:
        low, high = self._facts.range_of(self._facts.resolved(operand))
        # The sign bit must not become a digit in either type.
        width = min(BITS_OF[kind_of(instruction.type)], BITS_OF[kind_of(instruction.operands[0].type)])
        if low < 0 or high >= 1 << (width - 1):
            raise NotUnderstood(f"an index that may not fit: {instruction.text}")
        return operand

    def _shifted(self, instruction: Instruction, number: Affine, count: Affine) -> Affine | None:
        return number.times(1 << count.offset) if count.is_constant else None

    def _shifted_right(self, instruction: Instruction, number: Affine, count: Affine) -> Affine | None:
        if not count.is_constant or self._facts.is_negative(number) is not False:
            return None
        rest = self._facts.low_bits(number, count.offset)
        return None if rest is None else self._facts.resolved(number - rest).divided(1 << count.offset)

    def _times(self, instruction: Instruction, first: Affine, second: Affine) -> Affine | None:
        if second.is_constant:
            return first.times(second.offset)
        return second.times(first.offset) if first.is_constant else None

    def _masked(self, instruction: Instruction, first: Affine, second: Affine) -> Affine | None:
        if first.is_constant:
            first, second = second, first
        if not second.is_constant:
            return None
        mask = second.offset & ((1 << 64) - 1)
        if self._facts.is_negative(first) is not False:
            return None
        # The numbers are too small to reach the sign bit.
        mask |= 1 << 63 if mask >> 62 == 1 else 0
        start = (mask & -mask).bit_length() - 1
        run = mask >> start
        if run & (run + 1):
            return None
        below = self._facts.low_bits(first, start)
        upto = first if mask >> 63 else self._facts.low_bits(first, mask.bit_length())
        return None if below is None or upto is None else upto - below

    def _united(self, instruction: Instruction, first: Affine, second: Affine) -> Affine | None:
        if " disjoint " in instruction.text:
            return first + second
        return None

    def _without_bits(self, instruction: Instruction, first: Affine, second: Affine) -> Affine | None:
        for number, other in ((first, second), (second, first)):
            if other == Affine.constant(-1):
                return number.times(-1) - Affine.constant(1)
        return None

    def _compared(self, instruction: Instruction, first: Affine, second: Affine) -> Node:
        return self.compared(instruction.words[0], first, second)

    def compared(self, predicate: str, first: Affine, second: Affine) -> Node:
        """Return the truth value of a comparison, or a node for it."""
        first, second = self._facts.resolved(first), self._facts.resolved(second)
        if predicate in ("eq", "ne"):
            sign = self._facts.sign(first - second)
            known = None if sign is None else (sign == 0) == (predicate == "eq")
            return self._decided(predicate, first, second, known)
        relation = predicate[1:]
        if predicate[0] == "u":
            signs = self._facts.is_negative(first), self._facts.is_negative(second)
            if None in signs:
                return self._decided(predicate, first, second, None)
            if signs[0] != signs[1]:
                # As unsigned numbers, negative numbers are the largest.
                return self._decided(predicate, first, second, (relation in ("gt", "ge")) == signs[0])
        smaller, larger = (first, second) if relation in ("lt", "ge") else (second, first)
        is_less = self._facts.is_negative(smaller - larger)
        known = None if is_less is None else is_less == (relation in ("lt", "gt"))
        return self._decided(predicate, first, second, known)

    def _decided(self, predicate: str, first: Affine, second: Affine, known: bool | None) -> Node:
        if known is not None:
            return self._e.truth(known)
        return self._e.raw("compared", "i1", predicate, first, second)

    def lanes(self, value: Value) -> tuple[Node, ...]:
        """Return the expressions of all lanes."""
        if isinstance(value, tuple) and not isinstance(value, Vector):
            return value
        assert isinstance(value, Vector)
        return tuple(self.lane(value, place) for place in range(value.lanes))

    def lane(self, vector: Vector, place: int) -> Node:
        """Return the expression of one lane."""
        replaced = {
            part: self._e.raw("element", part.kind, part.args[0], part.args[1] + Affine.constant(place))
            for part in parts(vector.node)
            if part.op == "elements"
        }
        return self._e.substituted(vector.node, replaced)

    def _moved(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        op = instruction.op
        if op == "shufflevector":
            return self._shuffled(instruction, operands)
        place = self._index(operands[-1])
        if not place.is_constant:
            raise NotUnderstood(f"a lane that is not known: {instruction.text}")
        lanes = list(self.lanes(operands[0]))
        if op == "extractelement":
            return lanes[place.offset]
        lanes[place.offset] = operands[1]
        return tuple(lanes)

    def _shuffled(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        first, second = self.lanes(operands[0]), self.lanes(operands[1])
        both = first + second
        mask = [self._index(lane).offset for lane in self.lanes(operands[2])]
        if len(set(mask)) == 1 and not any(part.op == "elements" for part in parts(both[mask[0]])):
            return Vector(len(mask), both[mask[0]])
        return tuple(both[place] for place in mask)


def _size(type_: Type) -> int:
    return SIZES[type_.name] * (type_.lanes or 1)


_ON_INDICES: dict[str, Callable[..., Any]] = {
    "add": lambda opcodes, instruction, first, second: first + second,
    "sub": lambda opcodes, instruction, first, second: first - second,
    "mul": Opcodes._times,
    "shl": Opcodes._shifted,
    "lshr": Opcodes._shifted_right,
    "and": Opcodes._masked,
    "or": Opcodes._united,
    "xor": Opcodes._without_bits,
    "icmp": Opcodes._compared,
}
