"""The proof of one kernel: each path writes the values of the rule, for every element and every setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from numba_kernels.selfcheck.proof.expressions import Expressions, Node, Rule
from numba_kernels.selfcheck.proof.halves import Claim, Halves
from numba_kernels.selfcheck.proof.integers import Affine, Facts
from numba_kernels.selfcheck.proof.llvm.graph import Graph
from numba_kernels.selfcheck.proof.llvm.instructions import Function, NotUnderstood
from numba_kernels.selfcheck.proof.llvm.parsing import function_of_kernel
from numba_kernels.selfcheck.proof.memory import INDIRECT, MISSING, PRESENT, Places, Situation, Written
from numba_kernels.selfcheck.proof.normal import RULES
from numba_kernels.selfcheck.proof.paths import Iteration, Path
from numba_kernels.selfcheck.proof.reference import Features, Reference, features_of
from numba_kernels.selfcheck.proof.walking import Walk
from numba_kernels.shared.element import ACCUMULATED, NO_MOMENTUM, Variant
from sgd_ref.arithmetic.formats import HALF_FORMATS

SHOWN = 3
"""The number of differences of one kernel that are reported in full."""


@dataclass
class Proof:
    """The result for one kernel.

    Attributes
    ----------
    specialisations : int
        Combinations of features and flags.
    expressions : int
        The number of results that were compared with the rule, over all combinations and paths through the
        kernel.
    failures : list of str
        The reasons why it is not proven; empty if it is proven.
    claims : set of Claim
        Claims about conversions of half types, which have to be proven separately.
    unreached : list of str
        Blocks that no path reaches.
    """

    specialisations: int = 0
    expressions: int = 0
    failures: list[str] = field(default_factory=list)
    claims: set[Claim] = field(default_factory=set)
    unreached: list[str] = field(default_factory=list)


def prove(
    module: str, dtype: np.dtype[Any], variant: Variant | None, rules: tuple[Rule, ...] = RULES
) -> Proof:
    """Prove that a kernel computes the rule, or say where it differs.

    Parameters
    ----------
    module : str
        The optimised module, in LLVM's textual form.
    dtype : dtype
        The dtype of the variables.
    variant : Variant or None
        The variant of a kernel that updates; None for the kernel that only accumulates.
    rules : tuple of callable
        The steps of normalisation.
    """
    prover = Prover(dtype, variant, rules)
    try:
        prover.run(function_of_kernel(module))
    except NotUnderstood as reason:
        prover.proof.failures.append(f"not understood: {reason}")
    return prover.proof


class Prover:
    """The comparison of a kernel with the rule; see `prove` for the parameters."""

    def __init__(
        self, dtype: np.dtype[Any], variant: Variant | None, rules: tuple[Rule, ...] = RULES
    ) -> None:
        self.proof = Proof()
        self.accumulates = variant is None
        self._dtype, self._variant = dtype, variant
        self._halves = Halves(dtype.name) if dtype in HALF_FORMATS else None
        if self._halves is not None:
            rules += (self._halves.rule,)
            self.proof.claims = self._halves.claims
        self.e = Expressions(rules)
        self._reference = Reference(self.e, dtype)
        self._compared: dict[Any, bool] = {}
        self.expected: dict[Any, tuple[dict[str, Node], dict[Node, Node]]] = {}

    def run(self, function: Function) -> None:
        """Walk all paths through a kernel, in all situations."""
        reached: set[str] = set()
        graph = Graph.of(function)
        iterations: dict[Any, list[Iteration]] = {}
        for situation in situations_of(self._variant):
            self.proof.specialisations += len(self.features(situation))
            walk = Walk(
                self.e,
                function,
                Places(self.e, self._dtype.itemsize, situation),
                partial(self._verify, situation),
                graph,
                iterations,
            )
            walk.run()
            reached |= walk.reached
        self.proof.unreached = [label for label in function.blocks if label not in reached]

    def features(self, situation: Situation) -> list[Features]:
        """Return the combinations of features that lead to the kernel in a situation."""
        if self._variant is None:
            return [
                features
                for features in features_of(Variant(NO_MOMENTUM, ACCUMULATED, averages=False))
                if features.clipping == "none" and not features.has_decay
            ]
        return [
            features for features in features_of(self._variant) if features.has_decay or not situation.decays
        ]

    def arrays(self) -> list[str]:
        """Return the arrays that the kernel has, apart from the gradient."""
        variant = self._variant
        if variant is None:
            return ["variable", "accumulator"]
        return [
            "variable",
            *["velocity"] * (variant.momentum != NO_MOMENTUM),
            *["average"] * variant.averages,
            *["accumulator"] * (variant.gradient == ACCUMULATED),
        ]

    def _verify(self, situation: Situation, path: Path) -> None:
        """Compare the content of memory at the end of a chunk with the rule."""
        if situation.gradient == INDIRECT:
            if path.memory.written:
                raise NotUnderstood("a row that is to be skipped is written")
            return
        arrays = self.arrays()
        others = {written.array for written in path.memory.written} - set(arrays)
        if others:
            raise NotUnderstood(f"{', '.join(sorted(others))} is written, which the kernel has not")
        for array in arrays:
            for node in self._final(path, array):
                self.compare(node, array, path.known, situation, self.features(situation))

    def _final(self, path: Path, array: str) -> Iterator[Node]:
        """Yield the final values of all elements of an array, in terms of the values before."""
        facts = path.facts
        kind = "16 bits" if self._dtype in HALF_FORMATS else {4: "float", 8: "double"}[self._dtype.itemsize]
        unchanged = self.e.raw("own", kind, array)
        ranges = [written for written in path.memory.written if written.array == array]
        place, end = Affine.constant(0), facts.resolved(Affine.of("count"))
        while facts.sign(end - place) != 0:
            first = _first(facts, ranges)
            if first is None:
                yield unchanged
                return
            if (
                facts.is_negative(first.low - place) is not False
                or facts.is_negative(end - first.high) is not False
            ):
                raise NotUnderstood(f"{array}[{place}] to [{end}] is written as {_told(ranges)}")
            if facts.sign(first.low - place) != 0:
                yield unchanged
            yield from first.nodes
            ranges.remove(first)
            place = facts.resolved(first.high)
        if ranges:
            raise NotUnderstood(f"{array} is written beyond its end, [{end}]: {_told(ranges)}")

    def compare(
        self,
        node: Node,
        array: str,
        known: Mapping[Node, Node],
        situation: Situation,
        chosen: Sequence[Features],
    ) -> None:
        """Compare the content of an array with the rule, for some combinations of features."""
        for features in chosen:
            key = (node, array, situation, features, self.accumulates, tuple(known.items()))
            if key in self._compared:
                continue
            results, arguments = self._rule(features, situation)
            also = {}
            for own, constant in known.items():
                told = arguments.get(own)
                if told is not None and told.is_constant and told is not constant:
                    break
                if told is not None and not told.is_constant:
                    also[told] = constant
            else:
                found = self.e.substituted(
                    self.e.substituted(self.e.substituted(node, known), arguments), also
                )
                expected = self.e.substituted(results[array], also)
                self._compared[key] = found is expected
                self.proof.expressions += 1
                if found is not expected:
                    self._fail(found, expected, f"{array}, {situation}, {features}")

    def _rule(self, features: Features, situation: Situation) -> tuple[dict[str, Node], dict[Node, Node]]:
        key = features, situation, self.accumulates
        if key not in self.expected:
            self.expected[key] = (
                self._reference.results(features, situation, accumulates=self.accumulates),
                self._reference.arguments(features, situation),
            )
        return self.expected[key]

    def _fail(self, found: Node, expected: Node, where: str) -> None:
        if len(self.proof.failures) < SHOWN:
            first, second = first_difference(found, expected)
            parts = [f"{where}", f"  the kernel has {found}", f"  the rule has   {expected}"]
            if first is not found:
                parts.append(f"  first where the kernel has {first}, the rule has {second}")
            self.proof.failures.append("\n".join(parts))
        else:
            self.proof.failures.append(where)


def situations_of(variant: Variant | None) -> list[Situation]:
    """Return the situations in which a kernel must be proven.

    >>> len(situations_of(None)), len(situations_of(Variant(NO_MOMENTUM, ACCUMULATED, averages=True)))
    (3, 13)
    """
    if variant is None:
        return [Situation(PRESENT), Situation(MISSING), Situation(INDIRECT)]
    flags = list(product((False, True), repeat=2)) if variant.averages else [(False, False)]
    return [
        *(Situation(PRESENT, decays, *both) for decays in (False, True) for both in flags),
        *(Situation(MISSING, False, *both) for both in flags),
        Situation(INDIRECT),
    ]


def _first(facts: Facts, ranges: list[Written]) -> Written | None:
    """Return the range that comes before all others, if there is such a range."""
    for one in ranges:
        if all(other is one or facts.is_negative(other.low - one.low) is False for other in ranges):
            return one
    return None


def first_difference(found: Node, expected: Node) -> tuple[Node, Node]:
    """Return the innermost parts of two expressions that account for the whole difference."""
    while found.op == expected.op and len(found.args) == len(expected.args):
        pairs = [
            (first, second)
            for first, second in zip(found.args, expected.args, strict=True)
            if first is not second and first != second
        ]
        if len(pairs) != 1 or not all(isinstance(part, Node) for part in pairs[0]):
            break
        found, expected = pairs[0]
    return found, expected


def _told(ranges: list[Written]) -> str:
    return ", ".join(f"[{written.low}] to [{written.high}]" for written in ranges) or "nothing"
