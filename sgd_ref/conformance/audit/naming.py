"""How often a mistake is named: alone or with another mistake, with and without harmless roundings.

``python -m sgd_ref.conformance.audit.naming --seconds 3600 --seed 1`` draws mistakes, roundings and cases by
chance, each dtype as often as every other, for so long, and prints a table. Draws without a name, or with a
name that explains less, are printed before the table, so that they can be repeated.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from typing import Literal, get_args

from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.diagnosis.exposing import cases_that_expose
from sgd_ref.conformance.diagnosis.matching import diagnose
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal

ROUNDINGS = (
    "update-fused",
    "every-product-fused",
    "rate-factored-velocity",
    "decay-by-factor",
    "average-towards-weights",
    "mean-of-products",
    "unscale-by-wide-reciprocal",
    "clip-by-quotient",
    "norm-in-double",
    "stages-in-float64",
    "contracted",
)
"""Faithful variants beside which a mistake must still be named."""

DTYPES = ("bfloat16", "float16", "float32", "float64", "mixed")

MOST_ELEMENTS, MOST_CALLS = 1000, 12
"""The size of the largest case that is drawn; a diagnosis of larger cases may take long."""

Answer = Literal["named", "fewer names", "others to the bit", "other names", "up to a call", "no name"]
"""How mistakes are named: all of them; some of them, within whose bounds everything is; others that give
every bit; others within whose bounds everything is; names for the first calls; none."""

ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True)
class Draw:
    """Mistakes and a rounding beside them, in a case.

    Attributes
    ----------
    names : tuple of str
        Names of deviations, one or two.
    variant : str
        The faithful variant that they deviate from, or "" for the reference.
    case : Case
        The case.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> print(Draw(("ascends",), "update-fused", conformance.cases("smoke")[0]))
    ascends beside update-fused in axes/plain
    """

    names: tuple[str, ...]
    variant: str
    case: Case

    def __str__(self) -> str:
        beside = f" beside {self.variant}" if self.variant else ""
        return f"{' with '.join(self.names)}{beside} in {self.case.id}"

    def run(self) -> Trajectory:
        """Return the trajectory."""
        if not self.variant:
            return reference.run(self.case, *compose(self.names))
        variant = FAITHFUL[self.variant]
        records = reference.run(self.case, *compose(self.names, variant.optimizer))
        return [{key: record[key] for key in record.keys() - variant.unreported} for record in records]


def dtype_of(case: Case) -> str:
    """Return the one dtype of the variables of a case, or "mixed".

    >>> from sgd_ref import conformance
    >>> dtype_of(conformance.cases("smoke")[0])
    'float32'
    """
    names = {variable.dtype.name for variable in case.variables}
    return names.pop() if len(names) == 1 else "mixed"


def draws(seed: int, number_of_mistakes: int, dtypes: Sequence[str] = DTYPES) -> Iterator[Draw]:
    """Yield draws without end: every second one has a rounding beside the mistakes."""
    chance = random.Random(seed)
    mistakes = [name for name in DEVIATIONS if DEVIATIONS[name].kind == "contradiction"]
    for dtype in cycle(dtypes):
        names = tuple(sorted(chance.sample(mistakes, number_of_mistakes)))
        shared = frozenset.intersection(*map(cases_that_expose, names))
        suiting = sorted(shared & _ordinary_cases()[dtype].keys())
        if suiting:
            case = _ordinary_cases()[dtype][chance.choice(suiting)]
            yield Draw(names, chance.choice(("", chance.choice(ROUNDINGS))), case)


def answer(draw: Draw) -> Answer | None:
    """Return how a draw is named; None if its answer is right, or if one mistake alone has the same effect.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> answer(Draw(("ascends",), "", conformance.cases("smoke")[0]))
    'named'
    """
    observed = _observed(draw)
    if observed is None:
        return None
    found = diagnose(draw.case, observed)
    if not found.names or found.up_to is not None:
        return "up to a call" if found.names else "no name"
    given = [frozenset(names) for names in found.names]
    if frozenset(draw.names) in given:
        return "named"
    if any(names < frozenset(draw.names) for names in given):
        return "fewer names"
    return "others to the bit" if found.is_exact else "other names"


def _observed(draw: Draw) -> Trajectory | None:
    try:
        observed = draw.run()
        alone = [replace(draw, names=(name,)).run() for name in draw.names]
    # Together, mistakes may make no step at all.
    except (ArithmeticError, TypeError, ValueError):
        return None
    is_less = len(alone) > 1 and any(are_equal(draw.case, one, observed) for one in alone)
    if is_less or judge(draw.case, reference.run(draw.case), observed).is_faithful:
        return None
    return observed


@cache
def _ordinary_cases() -> dict[str, dict[str, Case]]:
    chosen: dict[str, dict[str, Case]] = {dtype: {} for dtype in DTYPES}
    for case in cases():
        is_small = sum(variable.size for variable in case.variables) <= MOST_ELEMENTS
        if case.made is None and is_small and len(case.gradients) <= MOST_CALLS and not contested(case):
            chosen[dtype_of(case)][case.id] = case
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how often mistakes drawn by chance are named."""
    parser = argparse.ArgumentParser(prog="python -m sgd_ref.conformance.audit.naming")
    parser.add_argument("--seconds", type=float, default=60, help="how long to draw (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--pairs", action="store_true", help="two mistakes at once")
    parser.add_argument("--draws", type=int, help="stop after so many divergences (default: no limit)")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="of the variables of all cases (default: each in turn)"
    )
    options = parser.parse_args(arguments)
    until = time.monotonic() + options.seconds
    counts: Counter[tuple[str, bool, Answer]] = Counter()
    durations = []
    dtypes = (options.dtype,) if options.dtype else DTYPES
    for draw in draws(options.seed, 2 if options.pairs else 1, dtypes):
        if time.monotonic() > until or counts.total() == options.draws:
            break
        started = time.process_time()
        found = answer(draw)
        if found is None:
            continue
        durations.append(time.process_time() - started)
        counts[dtype_of(draw.case), bool(draw.variant), found] += 1
        if found != "named":
            print(f"{found}: {draw}")
    print("\n".join(table(counts)))
    if durations:
        print(
            f"Median {statistics.median(durations):.2f} s, longest {max(durations):.1f} s of processor time."
        )
    return 0


def table(counts: Counter[tuple[str, bool, Answer]]) -> list[str]:
    """Return the lines of the table.

    >>> lines = table(Counter({("float32", False, "named"): 3, ("float32", False, "no name"): 1}))
    >>> lines[-1]
    '| float32 | no | 4 | 3 (75.0 %) | 0 | 0 | 0 | 0 | 1 |'
    """
    lines = [
        f"| dtype | beside a rounding | drawn | {' | '.join(ANSWERS)} |",
        f"|---|---|---|{'---|' * len(ANSWERS)}",
    ]
    for dtype in DTYPES:
        for is_beside in (False, True):
            of = {kind: counts[dtype, is_beside, kind] for kind in ANSWERS}
            drawn = sum(of.values())
            if drawn:
                share = f"{of['named']} ({100 * of['named'] / drawn:.1f} %)"
                cells = (dtype, "yes" if is_beside else "no", drawn, share, *list(of.values())[1:])
                lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
