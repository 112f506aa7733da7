"""``python -m numba_kernels.selfcheck.ptx.mutants``: put mistakes in, and count how many are noticed."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from numba_kernels.selfcheck.extent import SEED, Extent
from numba_kernels.selfcheck.ptx import session, texts
from numba_kernels.selfcheck.ptx.checks.working import Way, run_cases
from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.machine import launch
from numba_kernels.selfcheck.ptx.machine.code import Code
from numba_kernels.selfcheck.ptx.mutants.in_host_code import host_mutants
from numba_kernels.selfcheck.ptx.mutants.in_ptx import Mutant, mutants, with_rate_truncated
from numba_kernels.selfcheck.ptx.mutants.subjects import Subject, subjects
from sgd_ref.conformance.catalogue.case import Case

AS_REQUIRED, TOO_MANY_SURVIVE, COULD_NOT_RUN = 0, 1, 3

MOST_STEPS = 100_000
"""The largest number of steps of a launch, which ends a mutant that would run for ever."""

LEAST_SHARE = 0.95

TRIES = 5
"""The number of tries for a mistake in the host code: only some of the random orders of work show it."""

OF_THE_RATE = "update_bfloat16_no_momentum_plain"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m numba_kernels.selfcheck.ptx.mutants", description=__doc__
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the choice of mutants")
    parser.add_argument("--each", type=int, default=5, help="mutants of each kernel, at most")
    parser.add_argument(
        "--only", type=re.compile, default=re.compile(""), metavar="PATTERN", help="kernels so named, or host"
    )
    options = parser.parse_args(arguments)
    reason = session.why_not()
    if reason is not None:
        print(f"could not run: {reason}", file=sys.stderr)
        return COULD_NOT_RUN
    session.begin()
    started = time.perf_counter()
    killed = survived = 0
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(launch, "MOST_STEPS", MOST_STEPS):
        for name, how in _seen(Extent(seed=options.seed), options.each, options.only, Path(folder)):
            killed, survived = killed + (how is not None), survived + (how is None)
            print(
                f"{'SURVIVES' if how is None else 'seen    '} {name}{'' if how is None else f': {how}'}",
                flush=True,
            )
    total = killed + survived
    print(f"{killed} of {total} mutants were seen by executed PTX, in {time.perf_counter() - started:.0f} s")
    return AS_REQUIRED if total and killed >= LEAST_SHARE * total else TOO_MANY_SURVIVE


def _seen(extent: Extent, each: int, only: re.Pattern[str], folder: Path) -> Iterator[tuple[str, str | None]]:
    for subject in subjects(extent):
        if not any(map(only.search, subject.kernels)):
            continue
        problem = _problem_of_subject(subject, extent, folder)
        if problem is not None:
            raise RuntimeError(f"without a mistake all must be well, got {problem}")
        for mutant in _of_subject(subject, extent, each):
            if not only.search(mutant.kernel):
                continue
            name = f"{mutant.kernel} line {mutant.before.line}, {mutant.change}: {mutant.before}"
            yield name, _problem_of(mutant, subject, extent, folder)
    for host in host_mutants(extent) if only.search("host") else ():
        with host.apply():
            others = (replace(extent, seed=extent.seed + number) for number in range(TRIES))
            tries = (_problem(host.case, host.way, other, folder) for other in others)
            problem = next((found for found in tries if found is not None), None)
        session.begin().queue.finish_all()
        yield f"host: {host.name}", problem


def _of_subject(subject: Subject, extent: Extent, each: int) -> Iterator[Mutant]:
    device = session.begin()
    entries = {name: entry for entry, name in device.names.items()}
    for name in subject.kernels:
        code = device.codes.get(entries.get(name, ""))
        text = texts.kept(name)
        if code is None or text is None:
            raise RuntimeError(f"the cases of {name} must launch it")
        executed = set(np.flatnonzero(code.executed).tolist())
        if name == OF_THE_RATE:
            yield with_rate_truncated(name, text, code.kernel)
        yield from mutants(name, text, code.kernel, executed, extent.seed, each)


def _problem_of(mutant: Mutant, subject: Subject, extent: Extent, folder: Path) -> str | None:
    device = session.begin()
    try:
        device.replaced[mutant.kernel] = Code(mutant.text)
    except NotUnderstood as problem:
        raise RuntimeError(f"{mutant.change} must make PTX that is known, got {problem}") from problem
    try:
        return _problem_of_subject(subject, extent, folder)
    finally:
        device.replaced.clear()


def _problem_of_subject(subject: Subject, extent: Extent, folder: Path) -> str | None:
    problems = (_problem(subject.case, way, extent, folder) for way in subject.ways)
    return next((problem for problem in problems if problem is not None), None)


def _problem(case: Case, way: Way, extent: Extent, folder: Path) -> str | None:
    result: Any = run_cases("mutants", [case], way, extent, folder)
    if not result.differing:
        return None
    lines = result.differences[0].splitlines()
    return " ".join(lines[1].split())[:150] if len(lines) > 1 else "differs"
