"""``sgd-ref explain``: a case step by step, and the place where an implementation departs from it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.command.dialects import add_dialect, chosen_dialect
from sgd_ref.command.lookup import Element, element, find_case, find_recorded
from sgd_ref.command.one_target import check_program
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, DIVERGES, Command, WrongUsage
from sgd_ref.command.printing import complain, console, say
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.deviations import DEVIATIONS, Basis
from sgd_ref.conformance.diagnosis.matching import equal_alone
from sgd_ref.conformance.diagnosis.parting import parting, partings, seeded
from sgd_ref.conformance.diagnosis.replay import steps
from sgd_ref.conformance.dialects import KERAS
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.running import profile_of
from sgd_ref.conformance.targets.target import CannotRun, Target
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import (
    describe_units,
    equal_bits,
    hexadecimal,
    units_apart,
)
from sgd_ref.conformance.trajectories.stages import (
    ACCUMULATOR,
    AVERAGE,
    LEARNING_RATE,
    OVERWRITTEN,
    SHARED,
    UPDATED,
    VELOCITY,
    Stage,
    stages,
)

MOST_ELEMENTS = 3
REPORTED = ("variables", "velocities", "averages", "accumulators")


@dataclass(frozen=True)
class Told:
    """The reference on one case: the stages of each call, and the record after it."""

    stages: list[dict[str, Stage]]
    records: list[Record]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.add_argument(
        "case",
        metavar="CASE",
        help="the id of a case, or a part of it that no other id has; or FILE.json with one recorded case, "
        "whose recorded trajectory is compared if no TARGET is given",
    )
    command.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="the implementation to compare with the reference, as for conform; by default, only the "
        "reference is shown",
    )
    for name, option in registry.options().items():
        values = [value for value in option.values if value != registry.ALL]
        command.add_argument(f"--{name}", choices=values, help="of TARGET, as for conform")
    add_dialect(command)
    command.add_argument("--call", type=int, metavar="N", help="only this call, counted from 0")
    command.add_argument(
        "--element",
        type=element,
        metavar="NAME[I,J]",
        help="the element to show; by default the first few of each variable, or the first that differs",
    )
    command.add_argument(
        "--from-observed",
        action="store_true",
        help="start each call of the reference from the state that the implementation reported before it",
    )


def chosen(options: argparse.Namespace) -> tuple[Case, Target | None]:
    """Return the case that the arguments name, and the implementation if they name one.

    Raises
    ------
    ValueError
        If the case, the target, the call or the element does not exist.
    CannotRun
        If the target is not there to be run.
    """
    answer: Target | None = None
    if options.case.endswith(".json"):
        case, answer = find_recorded(options.case)
    else:
        case = find_case(options.case)
    _check_call(case, options.call)
    _check_element(case, options.element)
    if options.program is not None:
        check_program(options)
        program = registry.program(options.program, registry.TIME_LIMIT, registry.START_LIMIT)
        return case, _held_as(answer, program)
    if options.target is None:
        return case, answer
    given = {name: getattr(options, name) for name in registry.options()}
    return case, _held_as(answer, registry.targets(options.target, **given)[0])


def _held_as(recorded: Target | None, target: Target) -> Target:
    """Return a target, held to the rule that the file of a recorded case names, if it names one."""
    if recorded is None or recorded.dialect == KERAS:
        return target
    return replace(target, rule=recorded.rule, by_design=recorded.by_design)


def run(options: argparse.Namespace) -> int:
    """Print the case, or the place where a trajectory leaves the right one, and return the exit status."""
    try:
        try:
            case, target = chosen(options)
        except ValueError as problem:
            raise WrongUsage(str(problem)) from problem
        return show(options, case, target, console())
    except CannotRun as problem:
        complain(problem)
        return COULD_NOT_RUN


def show(options: argparse.Namespace, case: Case, target: Target | None, console: Console) -> int:
    """Print a case, with the answer of the implementation if there is one, and return the exit status.

    Returns
    -------
    int
        0: shown; with an implementation, it is exact, differs by rounding or diverges in a way that is
        known. 1: it diverges or fails. 3: it does not support the case.

    Raises
    ------
    CannotRun
        If the target is not there to be run.
    """
    if target is None:
        _introduce(console, case)
        told = Told(stages(case), reference.run(case))
        for call in _calls(case, options.call):
            console.print(_table_of_reference(console, case, told, call, options.element))
        return AS_EXPECTED
    with target.start() as implementation:
        profile = profile_of(target, implementation, chosen_dialect(options, target.rule))
        verdict = grade(implementation, case, profile)
    _introduce(console, verdict.case)
    return _compared(options, console, target, verdict)


def _introduce(console: Console, case: Case) -> None:
    say(console, f"{case.id}: {case.notes}")
    settings = {key: value for key, value in case.config.items() if value is not None}
    say(console, ", ".join(f"{key}={value!r}" for key, value in settings.items()))


def _compared(options: argparse.Namespace, console: Console, target: Target, verdict: Verdict) -> int:
    case, observed = verdict.case, verdict.trajectory
    if observed is None:
        say(console, f"{target.name}: {verdict.grade}: {verdict.message}")
        if verdict.traceback:
            say(console, verdict.traceback.rstrip())
        return COULD_NOT_RUN if verdict.grade == "unsupported" else DIVERGES
    basis = verdict.dialect.basis()
    told = Told(stages(case, *basis.composed()), basis.run(case))
    if options.from_observed:
        try:
            told = _from_observed(case, observed, basis)
        except (TypeError, ValueError) as refusal:
            say(console, f"the reference starts from no state like the one that was observed: {refusal}")
    place = options.element or _place(verdict)
    if place is not None:
        for call in _calls(case, options.call):
            console.print(_table_of_both(console, case, told, observed, call, place, target.name))
    first = parting(case, observed, basis)
    if first is None:
        say(
            console,
            f"{target.name}: exact: the bits of the rule of {verdict.dialect} in all {len(observed)} records",
        )
        return AS_EXPECTED
    own = {found.difference.call: found for found in partings(case, observed, basis) if found is not None}
    say(console, f"held to the rule of {verdict.dialect}")
    say(console, f"{target.name}: {verdict.grade}; the first difference is at {first.difference}")
    say(console, f"its stage: {first.where}")
    say(console, f"calls that part by themselves, from what was observed before: {', '.join(map(str, own))}")
    if verdict.violation is not None:
        say(console, f"the first value that no faithful evaluation gives: {verdict.violation}")
        if verdict.violation.call in own:
            say(console, f"its stage: {own[verdict.violation.call].where}")
    if target.explain is None:
        _say_own(console, verdict)
        return AS_EXPECTED if verdict.grade == "rounding" else DIVERGES
    names = target.explain(verdict)
    _say_deviations(console, names)
    if not names and verdict.grade == "diverges":
        _say_own(console, verdict)
    return AS_EXPECTED if names or verdict.grade == "rounding" else DIVERGES


def _say_own(console: Console, verdict: Verdict) -> None:
    """Print the diagnosis for an implementation that has no known deviations."""
    diagnosis = verdict.diagnosis
    if diagnosis is None or verdict.trajectory is None:
        _say_deviations(console, equal_alone(verdict.case, verdict.trajectory or ()))
        return
    say(console, f"diagnosis: {diagnosis}")
    _say_deviations(console, tuple(dict.fromkeys(name for names in diagnosis.names for name in names)))


def _say_deviations(console: Console, names: Sequence[str]) -> None:
    for name in names:
        summary = f": {DEVIATIONS[name].summary}" if name in DEVIATIONS else ""
        say(console, f"known deviation: {name}{summary}")


def _place(verdict: Verdict) -> Element | None:
    """Return an element that is wrong; if there is none, an element that differs; otherwise any element."""
    for found in (verdict.violation, verdict.difference):
        if found is not None and found.variable:
            return found.variable, found.element
    pairs = zip(verdict.case.names, verdict.case.variables, strict=True)
    return next(((name, (0,) * variable.ndim) for name, variable in pairs if variable.size), None)


def _from_observed(case: Case, observed: Trajectory, basis: Basis) -> Told:
    replayed = [seeded(step) for step in steps(case, observed, basis)]
    return Told(
        [taken for step in replayed for taken in stages(step, *basis.composed())],
        [record for step in replayed for record in basis.run(step)],
    )


def _check_call(case: Case, call: int | None) -> None:
    if call is not None and not 0 <= call < len(case.gradients):
        raise ValueError(f"--call must be from 0 to {len(case.gradients) - 1} for {case.id}, got {call}")


def _check_element(case: Case, place: Element | None) -> None:
    if place is None:
        return
    name, index = place
    if name not in case.names:
        raise ValueError(f"--element must name one of {', '.join(case.names)}, got {name!r}")
    shape = case.variables[case.names.index(name)].shape
    is_inside = len(index) == len(shape) and all(i < n for i, n in zip(index, shape, strict=True))
    if not is_inside:
        raise ValueError(f"--element must be an index into {name} of shape {shape}, got {list(index)}")


def _calls(case: Case, call: int | None) -> Sequence[int]:
    return range(len(case.gradients)) if call is None else (call,)


def _table_of_reference(console: Console, case: Case, told: Told, call: int, place: Element | None) -> Table:
    """Return the stages of one call, with a column for each variable."""
    table = _table(console, f"call {call}")
    table.add_column("stage")
    names = case.names if place is None else (place[0],)
    for name in names:
        variable = case.variables[case.names.index(name)]
        table.add_column(f"{name} {list(variable.shape)} {variable.dtype.name}")
    for stage, arrays in told.stages[call].items():
        if stage in SHARED:
            table.add_row(stage, _with_bits(arrays[0]))
        elif place is None:
            table.add_row(stage, *(_first_few(array) for array in arrays))
        else:
            table.add_row(stage, _with_bits(_element_of(case, arrays, place)))
    return table


def _table_of_both(
    console: Console, case: Case, told: Told, observed: Trajectory, call: int, place: Element, name: str
) -> Table:
    """Return the stages of one call for one element, with the reported values beside them."""
    table = _table(console, f"call {call}, {place[0]}{list(place[1])}")
    for column in ("stage", "reference", name, "units apart"):
        table.add_column(column)
    for stage, expected, got in _pairs(case, told, observed, call, place):
        table.add_row(stage, _with_bits(expected), _with_bits(got), _distance(expected, got))
    return table


def _pairs(
    case: Case, told: Told, observed: Trajectory, call: int, place: Element
) -> Iterator[tuple[str, Array | None, Array | None]]:
    """Yield each stage and reported quantity of a call, with its reference value and its observed value."""
    taken, record = told.stages[call], observed[call]
    # When the call returns, the averages have overwritten these values.
    reported = {OVERWRITTEN if OVERWRITTEN in taken else UPDATED: "variables"}
    reported |= {VELOCITY: "velocities", AVERAGE: "averages", ACCUMULATOR: "accumulators"}
    for stage, arrays in taken.items():
        if stage == LEARNING_RATE:
            rate = record.get("learning_rate")
            yield stage, arrays[0], None if rate is None else np.asarray(rate, FLOAT32)
        elif stage in SHARED:
            yield stage, arrays[0], None
        else:
            got = _reported(case, record, reported.get(stage), place)
            yield stage, _element_of(case, arrays, place), got
    for stage, quantity in reported.items():
        expected = _reported(case, told.records[call], quantity, place)
        if stage not in taken and expected is not None:
            yield f"{quantity}, left alone", expected, _reported(case, record, quantity, place)


def _reported(case: Case, record: Record, quantity: str | None, place: Element) -> Array | None:
    arrays = None if quantity is None else record.get(quantity)
    return _element_of(case, arrays, place) if arrays else None


def _element_of(case: Case, arrays: Sequence[Any], place: Element) -> Array | None:
    name, index = place
    array = arrays[case.names.index(name)]
    if array is None:
        return None
    # The norm of a variable is one number for all of its elements.
    return np.asarray(array if array.ndim < len(index) else array[index])


def _table(console: Console, title: str) -> Table:
    is_terminal = console.is_terminal
    return Table(title=title, title_justify="left", box=box.ROUNDED if is_terminal else None)


def _first_few(array: Array | None) -> str:
    if array is None:
        return ""
    numbers = [_number(number) for number in array.reshape(-1)[:MOST_ELEMENTS]]
    return " ".join([*numbers, "..."] if array.size > MOST_ELEMENTS else numbers)


def _number(number: Any) -> str:
    return f"{float(number):.{17 if number.dtype == FLOAT64 else 9}g}"


def _with_bits(number: Array | None) -> str:
    return "" if number is None else f"{hexadecimal(number)} {_number(number)}"


def _distance(expected: Array | None, got: Array | None) -> str:
    if expected is None or got is None:
        return ""
    if equal_bits(expected, got).all():
        return "0"
    return describe_units(float(units_apart(expected, got)))


COMMAND = Command(
    help="show a case step by step, and where an implementation becomes wrong",
    description="Show a case step by step, and where an implementation becomes wrong: the call, the "
    "stage, the element, the bits, and the known deviation that gives them.",
    epilog="Exit status: 0 shown (and the same bits, or different in a known way), 1 diverges, "
    "2 wrong usage, 3 could not run.",
    add_arguments=add_arguments,
    run=run,
)
