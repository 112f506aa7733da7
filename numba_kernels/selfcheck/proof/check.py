"""All elementwise kernels of this machine, proven one by one, in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.machine_code.compiling import ACCUMULATE, UPDATE, Kernel, kernels_of
from numba_kernels.selfcheck.page import counted
from numba_kernels.selfcheck.processes import processes
from numba_kernels.selfcheck.proof import sweep
from numba_kernels.selfcheck.proof.halves import Claim
from numba_kernels.selfcheck.proof.proving import Proof, prove
from numba_kernels.shared.element import PYTORCH, Variant
from sgd_ref.arithmetic.formats import BY_NAME, FLOAT16

START = "proof"

PARTS_OF_SWEEP = 16
"""The number of parts of all float32 that processes take one at a time, for each conversion."""

PURPOSE = "Are the elementwise kernels (numba_kernels) the rule (sgd_ref.rule) for all inputs?"

OUTSIDE = (
    "outside of this proof: norms, sums of squares and the factors made of them; gradients of narrower "
    "dtypes under one global_clipnorm with float64; LLVM's code generator; the kernels for CUDA, which "
    "--device ptx proves"
)

Advance = Callable[[str, int, int], None]


@dataclass
class Findings:
    """The results for all kernels.

    Attributes
    ----------
    kernels, specialisations, expressions : int
        The numbers of kernels and specialisations that were proven or refuted, and of expressions that were
        compared.
    conversions : dict of Claim to tuple of int
        For each conversion, the number of float32 that were tried, and the number that are not converted as
        claimed.
    failures : list of str
        Each kernel that is not proven, with the reason.
    not_run : list of str
        The checks that could not be run.
    """

    kernels: int = 0
    specialisations: int = 0
    expressions: int = 0
    conversions: dict[Claim, tuple[int, int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[Claim]:
        """The conversions that differ from their claim."""
        return [claim for claim, (_, different) in self.conversions.items() if different]


def kernels(extent: Extent) -> list[Kernel]:
    """Return the elementwise kernels of an extent; those that take longest come first.

    >>> len(kernels(Extent()))
    185
    """
    found = [kernel for kernel in kernels_of(extent) if kernel.is_elementwise]
    # The cases of the check are those of Keras' rule, so that the kernels of the other rule are here alone.
    if extent.tier != QUICK:
        found += [
            kernel._replace(options=(kernel.options[0]._replace(rule=PYTORCH), *kernel.options[1:]))
            for kernel in found
            if kernel.kind == UPDATE
        ]
    # The variant for processors that do not convert float16.
    found.append(Kernel(ACCUMULATE, FLOAT16.name, (False,)))
    return [kernel for kernel in found if extent.wants(f"{START}/{kernel.name}")]


def proof_of(kernel: Kernel) -> Proof:
    """Return the proof of one kernel, compiled or taken from the cache."""
    variant = kernel.options[0] if kernel.kind == UPDATE else None
    assert variant is None or isinstance(variant, Variant)
    return prove(module_of(kernel.compiled()), BY_NAME[kernel.dtype], variant)


def module_of(compiled: Any) -> str:
    """Return the optimised LLVM module of a kernel, from which its machine code is made."""
    (overload,) = compiled.overloads.values()
    return str(overload.library._get_module_for_linking())


def run(extent: Extent, advance: Advance = lambda doing, done, parts: None) -> Findings:
    """Prove all elementwise kernels of an extent, and the conversions that they contain.

    Parameters
    ----------
    extent : Extent
        The extent; if it has several processes, each takes one kernel at a time.
    advance : callable, optional
        Called with the progress.
    """
    findings = Findings()
    chosen = kernels(extent)
    with pool_of(extent, findings) as pool:
        add_all(findings, pool, proof_of, chosen, advance)
        pieces = [
            (claim, range(part, sweep.BLOCKS, PARTS_OF_SWEEP))
            for claim in findings.conversions
            for part in range(PARTS_OF_SWEEP)
        ]
        for number, (piece, (tried, wrong)) in enumerate(each(pool, _swept, pieces), start=1):
            before = findings.conversions[piece[0]]
            findings.conversions[piece[0]] = before[0] + tried, before[1] + wrong
            advance("sweeping conversions", number, len(pieces))
    return findings


def _swept(piece: tuple[Claim, range]) -> tuple[int, int]:
    return sweep.differing(*piece)


def pool_of(extent: Extent, findings: Findings) -> AbstractContextManager[Executor | None]:
    """Return the processes of an extent; None if this process does the work."""
    return nullcontext() if extent.processes == 1 else processes(extent.processes, findings.not_run)


def each(
    pool: Executor | None, function: Callable[[Any], Any], given: Sequence[Any]
) -> Iterator[tuple[Any, Any]]:
    """Yield each item with the result of a function, in order."""
    results: Iterable[Any] = map(function, given) if pool is None else pool.map(function, given)
    return zip(given, results, strict=True)


def add_all(
    findings: Findings,
    pool: Executor | None,
    proof_of: Callable[[Any], Proof],
    chosen: Sequence[Any],
    advance: Advance,
) -> None:
    """Add the proof of each of some kernels, which have names, to the findings."""
    for number, (kernel, proof) in enumerate(each(pool, proof_of, chosen), start=1):
        add(findings, kernel.name, proof)
        advance("proving kernels", number, len(chosen))


def add(findings: Findings, name: str, proof: Proof) -> None:
    """Add the proof of a kernel to the findings."""
    findings.kernels += 1
    findings.specialisations += proof.specialisations
    findings.expressions += proof.expressions
    for claim in proof.claims:
        findings.conversions.setdefault(claim, (0, 0))
    if proof.failures:
        shown = "\n".join(failure for failure in proof.failures if "\n" in failure or ":" in failure)
        findings.failures.append(f"{START}/{name}: {counted(len(proof.failures), 'failure')}\n{shown}")
    elif not proof.expressions:
        findings.failures.append(f"{START}/{name}: no expression was compared")


def page(findings: Findings, outside: str = OUTSIDE) -> Iterator[str]:
    r"""Yield the lines that describe the results.

    >>> print(*page(Findings(1, 2, 3)), sep="\n")  # doctest: +ELLIPSIS
    1 kernel, 2 specialisations, 3 expressions compared with the rule
    0 conversions of half types, each compared with its definition on all float32
    outside of this proof: ...
    PROVEN: every result of 1 of 1 kernel is the expression of the rule.
    """
    for failure in findings.failures:
        yield f"NOT PROVEN: {failure}"
    for claim in findings.wrong:
        tried, different = findings.conversions[claim]
        yield (
            f"NOT PROVEN: {different:,} of {tried:,} float32 are not converted to {claim.half} as defined: "
            f"{claim}"
        )
    for reason in findings.not_run:
        yield f"NOT RUN: {reason}"
    yield (
        f"{counted(findings.kernels, 'kernel')}, {counted(findings.specialisations, 'specialisation')}, "
        f"{counted(findings.expressions, 'expression')} compared with the rule"
    )
    yield (
        f"{counted(len(findings.conversions), 'conversion')} of half types, each compared with its "
        "definition on all float32"
    )
    yield outside
    proven = findings.kernels - len(findings.failures)
    of_all = f"{proven:,} of {counted(findings.kernels, 'kernel')}"
    if findings.failures or findings.wrong:
        conversions = len(findings.conversions) - len(findings.wrong)
        yield f"FAILED: only {of_all} and {counted(conversions, 'conversion')} are proven."
    elif findings.not_run:
        yield "INCOMPLETE: not everything could be run, so this proves nothing."
    else:
        yield f"PROVEN: every result of {of_all} is the expression of the rule."
