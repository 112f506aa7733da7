"""The loops of a function."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from numba_kernels.selfcheck.proof.llvm.instructions import Function, Instruction, NotUnderstood, Operand
from numba_kernels.selfcheck.proof.llvm.opcodes import SIZES


@dataclass
class Loop:
    """One loop.

    Attributes
    ----------
    header : str
        The block through which the loop is entered.
    blocks : set of str
        All of its blocks, including those of inner loops.
    is_inner : bool
        Whether it lies inside another loop.
    """

    header: str
    blocks: set[str]
    is_inner: bool = False

    def names_from_outside(self, function: Function) -> tuple[str, ...]:
        """Return the names used in the loop and defined before it, except for initial values of phis."""
        instructions = [instruction for label in self.blocks for instruction in function.blocks[label]]
        made = {instruction.result for instruction in instructions}
        used = {
            operand.value
            for instruction in instructions
            for operand in instruction.operands
            if operand.form == "name" and operand.value not in made
        }
        first = {
            operand.value
            for instruction in function.blocks[self.header]
            if instruction.op == "phi"
            for operand in instruction.operands
        }
        again = {
            operand.value
            for instruction in instructions
            if instruction.op != "phi"
            for operand in instruction.operands
            if operand.form == "name"
        }
        return tuple(sorted(name for name in used if name not in first or name in again))

    def step(self, function: Function, phi: Instruction) -> int:
        """Return the increment of an index in each iteration, which must be a constant.

        Raises
        ------
        NotUnderstood
            If the increment is not a constant.
        """
        definitions = {
            instruction.result: instruction for label in self.blocks for instruction in function.blocks[label]
        }
        found = {
            _distance(operand, phi, definitions)
            for operand, label in zip(phi.operands, phi.labels, strict=True)
            if label in self.blocks
        }
        if len(found) != 1 or None in found:
            raise NotUnderstood(f"an index that does not grow by a constant: {phi.text}")
        (step,) = found
        assert step is not None
        return step


def _distance(operand: Operand, phi: Instruction, definitions: dict[str | None, Instruction]) -> int | None:
    """Return the distance of a value from that of a phi; None if the distance is not a constant."""
    total = 0
    while operand.form == "name":
        if operand.value == phi.result:
            return total
        made = definitions.get(operand.value)
        if made is None or made.op not in ("add", "sub", "getelementptr") or made.operands[1].form != "bits":
            return None
        scale = 1 if made.source is None else SIZES[made.source.name] * (made.source.lanes or 1)
        total += (-1 if made.op == "sub" else 1) * scale * made.operands[1].value
        operand = made.operands[0]
    return None


@dataclass
class Graph:
    """The control flow between the blocks of a function.

    Attributes
    ----------
    loops : dict of str to Loop
        The loops, by their headers.
    needed : dict of str to tuple of str
        See `needed_names`.
    joins : set of str
        Blocks that are reached from several others.
    """

    loops: dict[str, Loop]
    needed: dict[str, tuple[str, ...]]
    joins: set[str]

    @classmethod
    def of(cls, function: Function) -> Graph:
        """Return the graph of a function."""
        count = Counter(label for block in function.blocks.values() for label in block[-1].labels)
        joins = {label for label, number in count.items() if number > 1}
        return cls(loops_of(function), needed_names(function), joins)


def loops_of(function: Function) -> dict[str, Loop]:
    """Return the loops by their headers.

    Raises
    ------
    NotUnderstood
        If they are nested more than twice, or one can be entered in its middle.
    """
    following = {label: block[-1].labels for label, block in function.blocks.items()}
    before: dict[str, list[str]] = {label: [] for label in following}
    for label, targets in following.items():
        for target in targets:
            before[target].append(label)
    loops: dict[str, Loop] = {}
    for label, header in _back_edges(function.entry, following):
        loop = loops.setdefault(header, Loop(header, {header}))
        waiting = [label]
        while waiting:
            block = waiting.pop()
            if block not in loop.blocks:
                loop.blocks.add(block)
                waiting += before[block]
    for loop in loops.values():
        around = [other for other in loops.values() if other is not loop and loop.header in other.blocks]
        loop.is_inner = bool(around)
        entered = {
            block for block in loop.blocks if block != loop.header and set(before[block]) - loop.blocks
        }
        if len(around) > 1 or entered or function.entry in loop.blocks:
            raise NotUnderstood(
                f"the loop at {loop.header} lies in {len(around)} others, or has several entries"
            )
    return loops


def _back_edges(entry: str, following: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return the edges that lead back to an earlier block of the same path."""
    edges: list[tuple[str, str]] = []
    on_the_way, done = {entry}, set[str]()
    stack = [(entry, iter(following[entry]))]
    while stack:
        label, targets = stack[-1]
        target = next(targets, None)
        if target is None:
            stack.pop()
            on_the_way.discard(label)
            done.add(label)
        elif target in on_the_way:
            edges.append((label, target))
        elif target not in done:
            on_the_way.add(target)
            stack.append((target, iter(following[target])))
    return edges


def needed_names(function: Function) -> dict[str, tuple[str, ...]]:
    """Return, for each block, the names that are defined before it and used in it or after it.

    The operands of its phis are not included.
    """
    used: dict[str, set[str]] = {}
    made: dict[str, set[str]] = {}
    handed: dict[str, set[str]] = {label: set() for label in function.blocks}
    for label, block in function.blocks.items():
        used[label], made[label] = set(), set()
        for instruction in block:
            names = [operand.value for operand in instruction.operands if operand.form == "name"]
            if instruction.op == "phi":
                for operand, source in zip(instruction.operands, instruction.labels, strict=True):
                    if operand.form == "name":
                        handed[source].add(operand.value)
            else:
                used[label].update(name for name in names if name not in made[label])
            if instruction.result is not None:
                made[label].add(instruction.result)
    needed = {label: set(names) for label, names in used.items()}
    changed = True
    while changed:
        changed = False
        for label, block in function.blocks.items():
            after = set(handed[label]).union(*(needed[target] for target in block[-1].labels))
            found = used[label] | (after - made[label])
            if found != needed[label]:
                needed[label], changed = found, True
    return {label: tuple(sorted(names)) for label, names in needed.items()}
