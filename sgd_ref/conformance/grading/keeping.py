"""Graded cases as JSON, small where the answer is exact, from which the same report is made elsewhere."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, overload

import numpy as np

from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.dialects import KERAS
from sgd_ref.conformance.grading.answering import Alternatives, basis_of
from sgd_ref.conformance.grading.check import judge_for
from sgd_ref.conformance.grading.verdict import Profile, Verdict
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.conformance.protocol.encoding import trajectory_from_json, trajectory_to_json
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, SCALARS, Difference

Json = dict[str, Any]

PLAIN = ("message", "traceback", "differing", "compared", "units")
"""Attributes of a verdict that JSON holds as they are, left out where they have their defaults."""

KEYS = (*LISTS, *SCALARS, *COUNTERS)
"""What a record may hold."""

DEFAULTS = {field.name: field.default for field in fields(Verdict) if field.name in PLAIN}


def to_json(graded: Alternatives) -> Json:
    """Return a graded case as an object of JSON.

    The answer itself is left out where it is exact: it has the bits of the reference. Otherwise it takes a
    few thousand bytes.

    Parameters
    ----------
    graded : Alternatives
        The verdicts on the case; `Alternatives.best` should have been read, so that it need not be judged
        again.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.grading.check import grade_by_answers
    >>> from sgd_ref.conformance.trajectories import reference
    >>> case = conformance.cases("smoke")[0]
    >>> kept = to_json(grade_by_answers(reference.run, case, Profile()))
    >>> kept["verdicts"], from_json(kept, case, Profile()).best().grade
    ([{'grade': 'exact', 'compared': 1008}], 'exact')
    """
    verdicts = graded.verdicts
    document: Json = {"case": verdicts[0].case.id, "verdicts": [_verdict_to_json(each) for each in verdicts]}
    if graded.is_contested:
        document["parting"] = list(graded.parting)
    unclear = [index for index in graded.judged if verdicts[index].grade == "diverges"]
    if unclear:
        document["judged"] = unclear
    trajectory = verdicts[0].trajectory
    if trajectory is None:
        return document
    exact = next((index for index, verdict in enumerate(verdicts) if verdict.grade == "exact"), None)
    if exact is None:
        document["trajectory"] = _packed(trajectory)
    else:
        held = [_present(record) for record in trajectory]
        document["as"] = [exact, [sum(1 << KEYS.index(key) for key in keys) for keys in held]]
    return document


def from_json(document: Mapping[str, Any], case: Case, profile: Profile) -> Alternatives:
    """Return the graded case that `to_json` was given.

    Parameters
    ----------
    document : mapping
        The object of JSON.
    case : Case
        The case, in the form in which it was sent.
    profile : Profile
        The profile that it was graded by.

    Raises
    ------
    ValueError
        If it is another case.
    """
    if document["case"] != case.id:
        raise ValueError(f"case must be {document['case']}, got {case.id}")
    questions = contested(case)
    verdicts = [_verdict_from_json(each, case, questions, profile) for each in document["verdicts"]]
    trajectory: Trajectory | None = None
    if "as" in document:
        exact, held = document["as"]
        trajectory = _AsReference(verdicts[exact], tuple(held))
    elif "trajectory" in document:
        trajectory = _unpacked(document["trajectory"])
    if trajectory is not None:
        verdicts = [replace(verdict, trajectory=trajectory) for verdict in verdicts]
    return Alternatives(
        verdicts, judge_for(profile), document.get("parting", (0,)), frozenset(document.get("judged", ()))
    )


@dataclass(frozen=True)
class _AsReference(Sequence[Record]):
    """The trajectory of an exact answer, computed when it is read: the rule gives the same bits.

    Attributes
    ----------
    verdict : Verdict
        The verdict "exact", with the answers under which it is.
    held : tuple of int
        What each record holds: the sum of ``1 << KEYS.index(key)``.
    """

    verdict: Verdict
    held: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.held)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return list(self)[index]

    def __iter__(self) -> Iterator[Record]:
        for record, held in zip(basis_of(self.verdict).run(self.verdict.case), self.held, strict=True):
            yield {key: value for key, value in record.items() if held >> KEYS.index(key) & 1}


def _verdict_to_json(verdict: Verdict) -> Json:
    document: Json = {"grade": verdict.grade}
    if verdict.answers:
        document["answers"] = dict(verdict.answers)
    if verdict.allowances:
        document["allowances"] = list(verdict.allowances)
    for name in PLAIN:
        if getattr(verdict, name) != DEFAULTS[name]:
            document[name] = getattr(verdict, name)
    for name in ("difference", "violation"):
        value = getattr(verdict, name)
        if value is not None:
            document[name] = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return document


def _verdict_from_json(
    document: Mapping[str, Any], case: Case, questions: tuple[str, ...], profile: Profile
) -> Verdict:
    difference, violation = document.get("difference"), document.get("violation")
    # Nothing is compared with a rule where there is no answer.
    dialect = KERAS if document["grade"] in ("unsupported", "error") else profile.dialect
    return Verdict(
        case,
        document["grade"],
        questions,
        document.get("answers", {}),
        difference=None if difference is None else Difference(**_with_tuples(difference)),
        violation=None if violation is None else Violation(**_with_tuples(violation)),
        allowances=tuple(document.get("allowances", ())),
        dialect=dialect,
        **{name: document[name] for name in PLAIN if name in document},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _with_tuples(document: Mapping[str, Any]) -> Json:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}


def _present(record: Record) -> list[str]:
    return [
        key
        for key, value in record.items()
        if not (value is None or (isinstance(value, (list, tuple)) and not value))
    ]


def _packed(trajectory: Trajectory) -> str:
    records = [{key: _uniform(key, record[key]) for key in _present(record)} for record in trajectory]
    text = json.dumps(trajectory_to_json(records), separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode(), 9)).decode()


def _uniform(key: str, value: Any) -> Any:
    """Return a part of a record in the type that the protocol knows; answers may hold anything like it."""
    if key in LISTS:
        return [part if isinstance(part, Digest) else np.asarray(part) for part in value]
    return int(value) if key in COUNTERS else value if isinstance(value, np.floating) else float(value)


def _unpacked(text: str) -> Trajectory:
    return trajectory_from_json(json.loads(zlib.decompress(base64.b85decode(text))))
