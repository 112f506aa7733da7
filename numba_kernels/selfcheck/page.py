"""The page that ``sgd-ref check`` prints: the machine and the options, a table of the checks, a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llvmlite import binding
from rich.table import Table

from numba_kernels import machine
from numba_kernels.cpu.target import converts_half_in_hardware, target
from numba_kernels.selfcheck import golden_data, gradient_forms, norms, product, sizes, special, threads_check
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.machine_code import compiling
from numba_kernels.selfcheck.machine_code import cpu as machine_code
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import Outcome
from numba_kernels.selfcheck.threads_check import COUNTS

PURPOSE = "Do the kernels (numba_kernels) compute the bits of the definition (sgd_ref) on this machine?"

SOFTWARE = ("Python", "numba", "llvmlite", "numpy", "ml_dtypes")

VECTORS = (
    "sse2",
    "avx",
    "avx2",
    "avx512f",
    "fma",
    "f16c",
    "avx512fp16",
    "neon",
    "sve",
    "fullfp16",
    "fp-armv8",
)

TITLES = {
    compiling.NAME: "kernels compiled",
    sizes.NAME: "sizes, memory layouts",
    gradient_forms.NAME: "forms of gradients",
    special.NAME: "special values",
    threads_check.NAME: "numbers of threads",
    norms.NAME: "norms for clipping",
    machine_code.NAME: "machine code",
    golden_data.NAME: "golden data",
    product.NAME: "feature combinations",
}
"""Titles of checks, by the names that ids of cases begin with; other checks are shown by their names."""

COUNTED = ("cases", "values", "differing", "skipped")
"""Columns of the table."""


def description(extent: Extent) -> list[str]:
    """Return the machine, the compiler and the versions for which the results hold, and the tier and seed."""
    return [
        *where(),
        f"this run: {extent.tier} tier, seed {extent.seed}, {counted(extent.processes, 'process')}, "
        f"optimizers with {' and '.join(map(str, COUNTS))} threads",
    ]


def where() -> list[str]:
    """Return the machine, the compiler and the versions for which the results hold."""
    found = machine.description()
    compiled_for = target()
    vectors = " ".join(name for name in VECTORS if name in compiled_for.present())
    shown = f"features set to {compiled_for.features!r}" if compiled_for.chosen else vectors
    llvm = ".".join(map(str, binding.llvm_version_info))
    half = "by the processor" if converts_half_in_hardware() else "by bits"
    return [
        f"processor: {found['processor']}",
        f"system: {found['system']}",
        f"software: {', '.join(f'{name} {found[name]}' for name in SOFTWARE if name in found)}",
        f"compiler: LLVM {llvm} for {compiled_for.name} ({shown}); float16 converted {half}",
    ]


def details(outcome: Outcome) -> Iterator[str]:
    """Yield the lines below the counts: differences, failures, and skipped parts."""
    for result in outcome.results:
        for text in result.differences:
            yield f"DIFFERS: {text}"
    for reason in outcome.not_run:
        yield f"NOT RUN: {reason}"
    for result in outcome.results:
        for reason, count in sorted(result.reasons.items()):
            yield f"SKIPPED: {counted(count, 'case')} of {title(result.name)}: {reason}"


def table(results: Sequence[Result]) -> Table:
    """Return the results as a table, a row for each check that had cases, and their sums."""
    rows = Table(title=None, show_footer=True)
    rows.add_column("what was checked", "all")
    for name, total in zip(COUNTED, _sums(results), strict=True):
        rows.add_column(name, f"{total:,}", justify="right")
    rows.add_column("seconds", f"{sum(result.seconds for result in results):.1f}", justify="right")
    for result in results:
        if result.cases or result.skipped:
            counts = (f"{count:,}" for count in _counts(result))
            rows.add_row(title(result.name), *counts, f"{result.seconds:.1f}")
    return rows


def verdict(outcome: Outcome) -> str:
    """Return the last line of the page.

    >>> verdict(Outcome([Result("sizes", cases=3, compared=12, skipped=1)], []))
    'PASSED: the same bits as the definition. 0 of 12 values differ in 3 cases; 1 case was skipped.'
    """
    cases, compared, differing, skipped = _sums(outcome.results)
    if differing:
        start = "FAILED: other bits than the definition."
    elif outcome.not_run:
        start = "INCOMPLETE: not everything could be run, so this proves nothing."
    else:
        start = "PASSED: the same bits as the definition."
    end = f"{counted(skipped, 'case')} {'was' if skipped == 1 else 'were'} skipped."
    if outcome.not_run:
        end = f"{end[:-1]}, {counted(len(outcome.not_run), 'part')} could not be run."
    return f"{start} {differing:,} of {compared:,} values differ in {counted(cases, 'case')}; {end}"


def title(name: str) -> str:
    """Return the title of a check for the reader.

    >>> title("forms"), title("memory checker")
    ('forms of gradients', 'memory checker')
    """
    return TITLES.get(name, name)


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "case"), counted(2000, "process")
    ('1 case', '2,000 processes')
    """
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def _counts(result: Result) -> tuple[int, int, int, int]:
    """Return what `COUNTED` names."""
    return result.cases, result.compared, result.differing, result.skipped


def _sums(results: Sequence[Result]) -> tuple[int, int, int, int]:
    everything = Result("all")
    for result in results:
        everything.include(result)
    return _counts(everything)
