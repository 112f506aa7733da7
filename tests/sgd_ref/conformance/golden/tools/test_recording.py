"""A project records its own optimizer and compares with that ever after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from sgd_ref import conformance
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.catalogue.first import first_cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.dialects import KERAS, Dialect
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.golden.format.schemas import RECORDING, schemas
from sgd_ref.conformance.golden.tools.recording import recorded as recording_of
from sgd_ref.conformance.golden.tools.recording import write_recorded
from sgd_ref.conformance.trajectories import reference

FUSED = FAITHFUL["every-product-fused"]
MISTAKE = DEVIATIONS["rate-outside-velocity"]
CASES = [
    case
    for case in first_cases()
    if case.id.split("/")[1] in ("plain", "momentum", "clipvalue", "loss-scale")
]


def mistaken(case: Case) -> list[Record]:
    return reference.run(case, MISTAKE.optimizer, MISTAKE.wrapper)


def variables_only(case: Case) -> list[Record]:
    return [{"variables": record["variables"]} for record in reference.run(case)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording of the reference, which is made once."""
    path = tmp_path_factory.mktemp("recording") / "mine.json"
    assert conformance.record(reference.run, path, CASES) == len(CASES)
    return path.read_bytes()


@pytest.fixture
def recorded(recording: bytes, tmp_path: Path) -> Path:
    """A file with it that a test may change."""
    path = tmp_path / "mine.json"
    path.write_bytes(recording)
    return path


def grades(report: conformance.Report) -> set[str]:
    return {verdict.grade for verdict in report.verdicts.values()}


def test_the_same_bits_are_exact(recorded: Path) -> None:
    for exact in (True, False):
        report = conformance.compare_recorded(reference.run, recorded, exact)
        assert report.ok
        assert grades(report) == {"exact"}
        assert list(report.verdicts) == [case.id for case in CASES]


def test_a_faithful_change_is_within_the_bounds(recorded: Path) -> None:
    exact = conformance.compare_recorded(FUSED.run, recorded)
    assert not exact.ok
    assert grades(exact) == {"exact", "diverges"}
    bounded = conformance.compare_recorded(FUSED.run, recorded, exact=False)
    assert bounded.ok
    assert grades(bounded) == {"exact", "rounding"}


@pytest.mark.parametrize("exact", [True, False])
def test_a_mistake_has_a_place_and_a_name(recorded: Path, exact: bool) -> None:
    report = conformance.compare_recorded(mistaken, recorded, exact)
    assert not report.ok
    verdict = report.verdicts["first/momentum"]
    assert verdict.grade == "diverges"
    assert verdict.difference is not None
    assert verdict.difference.quantity in ("variables", "velocities")
    assert verdict.diagnosis is not None
    assert MISTAKE.name in str(verdict.diagnosis)


def test_another_optimizer_than_the_documented_one_can_be_recorded_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    conformance.record(mistaken, path, CASES)
    bounds = {entry["case"]["id"]: entry["bounds"] for entry in json.loads(path.read_bytes())["entries"]}
    assert bounds["first/momentum"] is None
    assert bounds["first/plain"] is not None
    assert conformance.compare_recorded(mistaken, path).ok
    report = conformance.compare_recorded(reference.run, path, exact=False)
    assert report.verdicts["first/momentum"].grade == "diverges"


def test_what_is_not_reported_is_not_compared_and_what_was_must_be(tmp_path: Path, recorded: Path) -> None:
    path = tmp_path / "less.json"
    conformance.record(variables_only, path, CASES)
    for run in (variables_only, reference.run):
        assert conformance.compare_recorded(run, path).ok
    assert grades(conformance.compare_recorded(FUSED.run, path, exact=False)) == {"exact", "rounding"}
    report = conformance.compare_recorded(variables_only, recorded)
    assert grades(report) == {"error"}
    assert "record 0 must have the key 'iterations'" in report.verdicts["first/plain"].message


def test_recordings_follow_their_schema(tmp_path: Path, recorded: Path) -> None:
    less = tmp_path / "less.json"
    conformance.record(variables_only, less, CASES)
    validator = Draft202012Validator(schemas()[RECORDING])
    for path in (recorded, less):
        validator.validate(json.loads(path.read_bytes()))


def test_the_rule_is_recorded(tmp_path: Path) -> None:
    def by_another_rule(case: Case) -> list[Record]:
        return mistaken(case)

    by_another_rule.profile = conformance.Profile(rule="optax", by_design={"ascends"})  # type: ignore[attr-defined]
    path = tmp_path / "mine.json"
    conformance.record(by_another_rule, path, CASES[:1])
    document = json.loads(path.read_bytes())
    assert document["entries"][0]["rule"] == "optax with ascends"
    Draft202012Validator(schemas()[RECORDING]).validate(document)
    ((case, _, rule),) = recording_of(path)
    assert (case.id, rule) == (CASES[0].id, Dialect("optax", frozenset(["ascends"])))
    del document["entries"][0]["rule"]
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="was changed, its hash is another one"):
        recording_of(path)


