"""The proof of one elementwise kernel for CUDA, from its PTX."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, HALF, Rule
from numba_kernels.selfcheck.proof.memory import INDIRECT, MISSING, PRESENT, Situation
from numba_kernels.selfcheck.proof.normal import RULES
from numba_kernels.selfcheck.proof.proving import Proof, Prover, situations_of
from numba_kernels.selfcheck.proof.ptx.running import Runner, Thread
from numba_kernels.selfcheck.proof.ptx.tables import Call, Tables
from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.parsing import parse
from numba_kernels.selfcheck.ptx.program import Kernel
from numba_kernels.shared.element import ACCUMULATED, PLAIN, Variant

THREADS = 2

KINDS = {2: HALF, 4: FLOAT, 8: DOUBLE}


def prove(text: str, dtype: np.dtype[Any], variant: Variant, rules: tuple[Rule, ...] = RULES) -> Proof:
    """Prove that a kernel stores the results of the rule, or say where it does not.

    Parameters
    ----------
    text : str
        The PTX of the kernel.
    dtype : dtype
        The dtype of the variables.
    variant : Variant
        The variant of the kernel, with a clipping factor in the dtype.
    rules : tuple of callable
        The steps of normalisation.
    """
    prover = _PtxProver(dtype, variant, rules)
    try:
        prover.run_all(parse(text))
    except NotUnderstood as reason:
        prover.proof.failures.append(f"not understood: {reason}")
    return prover.proof


def calls_of(dtype: np.dtype[Any], variant: Variant) -> Iterator[Call]:
    """Yield the calls in which a kernel is proven.

    >>> len(list(calls_of(np.dtype("float32"), Variant(0, PLAIN, averages=False))))
    8
    """
    width = 16 // dtype.itemsize
    # Two packets for each thread, and two single elements; then one chunk of each kind.
    counts = 2 * THREADS * width + 2 * THREADS - 1, width, 2
    dynamic = (False,) if variant.gradient == PLAIN else (False, True)
    situations = [situation for situation in situations_of(variant) if situation.gradient != INDIRECT]
    for offset in (0, 1):
        for situation, is_dynamic in product(situations, dynamic):
            yield Call(situation, False, False, is_dynamic, counts, offset)
        yield Call(Situation(PRESENT), False, True, False, counts, offset)
        if variant.gradient == ACCUMULATED:
            for gradient, is_dynamic in product((PRESENT, MISSING), dynamic):
                yield Call(Situation(gradient), True, False, is_dynamic, counts, offset)


class _PtxProver(Prover):
    def run_all(self, kernel: Kernel) -> None:
        assert self._variant is not None
        reached: set[int] = set()
        for call in calls_of(self._dtype, self._variant):
            tables = Tables(self.e, self._dtype, call)
            runner = Runner(self.e, kernel, tables, self._dtype.name)
            ends = [runner.run((tables.descriptor, 0), thread, THREADS) for thread in range(THREADS)]
            self.proof.specialisations += len(self._chosen(call))
            whole = self._whole_arrays(tables, ends)
            for path in (path for paths in ends for path in paths):
                reached |= path.reached
                self._verify_path(tables, call, path, whole)
        self._check_reached(kernel, reached)

    def _chosen(self, call: Call) -> list[Any]:
        # The scale of a static and that of a dynamic loss scaling are the same symbol for the rule.
        return [
            features
            for features in self.features(call.situation)
            if features.has_loss_scale or not call.is_dynamic
        ]

    def _whole_arrays(self, tables: Tables, ends: list[list[Thread]]) -> set[str]:
        """Return the arrays of which all elements are stored; check that none is stored twice."""
        stored: list[tuple[str, int]] = []
        for paths in ends:
            if any(path.stored.keys() != paths[0].stored.keys() for path in paths):
                raise NotUnderstood("a thread stores other elements if its numbers are others")
            stored += [tables.place(address) for address in paths[0].stored]
        if len(set(stored)) != len(stored):
            raise NotUnderstood("two threads store the same element")
        counts = Counter(array for array, _ in stored)
        others = counts.keys() - set(self.arrays())
        if others:
            raise NotUnderstood(f"{', '.join(sorted(others))} is stored, which the kernel has not")
        return {array for array, count in counts.items() if count == tables.elements}

    def _verify_path(self, tables: Tables, call: Call, path: Thread, whole: set[str]) -> None:
        leaves = tables.given(call.is_dynamic)
        self.accumulates = call.accumulates
        for address, node in path.stored.items():
            array, index = tables.place(address)
            found = tables.in_own_terms(node, index, leaves)
            if call.is_skipped:
                raise NotUnderstood(f"{array} is stored in a call that is skipped")
            self.compare(found, array, path.known, call.situation, self._chosen(call))
        for array in self.arrays():
            # A compiler may leave out the store of an element that does not change.
            if array not in whole and not call.is_skipped:
                own = self.e.raw("own", KINDS[tables.size], array)
                self.compare(own, array, path.known, call.situation, self._chosen(call))

    def _check_reached(self, kernel: Kernel, reached: set[int]) -> None:
        """Check that every block that stores numbers or computes with them was run, but for the counting."""
        barrier = next(block.index for block in kernel.blocks if block.instructions[-1].opcode == "bar.sync")
        self.proof.unreached = [
            str(block.instructions[0])
            for block in kernel.blocks
            if block.index < barrier and block.index not in reached
        ]
        for instruction in self.proof.unreached:
            self.proof.failures.append(f"the block that begins with {instruction} is never run")
