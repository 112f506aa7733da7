"""The run of a kernel on symbols: every path through it, with one iteration of each loop standing for all.

If the condition of a branch is known, only that way is taken. If it depends on a count, cases are
distinguished. If it depends on anything else, such as whether two arrays lie close together, both ways are
walked. A loop is run once, with the number of its earlier iterations as an unknown; this gives the writes of
all iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, Expressions, Node, constant_value
from numba_kernels.selfcheck.proof.integers import MANY, Affine, Facts, Split
from numba_kernels.selfcheck.proof.llvm.graph import Graph, Loop
from numba_kernels.selfcheck.proof.llvm.instructions import Function, Instruction, NotUnderstood, Operand
from numba_kernels.selfcheck.proof.llvm.opcodes import Opcodes, Value
from numba_kernels.selfcheck.proof.loops import last_iteration, record
from numba_kernels.selfcheck.proof.memory import Memory, Places
from numba_kernels.selfcheck.proof.modes import FIRST_MODE, LAST_MODE, follow_mode
from numba_kernels.selfcheck.proof.paths import End, Iteration, Path
from numba_kernels.shared import slots

COUNTING = ("NRT_incref", "NRT_decref")
"""Functions of Numba that count references to the arrays of tables, and change nothing else."""

MOST_PATHS = 20000


Verify = Callable[[Path], None]
"""Called with each path at the end of a chunk."""


class Walk:
    """All paths through a kernel.

    Parameters
    ----------
    e : Expressions
        The expressions of the proof.
    function : Function
        The kernel.
    places : Places
        The meaning of addresses.
    verify : callable
        Called at the end of each chunk.
    graph : Graph
        The graph of the kernel.
    iterations : dict
        Stores the effects of loops, for other walks through the same kernel with the same expressions.
    """

    def __init__(
        self,
        e: Expressions,
        function: Function,
        places: Places,
        verify: Verify,
        graph: Graph,
        iterations: dict[Any, list[Iteration]],
    ) -> None:
        self._e, self._function, self._places, self._verify = e, function, places, verify
        self._iterations = iterations
        self._outside: dict[str, tuple[str, ...]] = {}
        self._loops, self._needed, self._joins = graph.loops, graph.needed, graph.joins
        self._chunks_walked = 0
        self._used_known = False
        self.paths = 0
        self.reached: set[str] = set()

    def run(self) -> None:
        """Walk all paths from the start to the end of the kernel."""
        facts = Facts()
        values: dict[str, Value] = {}
        for name in self._function.arguments:
            values[name] = self._argument(name, facts)
        start = Path(self._function.entry, "", values, facts, Memory(mode=FIRST_MODE), {})
        for end in self._region(start, None):
            if end.path.memory.mode != LAST_MODE:
                raise NotUnderstood(
                    f"the kernel ends in a floating-point mode that is {end.path.memory.mode}"
                )
        if not self._chunks_walked:
            raise NotUnderstood("the kernel has no loop over chunks")

    def _argument(self, name: str, facts: Facts) -> Value:
        # The second axis of each table has a fixed length.
        lengths = {"table": slots.COLUMNS, "chunks": 3, "factors": 2}
        parts = name.removeprefix("%arg.").split(".")
        if parts[0] in lengths and parts[1:] == ["5", "1"]:
            return Affine.constant(lengths[parts[0]])
        if parts[1:] == ["4"]:
            return facts.let(f"@{parts[0]}", 4096, MANY)
        if name == "%arg.last":
            return facts.let("first", 0, MANY) + facts.let("chunks", 0, MANY, is_countable=True)
        if name == "%arg.first":
            return facts.let("first", 0, MANY)
        return Affine.of(name)

    def _region(self, start: Path, loop: Loop | None) -> list[End]:
        """Walk all paths from a block to the ends of a loop, or of the kernel."""
        waiting, ends = [start], list[End]()
        seen: set[tuple[Any, ...]] = set()
        while waiting:
            path = waiting.pop()
            if path.block in self._joins:
                # If paths meet in the same state, the rest is walked only once.
                key = self._key(path)
                if key in seen:
                    continue
                seen.add(key)
            self.paths += 1
            if self.paths > MOST_PATHS:
                raise NotUnderstood(f"more than {MOST_PATHS} paths")
            # Each name has one value, so that running a block again overwrites the values from before.
            saved = replace(path, facts=path.facts.copy(), memory=path.memory.copy())
            try:
                following, ended = self._step(path, loop)
            except Split as split:
                if loop is not None and loop.is_inner:
                    # A case holds for all iterations, so the loop is begun again for each case.
                    raise
                waiting += [saved.copy(facts=facts.copy()) for facts in split.cases]
            else:
                waiting += following
                ends += ended
        return ends

    def _key(self, path: Path) -> tuple[Any, ...]:
        """Return everything that the rest of a path depends on."""
        memory = path.memory
        return (
            path.block,
            path.before if self._function.blocks[path.block][0].op == "phi" else "",
            tuple(path.values.get(name) for name in self._needed[path.block]),
            path.facts.key,
            (tuple(memory.accesses), tuple(memory.written), memory.chunk, memory.mode),
            tuple(memory.local.items()),
            tuple(path.known.items()),
        )

    def _step(self, path: Path, loop: Loop | None) -> tuple[list[Path], list[End]]:
        """Run one block, or one loop."""
        inner = self._loops.get(path.block)
        if inner is not None and inner is not loop:
            return self._run_loop(path, inner), []
        self.reached.add(path.block)
        opcodes = Opcodes(self._e, path.facts)
        phis = [instruction for instruction in self._function.blocks[path.block] if instruction.op == "phi"]
        if not (loop is not None and path.block == loop.header):
            incoming = [self._incoming(opcodes, path, phi, path.before) for phi in phis]
            for phi, value in zip(phis, incoming, strict=True):
                assert phi.result is not None
                path.values[phi.result] = value
        for instruction in self._function.blocks[path.block][len(phis) :]:
            if instruction.op in ("br", "ret", "unreachable"):
                return self._on(opcodes, path, instruction, loop)
            value = self._execute(opcodes, path, instruction)
            if instruction.result is not None:
                path.values[instruction.result] = value
        raise NotUnderstood(f"the block {path.block} has no end")

    def _incoming(self, opcodes: Opcodes, path: Path, phi: Instruction, before: str) -> Value:
        place = phi.labels.index(before)
        return self._value(opcodes, path, phi.operands[place])

    def _value(self, opcodes: Opcodes, path: Path, operand: Operand) -> Value:
        if operand.form != "name":
            return opcodes.literal(operand)
        if operand.value not in path.values:
            raise NotUnderstood(f"the value {operand.value} is used where it is not known")
        return path.values[operand.value]

    def _execute(self, opcodes: Opcodes, path: Path, instruction: Instruction) -> Value:
        op = instruction.op
        if op == "alloca":
            path.memory.local[instruction.result or ""] = None
            return Affine.of(instruction.result or "")
        if op == "call" and instruction.words[0] in COUNTING:
            return None
        operands = [self._value(opcodes, path, operand) for operand in instruction.operands]
        if op == "load":
            return self._places.load(path.memory, path.facts, operands[0], instruction.type)
        if op == "store":
            self._places.store(path.memory, path.facts, operands[1], instruction.type, operands[0])
            return None
        if op == "call" and follow_mode(self._e, path.memory, instruction.words[0], operands):
            return self._e.raw("mode", "i64", "mode")
        return opcodes.result(instruction, operands)

    def _on(
        self, opcodes: Opcodes, path: Path, instruction: Instruction, loop: Loop | None
    ) -> tuple[list[Path], list[End]]:
        """Go on after the last instruction of a block."""
        if instruction.op == "ret":
            return [], [End(path, is_back=False)]
        if instruction.op == "unreachable":
            raise NotUnderstood("a place that LLVM says is never reached")
        labels = instruction.labels
        if loop is not None and not loop.is_inner and set(labels) - (loop.blocks - {loop.header}):
            self._end_chunk(path)
        if len(labels) == 1:
            return self._to(path, labels[0], loop, None, True)
        condition = self._value(opcodes, path, instruction.operands[0])
        assert isinstance(condition, Node)
        decided = self._e.substituted(condition, path.known)
        self._used_known |= decided is not condition
        condition = decided
        if loop is not None and sum(label in loop.blocks for label in labels) == 1:
            following, ends = list[Path](), list[End]()
            for label, holds in zip(labels, (True, False), strict=True):
                leaves_if = holds if label not in loop.blocks else not holds
                leaving = replace(path, facts=path.facts.copy(), memory=path.memory.copy())
                paths, more = self._to(leaving, label, loop, condition, leaves_if)
                following, ends = following + paths, ends + more
            return following, ends
        if condition.is_constant:
            return self._to(path, labels[0 if condition.args[0] else 1], loop, None, True)
        following = []
        for label, holds in zip(labels, (True, False), strict=True):
            taken = path.copy()
            if holds == (condition.op != "not"):
                self._learn(taken, condition)
            following += self._to(taken, label, loop, None, True)[0]
        return following, []

    def _end_chunk(self, path: Path) -> None:
        self._flush(path)
        self._verify(path)

    def _flush(self, path: Path) -> None:
        """Record the writes outside of loops."""
        record(self._e, path.memory, path.facts, path.memory.accesses)
        path.memory.accesses = []

    def _learn(self, path: Path, condition: Node) -> None:
        """Record a setting that is equal to a constant on this path."""
        if condition.op == "not":
            condition = condition.operands[0]
        if condition.op != "fcmp" or condition.args[0] != "oeq":
            return
        setting, constant = sorted(condition.operands, key=lambda node: node.is_constant)
        if not constant.is_constant or setting.op not in ("slot", "factor") or setting.kind != DOUBLE:
            return
        value = constant_value(constant)
        if value == 0:
            # The comparison does not show the sign of a zero.
            return
        for kind in (DOUBLE, FLOAT):
            path.known[self._e.make(setting.op, kind, *setting.args)] = self._e.number(kind, value)

    def _to(
        self, path: Path, label: str, loop: Loop | None, condition: Node | None, leaves_if: bool
    ) -> tuple[list[Path], list[End]]:
        path.before, path.block = path.block, label
        if loop is not None and label == loop.header:
            return [], [End(path, True, condition, leaves_if)]
        if loop is not None and label not in loop.blocks:
            return [], [End(path, False, condition, leaves_if)]
        return [path], []

    def _run_loop(self, path: Path, loop: Loop) -> list[Path]:
        """Run one iteration of a loop in place of all; return the paths that go on after the loop."""
        counter = f"iteration of {loop.header}"
        opcodes = Opcodes(self._e, path.facts)
        self._flush(path)
        inside = path.copy()
        number = inside.facts.let(counter, 0, MANY)
        if not loop.is_inner:
            for name in ("row", "start"):
                inside.facts.let(name, 0, MANY)
            inside.facts.let("count", 0, MANY, is_countable=True)
        steps: list[tuple[Instruction, int]] = []
        for phi in (phi for phi in self._function.blocks[loop.header] if phi.op == "phi"):
            assert phi.result is not None
            first = self._incoming(opcodes, path, phi, path.before)
            if not isinstance(first, Affine):
                raise NotUnderstood(f"a loop that hands a number on to its next iteration: {phi.text}")
            steps.append((phi, loop.step(self._function, phi)))
            inside.values[phi.result] = first + number.times(steps[-1][1])
        if loop.is_inner:
            iteration = self._iteration(path, inside, loop, steps, counter)
            return [self._after(path, iteration, counter)]
        ends = self._ends(inside, loop, steps)
        last = self._last_iteration(ends, counter, path.facts)
        return self._after_chunks(path, ends, last, counter)

    def _ends(self, inside: Path, loop: Loop, steps: list[tuple[Instruction, int]]) -> list[End]:
        ends = self._region(inside, loop)
        for end in ends:
            if end.is_back:
                self._check_steps(end.path, loop, steps)
        return ends

    def _iteration(
        self, path: Path, inside: Path, loop: Loop, steps: list[tuple[Instruction, int]], counter: str
    ) -> Iteration:
        """Return the effect of one iteration of a loop over elements, or that of an equal earlier path."""
        phis = tuple(inside.values[phi.result or ""] for phi, _ in steps)
        outside = tuple(path.values.get(name) for name in self._names_from_outside(loop))
        resolved = tuple(
            path.facts.resolved(value) if isinstance(value, Affine) else value for value in phis + outside
        )
        key = (loop.header, resolved, path.memory.mode)
        for earlier in self._iterations.get(key, []):
            if (
                earlier.situation in (None, self._places.situation)
                and earlier.known in (None, path.known)
                and inside.facts.answers_as(earlier.asked)
            ):
                return earlier
        told, self._used_known = self._places.told, False
        asked: list[tuple[str, Affine, int | None]] = []
        inside.facts.asked = asked
        ends = self._ends(inside, loop, steps)
        lists = {tuple(end.path.memory.accesses) for end in ends}
        exits = [end for end in ends if not end.is_back]
        if len(lists) != 1 or len({(end.path.block, end.path.before) for end in exits}) != 1:
            raise NotUnderstood("a loop over elements in which the way depends on the element")
        end = exits[0]
        if end.path.memory.local != path.memory.local or end.path.memory.mode != path.memory.mode:
            raise NotUnderstood("a loop over elements that changes what is kept for all of them")
        is_kept = end.path.facts.asked is asked
        end.path.facts.asked = None
        names = {instruction.result for label in loop.blocks for instruction in self._function.blocks[label]}
        made = {name: value for name, value in end.path.values.items() if name in names}
        situation = self._places.situation if self._places.told != told else None
        iteration = Iteration(
            end.path,
            list(lists.pop()),
            ends,
            asked,
            made,
            situation,
            path.known if self._used_known else None,
        )
        if is_kept:
            self._iterations.setdefault(key, []).append(iteration)
        return iteration

    def _names_from_outside(self, loop: Loop) -> tuple[str, ...]:
        if loop.header not in self._outside:
            self._outside[loop.header] = loop.names_from_outside(self._function)
        return self._outside[loop.header]

    def _check_steps(self, path: Path, loop: Loop, steps: list[tuple[Instruction, int]]) -> None:
        opcodes = Opcodes(self._e, path.facts)
        for phi, step in steps:
            following = self._incoming(opcodes, path, phi, path.before)
            expected = path.values[phi.result or ""] + Affine.constant(step)
            if path.facts.resolved(following) != path.facts.resolved(expected):
                raise NotUnderstood(f"an index that does not move on by {step} each time: {phi.text}")

    def _last_iteration(self, ends: list[End], counter: str, facts: Facts) -> Affine:
        """Return the number of the iteration after which the loop is left."""
        conditions = {(end.condition, end.leaves_if) for end in ends if not end.is_back}
        if len(conditions) != 1:
            raise NotUnderstood(f"a loop with {len(conditions)} ways out: {conditions}")
        ((condition, leaves_if),) = conditions
        if condition is None:
            raise NotUnderstood("a loop that is left without a condition")
        if condition.is_constant and condition.args[0] == int(leaves_if):
            return Affine.constant(0)
        if condition.op == "not":
            condition, leaves_if = condition.operands[0], not leaves_if
        if condition.op != "compared":
            raise NotUnderstood(f"a loop that is left if {condition}")
        predicate, first, second = condition.args
        return last_iteration(facts, (predicate, first, second), leaves_if, counter)

    def _after(self, path: Path, iteration: Iteration, counter: str) -> Path:
        """Return the path after a loop over elements."""
        facts = path.facts.copy()
        if iteration.is_fresh:
            facts = iteration.end.facts.copy()
            iteration.is_fresh = False
        facts.let(counter, 0, MANY)
        last = self._last_iteration(iteration.ends, counter, facts)
        after = path.copy(block=iteration.end.block, before=iteration.end.before, facts=facts)
        after.values |= iteration.made
        record(self._e, after.memory, facts, iteration.accesses, counter, last)
        facts.meanings[counter] = last
        return after

    def _after_chunks(self, path: Path, ends: list[End], last: Affine, counter: str) -> list[Path]:
        """Verify the end of each chunk, and return the path after all of them."""
        self._chunks_walked += 1
        for end in ends:
            if end.path.memory.chunk != Affine.of("first") + Affine.of(counter):
                raise NotUnderstood(f"chunk {end.path.memory.chunk} is worked on in iteration {counter}")
        if path.facts.resolved(last + Affine.constant(1)) != path.facts.resolved(Affine.of("chunks")):
            raise NotUnderstood(f"the loop over chunks ends after {last}")
        after = next(end.path for end in ends if not end.is_back)
        after.memory, after.facts = path.memory.copy(), path.facts.copy()
        after.facts.meanings[counter] = last
        return [after]
