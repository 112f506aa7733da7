"""A project records the trajectories of its own optimizer once, and compares later versions with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgd_ref.conformance.catalogue.case import Case, Implementation, Record, Trajectory, Unsupported
from sgd_ref.conformance.catalogue.suiting import lacking
from sgd_ref.conformance.catalogue.tiers import cases as catalogue
from sgd_ref.conformance.dialects import KERAS, Dialect
from sgd_ref.conformance.golden.content.bounds import RecordBounds, bounds_of, first_outside
from sgd_ref.conformance.golden.format.document import HASH, RECORDER, content_hash, document
from sgd_ref.conformance.golden.format.entries import Entry, entry_from_json, entry_to_json
from sgd_ref.conformance.golden.format.provenance import provenance
from sgd_ref.conformance.golden.format.schemas import RECORDED, TRAJECTORY
from sgd_ref.conformance.golden.tools.writing import LEVELS
from sgd_ref.conformance.grading.check import chosen, private_copy, profile_of
from sgd_ref.conformance.grading.velocities import with_velocities
from sgd_ref.conformance.grading.verdict import Report, Verdict
from sgd_ref.conformance.protocol.digest import digested
from sgd_ref.conformance.protocol.encoding import trajectory_from_json, trajectory_to_json
from sgd_ref.conformance.protocol.layout import laid_out, write_at_once
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import LISTS, check_form, compare


def record(run: Implementation, path: str | os.PathLike[str], cases: Iterable[Case] | None = None) -> int:
    """Write the answers of an implementation into a file, in the format of the golden data.

    Parameters
    ----------
    run : callable
        One function from a case to a trajectory. A case for which it raises ``Unsupported``, or that its
        attribute ``profile`` does not offer, is left out.
    path : path
        The file, which is written at once when all cases have run.
    cases : iterable of Case, optional
        The standard tier by default. They may be your own: their ids must be distinct.

    Returns
    -------
    int
        Number of cases recorded.

    Raises
    ------
    TypeError
        If `run` is not callable.
    ValueError
        If an answer is no trajectory of its case, two cases have the same id, or none is recorded.

    Notes
    -----
    If a trajectory is a faithful evaluation of the documented rule, it is recorded with the bounds of all
    such evaluations. Any other trajectory has no bounds and can only be compared bit by bit.

    Examples
    --------
    >>> import tempfile
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/mine.json"
    ...     count = record(reference.run, path, conformance.cases("smoke")[:3])
    ...     print(count, compare_recorded(reference.run, path).ok)
    3 True
    """
    if not callable(run):
        raise TypeError(f"run must be a function from a case to a trajectory, got {run!r}")
    profile = profile_of(run)
    answering = with_velocities(run, profile.velocities)
    entries: dict[str, Entry] = {}
    for case in chosen(catalogue() if cases is None else cases, profile):
        if case.id in entries:
            raise ValueError(f"cases must have distinct ids, got {case.id!r} twice")
        if lacking(case, profile.offered()):
            continue
        try:
            answer = answering(private_copy(case))
        except Unsupported:
            continue
        entries[case.id] = _recorded(case, answer, str(profile.dialect))
    if not entries:
        raise ValueError("cases must hold at least one case that run supports, got none")
    _write(entries.values(), Path(path))
    return len(entries)


def write_recorded(case: Case, trajectory: Trajectory, path: Path, rule: Dialect = KERAS) -> None:
    """Write one case with a wrong trajectory that was seen, as `record` does, but without bounds.

    Parameters
    ----------
    case : Case
        The case.
    trajectory : list of dict
        The trajectory that was seen.
    path : Path
        The file.
    rule : Dialect
        The rule that the implementation is held to.

    Raises
    ------
    TypeError, ValueError
        If it is no trajectory of the case.
    OSError
        If the file cannot be written.
    """
    check_form(case, reference.run(case), trajectory)
    origin = provenance(__name__, generator=RECORDER)
    _write([Entry(case, list(trajectory), None, (), origin, str(rule))], path)


def recorded(path: str | os.PathLike[str]) -> list[tuple[Case, list[Record], Dialect]]:
    """Return the cases of a file that `record` wrote, each with what was recorded, and its rule.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If it is no such file, or somebody has changed it.
    """
    entries = _entries(Path(path))
    try:
        return [(entry.case, entry.expected, Dialect.read(entry.rule)) for entry in entries]
    except (TypeError, ValueError) as error:
        raise ValueError(f"path must be a file whose rule is known, got {path}: {error}") from error


def _write(entries: Iterable[Entry], path: Path) -> None:
    content = document(TRAJECTORY, RECORDED, [entry_to_json(entry) for entry in entries])
    write_at_once(path, laid_out(content, LEVELS[TRAJECTORY]))


def compare_recorded(run: Implementation, path: str | os.PathLike[str], exact: bool = True) -> Report:
    """Compare the answers of an implementation with the recorded ones.

    Parameters
    ----------
    run : callable
        One function from a case to a trajectory.
    path : path
        A file that ``record`` wrote, or a file of trajectories of the golden data.
    exact : bool, default True
        Whether only the recorded bits are right. False: where bounds are recorded, any faithful evaluation
        of the documented rule is; the others are compared bit by bit.

    Returns
    -------
    Report
        Its verdicts are "exact", "rounding" (other bits, within the bounds), "diverges" and "error". Those
        that diverge have a difference and a diagnosis. Open questions play no part here: every change counts.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If it is no such file, or if it has been changed.
    """
    if not callable(run):
        raise TypeError(f"run must be a function from a case to a trajectory, got {run!r}")
    answering = with_velocities(run, profile_of(run).velocities)
    verdicts = {}
    for entry in _entries(Path(path)):
        verdicts[entry.case.id] = _compared(answering, entry, exact)
    return Report(f"compared with {Path(path).name}", verdicts)


def _recorded(case: Case, answer: Any, rule: str) -> Entry:
    expected = reference.run(case)
    try:
        check_form(case, expected, answer)
        # The later comparison reads the written form.
        answer = answer if case.made is None else digested(answer)
        given = trajectory_from_json(trajectory_to_json(answer))
    except (TypeError, ValueError) as error:
        raise ValueError(f"run must answer with a trajectory of the case {case.id}: {error}") from error
    if case.made is not None:
        # Nothing is rounded in a big case.
        return Entry(case, given, None, (), provenance(__name__, generator=RECORDER), rule)
    bounds = bounds_of(case, expected)
    kept = first_outside(expected, bounds, given) is None
    origin = provenance(__name__, generator=RECORDER)
    return Entry(case, given, _of_reported(bounds, given) if kept else None, (), origin, rule)


def _of_reported(bounds: Sequence[RecordBounds] | None, given: Trajectory) -> list[RecordBounds] | None:
    """Return the bounds of the reported values."""
    if bounds is None:
        return None
    return [
        {quantity: bound if record.get(quantity) else [] for quantity, bound in of_record.items()}
        | {"learning_rate": of_record["learning_rate"] if "learning_rate" in record else None}
        for of_record, record in zip(bounds, given, strict=True)
    ]


def _entries(path: Path) -> list[Entry]:
    try:
        content = json.loads(path.read_bytes())
        if content["kind"] != TRAJECTORY:
            raise ValueError(f"its kind is {content['kind']!r}, not {TRAJECTORY!r}")
        for entry in content["entries"]:
            if entry[HASH] != content_hash(entry):
                raise ValueError(f"{entry['case']['id']} was changed, its hash is another one")
        return [entry_from_json(entry) for entry in content["entries"]]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"path must be a file of recorded trajectories, got {path}: {error}") from error


def _compared(run: Implementation, entry: Entry, exact: bool) -> Verdict:
    case = entry.case
    expected = [_with_all_lists(record) for record in entry.expected]
    try:
        answer = run(private_copy(case))
        check_form(case, expected, answer)
        _check_reported(expected, answer)
    # Whatever an implementation raises is its answer to this case; the run goes on.
    except (Exception, SystemExit) as error:
        return Verdict(case, "error", message=f"{type(error).__name__}: {error}")
    found = compare(case, expected, answer)
    verdict = Verdict(
        case,
        "exact" if found.equal else "diverges",
        difference=found.first,
        differing=found.differing,
        compared=found.compared,
        units=found.units,
        trajectory=answer,
    )
    if found.equal or exact or entry.bounds is None:
        return verdict
    place = first_outside(entry.expected, entry.bounds, answer)
    return replace(verdict, grade="rounding") if place is None else verdict


def _check_reported(expected: Trajectory, answer: Trajectory) -> None:
    """Check that all that was recorded is still reported."""
    for call, (wanted, given) in enumerate(zip(expected, answer, strict=True)):
        for quantity, value in wanted.items():
            if not (isinstance(value, list) and not value) and given.get(quantity) is None:
                raise ValueError(f"record {call} must have the key {quantity!r}, which was recorded")


def _with_all_lists(record: Record) -> Record:
    return {**{quantity: [] for quantity in LISTS}, **record}
