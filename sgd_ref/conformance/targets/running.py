"""What ``sgd-ref conform`` does: find the implementations, run them side by side, explain mismatches."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from sgd_ref.conformance.cases.axes import full_product
from sgd_ref.conformance.cases.case import Case, Implementation
from sgd_ref.conformance.cases.catalogue import case_id, cases, make_case
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.diagnosis.attribution import (
    KnownFailure,
    explain,
    explain_but_for_rounding,
    is_explained_but_for_rounding,
    known_failure,
)
from sgd_ref.conformance.faithful.combined import ChainOfTransformations
from sgd_ref.conformance.grading.check import Profile, Report, Verdict, check
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.progress import progress_bar
from sgd_ref.conformance.protocol.worker import Handshake, Worker, WorkerFailed
from sgd_ref.conformance.targets.keras.known import KNOWN
from sgd_ref.conformance.targets.keras.launch import BACKENDS, MODES, Keras, available
from sgd_ref.conformance.targets.ledger import path_of, read
from sgd_ref.conformance.targets.optax import known as optax_known
from sgd_ref.conformance.targets.optax import launch as optax
from sgd_ref.conformance.targets.torch import known as torch_known
from sgd_ref.conformance.targets.torch import launch as torch
from sgd_ref.optimizer import SGD

ALL = "all"

FLUSHED = "subnormals-flushed"
"""What XLA does on a CPU, whatever it runs."""

MOST_TOGETHER = 8
"""Candidates for which every choice is tried."""


class CannotRun(Exception):
    """Raised where an implementation is not there to be run."""


@dataclass(frozen=True)
class Target:
    """An implementation to run.

    Attributes
    ----------
    name : str
        As it is shown.
    start : callable
        Returns a context manager that gives the implementation.
    explain : callable or None
        From a verdict that diverges or fails to the names of the known deviations that explain it.
    contradictions : frozenset of str
        The names among them that differ in meaning.
    evidence : mapping of str to str
        Where each name was seen, or was reported.
    introduces_itself : bool
        Whether its handshake says what it is, and what it claims to offer.
    """

    name: str
    start: Callable[[], AbstractContextManager[Implementation]]
    explain: Callable[[Verdict], tuple[str, ...]] | None = None
    contradictions: frozenset[str] = frozenset()
    evidence: Mapping[str, str] = field(default_factory=dict)
    introduces_itself: bool = False


@dataclass(frozen=True)
class Family:
    """The implementations that one word on the command line stands for.

    Attributes
    ----------
    options : mapping of str to tuple of str
        What can be chosen among them, each with its values, the default first.
    member : callable
        From one value of each option to the implementation.
    absent : mapping of tuple of str to str
        Values that go together with nothing to run, and why.
    """

    options: Mapping[str, tuple[str, ...]]
    member: Callable[..., Target]
    absent: Mapping[tuple[str, ...], str] = field(default_factory=dict)


def options_of(name: str) -> dict[str, str]:
    """Return what stands for one implementation on the command line, from its name.

    >>> options_of("keras jax eager")
    {'target': 'keras', 'backend': 'jax', 'mode': 'eager'}
    """
    target, *values = name.split(" ")
    family = FAMILIES.get(target)
    return {"target": target} | ({} if family is None else dict(zip(family.options, values, strict=True)))


def option_values(option: str) -> tuple[str, ...]:
    """Return all values of an option, of whichever family, and "all".

    >>> option_values("variant")
    ('loop', 'foreach', 'fused', 'compiled', 'all')
    """
    values = [value for family in FAMILIES.values() for value in family.options.get(option, ())]
    return (*dict.fromkeys(values), ALL)


def targets(
    target: str, backend: str | None = None, mode: str | None = None, variant: str | None = None
) -> list[Target]:
    """Return what the arguments of the command name.

    Parameters
    ----------
    target : str
        One of `FAMILIES`, or ``module:function``.
    backend, mode, variant : str, optional
        A value of that option of the family, "all" for each of them, None for the first.

    Raises
    ------
    ValueError
        If the target is of neither form, or does not have the option or its value.
    CannotRun
        If nothing of what is named is installed, or the function cannot be imported.
    """
    family = FAMILIES.get(target)
    if family is None and not re.fullmatch(r"[\w.]+:[\w.]+", target):
        raise ValueError(f"the target must be {', '.join(FAMILIES)} or module:function, got {target!r}")
    options = {} if family is None else family.options
    given = {"backend": backend, "mode": mode, "variant": variant}
    for option, value in given.items():
        if value is not None:
            _check_option(target, option, value, options.get(option))
    if family is None:
        return [_function(target)]
    chosen = [
        values if given[option] == ALL else (given[option] or values[0],)
        for option, values in options.items()
    ]
    combinations = list(product(*chosen))
    present = [combination for combination in combinations if combination not in family.absent]
    if not present:
        raise CannotRun(family.absent[combinations[0]])
    return [family.member(*combination) for combination in present]


def program(command: Sequence[str], time_limit: float, start_limit: float) -> Target:
    """Return a program that speaks the protocol of `implementations.process`, whatever its language.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    time_limit, start_limit : float
        Seconds for one case, and from the start to the handshake.
    """
    # No name of a known implementation begins like this, nor the file of a ledger.
    name = f"-- {shlex.join(command)}"

    @contextmanager
    def start() -> Iterator[Implementation]:
        with Worker(command, time_limit=time_limit, start_limit=start_limit) as run:
            try:
                _ = run.handshake
            except (OSError, WorkerFailed) as problem:
                raise CannotRun(f"{name}: {problem}") from problem
            yield run

    return Target(name, start, introduces_itself=True)


def _check_option(target: str, option: str, value: str, values: tuple[str, ...] | None) -> None:
    if values is None:
        owners = ", ".join(name for name, family in FAMILIES.items() if option in family.options)
        raise ValueError(f"--{option} must be left out for {target}, it belongs to {owners}; got {value!r}")
    if value not in (*values, ALL):
        accepted = ", ".join((*values, ALL))
        raise ValueError(f"--{option} of {target} must be one of {accepted}, got {value!r}")


def matching(tier: str, pattern: re.Pattern[str] | None) -> Sequence[Case]:
    """Return the cases of a tier whose id a pattern matches somewhere.

    Raises
    ------
    ValueError
        If there is none.
    """
    if pattern is None:
        return cases(tier)
    if tier == "full":
        # Ids are cheap; cases are made for those that match alone.
        found = [make_case(features) for features in full_product() if pattern.search(case_id(features))]
    else:
        found = [case for case in cases(tier) if pattern.search(case.id)]
    if not found:
        raise ValueError(f"-k must match the id of a case of the {tier} tier, got {pattern.pattern!r}")
    return found


def run_all(
    chosen: Sequence[Target], cases: Sequence[Case], console: Console
) -> tuple[list[Findings], list[str]]:
    """Run the targets, as many at a time as there are processors.

    Returns
    -------
    list of Findings
        In the order of the targets.
    list of str
        Why others could not be run.
    """
    findings: list[Findings] = []
    not_run: list[str] = []
    with (
        warnings.catch_warnings(),
        progress_bar(console) as progress,
        ThreadPoolExecutor(min(os.cpu_count() or 1, len(chosen))) as pool,
    ):
        # Threads share the filters, so that what one of them silences by itself may reach another one.
        warnings.simplefilter("ignore")
        futures = [pool.submit(_run, target, cases, progress) for target in chosen]
        for future in futures:
            try:
                findings.append(future.result())
            except CannotRun as problem:
                not_run.append(str(problem))
    return findings, not_run


def _run(target: Target, cases: Iterable[Case], progress: Progress) -> Findings:
    total = len(cases) if isinstance(cases, Sequence) else None
    task = progress.add_task(target.name, total=total)
    explained: dict[str, Future[tuple[str, ...]]] = {}
    # Explaining one mismatch here goes on while the implementation answers the next case.
    with target.start() as run, ThreadPoolExecutor(1) as explaining:

        def note(verdict: Verdict) -> None:
            if target.explain is not None and verdict.grade in ("diverges", "error"):
                explained[verdict.case.id] = explaining.submit(target.explain, verdict)
            progress.advance(task)

        report = check(run, cases, target.name, progress=note)
        handshake: Handshake | None = getattr(run, "handshake", None)
        versions = {} if handshake is None else {"version": handshake.version, **handshake.versions}
        if handshake is not None and target.introduces_itself:
            report = replace(report, profile=_claims(handshake, report))
            itself = {"name": handshake.name, "version": handshake.version, "language": handshake.language}
            versions = {key: text for key, text in {**itself, **versions, **itself}.items() if text}
        names = {case_id: future.result() for case_id, future in explained.items()}
    return Findings(report, versions, names, target.contradictions)


def _claims(handshake: Handshake, report: Report) -> Profile:
    """Return what a handshake claims, without that of which no case was run."""
    cases = [verdict.case for verdict in report.verdicts.values()]
    dtypes = {variable.dtype.name for case in cases for variable in case.variables}
    values = {item for case in cases for item in (case.features or {}).items()}
    return Profile(
        dtypes=frozenset(dtypes.intersection(handshake.dtypes or ())),
        features={
            axis: frozenset(value for value in claimed if (axis, value) in values)
            for axis, claimed in handshake.features.items()
        },
    )


def _keras(backend: str, mode: str) -> Target:
    name = f"keras {backend} {mode}"

    def start() -> AbstractContextManager[Implementation]:
        if not available(backend):
            package = {"torch": "torch"}.get(backend, "keras")
            raise CannotRun(f"{name}: {backend} is not installed; pip install 'sgd-ref[keras,{package}]'")
        return Keras(backend, mode)

    known = KNOWN[backend, mode]
    return _known(name, start, lambda case: tuple(known.deviations), known.deviations, known.failures)


def _torch(variant: str) -> Target:
    name = f"torch {variant}"

    def start() -> AbstractContextManager[Implementation]:
        obstacle = torch.obstacle(variant)
        if obstacle is not None:
            raise CannotRun(f"{name}: {obstacle}")
        return torch.Torch(variant)

    known = torch_known.KNOWN[variant]
    return _known(
        name,
        start,
        lambda case: torch_known.expected(case, variant),
        known.deviations,
        known.failures,
        torch_known.EVALUATIONS[variant],
    )


def _optax(mode: str) -> Target:
    name = f"optax {mode}"

    def start() -> AbstractContextManager[Implementation]:
        if not optax.available():
            raise CannotRun(f"{name}: Optax is not installed; pip install optax jax")
        return optax.Optax(mode)

    known = optax_known.KNOWN[mode]
    return _known(
        name,
        start,
        lambda case: tuple(dict.fromkeys((*optax_known.expected(case, mode), FLUSHED))),
        known.deviations,
        known.failures,
        (ChainOfTransformations,),
    )


FAMILIES: Mapping[str, Family] = {
    "keras": Family(
        {"backend": BACKENDS, "mode": MODES},
        _keras,
        {("torch", "compiled"): "fit() does not compile on PyTorch: what it runs there is the eager mode"},
    ),
    "torch": Family({"variant": torch.VARIANTS}, _torch),
    "optax": Family({"mode": optax.MODES}, _optax),
}
"""The targets that are known by a word; one is added by one entry."""


def _known(
    name: str,
    start: Callable[[], AbstractContextManager[Implementation]],
    candidates: Callable[[Case], tuple[str, ...]],
    deviations: Mapping[str, str],
    failures: Sequence[KnownFailure],
    variants: Sequence[type[SGD]] = (),
) -> Target:
    """Return a target whose mismatches are explained by what is known of it."""
    path = path_of(name)
    ledger = read(path) if path.exists() else {}

    def explain_verdict(verdict: Verdict) -> tuple[str, ...]:
        if verdict.trajectory is None:
            failure = known_failure(verdict.case, verdict.message, failures)
            return () if failure is None else (failure,)
        names = candidates(verdict.case)
        explanation = explain(verdict.case, verdict.trajectory, names)
        if explanation.complete:
            return explanation.names
        # Which roundings come beside a contradiction depends on the processor; the contradiction does not.
        recorded = ledger.get(verdict.case.id)
        if (
            recorded is not None
            and set(recorded.names) <= set(names)
            and is_explained_but_for_rounding(verdict.case, verdict.trajectory, recorded.names, variants)
        ):
            return recorded.names
        # More are those of all cases, tried together already.
        few = names if len(names) <= MOST_TOGETHER else ()
        return explain_but_for_rounding(verdict.case, verdict.trajectory, few, variants)

    contradictions = {name for name in (*deviations, FLUSHED) if _is_contradiction(name)}
    contradictions |= {failure.name for failure in failures}
    evidence = {**deviations, **{failure.name: failure.evidence for failure in failures}}
    return Target(name, start, explain_verdict, frozenset(contradictions), evidence)


def _is_contradiction(name: str) -> bool:
    return DEVIATIONS[name].kind == "contradiction"


def _function(target: str) -> Target:
    module_name, _, path = target.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        function: Any = importlib.import_module(module_name)
        for attribute in path.split("."):
            function = getattr(function, attribute)
    # A module may do anything when it is imported.
    except (Exception, SystemExit) as problem:
        raise CannotRun(f"{target}: {type(problem).__name__}: {problem}") from problem
    finally:
        sys.path.remove(folder)
    if not callable(function):
        raise CannotRun(f"{target}: it is not a function")
    return Target(target, lambda: nullcontext(function))