def test_a_rule_that_is_not_known_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    write_recorded(CASES[0], reference.run(CASES[0]), path, Dialect("caffe"))
    with pytest.raises(
        ValueError, match=r"path must be a file whose rule is known, got .*: rule must be one of"
    ):
        recording_of(path)


def test_the_rule_of_keras_needs_no_name(recorded: Path) -> None:
    assert all("rule" not in entry for entry in json.loads(recorded.read_bytes())["entries"])
    assert {rule for *_, rule in recording_of(recorded)} == {KERAS}


def test_golden_files_can_be_compared_with(golden: Path) -> None:
    assert conformance.compare_recorded(reference.run, golden / "first.json").ok


def test_unsupported_cases_are_left_out(tmp_path: Path) -> None:
    def no_momentum(case: Case) -> list[Record]:
        if case.config["momentum"]:
            raise conformance.Unsupported("no momentum")
        return reference.run(case)

    path = tmp_path / "mine.json"
    count = conformance.record(no_momentum, path, CASES)
    assert 0 < count < len(CASES)
    assert conformance.compare_recorded(no_momentum, path).ok


def test_what_was_recorded_must_stay_supported(recorded: Path) -> None:
    def nothing(case: Case) -> list[Record]:
        raise conformance.Unsupported("not any more")

    report = conformance.compare_recorded(nothing, recorded)
    assert not report.ok
    assert grades(report) == {"error"}


@pytest.mark.parametrize(
    "answer",
    [None, [], [{}], [{"variables": [np.zeros(3)]}], [{"variables": 1}], SystemExit(2), ValueError()],
)
def test_an_answer_that_is_no_trajectory(recorded: Path, tmp_path: Path, answer: Any) -> None:
    def run(case: Case) -> Any:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    report = conformance.compare_recorded(run, recorded)
    assert grades(report) == {"error"}
    if not isinstance(answer, BaseException):
        with pytest.raises(ValueError, match="run must answer with a trajectory of the case first/plain"):
            conformance.record(run, tmp_path / "other.json", CASES)
        assert not (tmp_path / "other.json").exists()


def test_bad_arguments(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    with pytest.raises(TypeError, match="run must be a function from a case to a trajectory, got 3"):
        conformance.record(3, path)
    with pytest.raises(TypeError, match="run must be a function from a case to a trajectory, got 3"):
        conformance.compare_recorded(3, path)
    with pytest.raises(ValueError, match="cases must have distinct ids, got 'first/plain' twice"):
        conformance.record(reference.run, path, [CASES[0], CASES[0]])
    with pytest.raises(ValueError, match="cases must hold at least one case that run supports, got none"):
        conformance.record(reference.run, path, [])
    with pytest.raises(FileNotFoundError):
        conformance.compare_recorded(reference.run, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document.pop("kind"), "'kind'"),
        (lambda document: document.update(kind="stage"), "its kind is 'stage', not 'trajectory'"),
        (lambda document: document["entries"][0].pop("sha256"), "'sha256'"),
        (
            lambda document: document["entries"][0]["expected"][0].update(calls=7),
            "first/plain was changed, its hash is another one",
        ),
    ],
)
def test_a_file_that_was_changed_is_refused(recorded: Path, change: Any, words: str) -> None:
    document = json.loads(recorded.read_bytes())
    change(document)
    recorded.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"path must be a file of recorded trajectories, got .*: .*{words}"):
        conformance.compare_recorded(reference.run, recorded)


def test_a_recording_that_fails_leaves_the_old_one(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recorded.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        conformance.record(variables_only, recorded, CASES)
    assert recorded.read_bytes() == before
    assert list(recorded.parent.iterdir()) == [recorded]


def test_what_a_function_declares_is_recorded_as_it_is_asked_and_read(tmp_path: Path) -> None:
    def run(case: Case) -> list[Record]:
        records = [dict(record) for record in reference.run(case)]
        return [{**record, "velocities": [-v for v in record["velocities"]]} for record in records]

    path = tmp_path / "mine.json"
    chosen = [case for case in conformance.cases() if case.id in ("axes/momentum", "axes/nesterov")]
    offers = ("float32", "momentum", "filled")
    run.profile = conformance.Profile(offers=offers, velocities=conformance.Velocities(sign=-1))
    assert conformance.record(run, path, chosen) == 1
    assert list(conformance.compare_recorded(run, path).verdicts) == ["axes/momentum/filled"]
    assert conformance.compare_recorded(run, path).ok
    assert conformance.compare_recorded(reference.run, path).ok
