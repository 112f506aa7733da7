"""The files of findings: what is read is what was written, bit by bit, and nothing malformed is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.protocol.encoding import trajectory_to_json
from sgd_ref.conformance.targets.findings import storage
from sgd_ref.conformance.targets.findings.finding import Finding, finding
from sgd_ref.conformance.targets.registry import names
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare, reported

TARGET = "keras jax eager"
Document = dict[str, Any]


def case() -> Case:
    config = SGD(0.5, momentum=0.5).get_config()
    one = np.ones(2, np.float32)
    variables = (one, np.float32(2) * one)
    return Case("shrunk/a", config, ("w", "b"), variables, ((one, one), (None, one)), notes="a note")


def example(name: str = "count-wraps") -> Finding:
    expected = reference.run(case())
    observed: list[Document] = [
        # What is not reported is no part of a finding.
        {key: value for key, value in record.items() if key != "velocities"}
        for record in expected
    ]
    observed[1] |= {
        "variables": [expected[1]["variables"][0], -expected[1]["variables"][1]],
        "iterations": -(2**31),
        # Python's floats are compared in float32.
        "learning_rate": 0.1,
    }
    return finding(name, case(), expected, observed, {"version": "3.15.1"}, "x86_64")


def document(*findings: Finding) -> Document:
    loaded: Document = json.loads(storage.to_json(TARGET, findings or [example()]))
    return loaded


def written(tmp_path: Path, content: Document | bytes) -> Path:
    path = tmp_path / "findings.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    content = storage.to_json(TARGET, [example("b"), example("a")])
    found = storage.read(written(tmp_path, content), TARGET)
    assert list(found) == ["a", "b"]
    assert storage.to_json(TARGET, list(found.values())) == content
    original, again = example("a"), found["a"]
    for part in ("expected", "observed"):
        first, second = getattr(original, part), getattr(again, part)
        assert compare(case(), first, second).equal
        assert [list(record) for record in first] == [list(record) for record in second]
    assert (again.versions, again.processor) == ({"version": "3.15.1"}, "x86_64")


def test_only_what_differs_is_written_as_seen() -> None:
    seen = document()["findings"][0]["seen"]
    assert [(one["call"], one["quantity"], one["variable"]) for one in seen] == [
        (1, "learning_rate", None),
        (1, "variables", 1),
        (1, "iterations", None),
    ]
    assert seen[0]["value"]["dtype"] == "float32"
    assert "velocities" not in document()["findings"][0]["expected"][0]


def _in_finding(change: Callable[[Document], object]) -> Callable[[Document], object]:
    return lambda document: change(document["findings"][0])


def _in_seen(position: int, **changes: Any) -> Callable[[Document], object]:
    return lambda document: document["findings"][0]["seen"][position].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("target"), "the keys of the file must be"),
        (lambda d: d.update(more=1), "the keys of the file must be"),
        (lambda d: d.update(format=2), "format must be 1, got 2"),
        (lambda d: d.update(target="torch loop"), "target must be 'keras jax eager', got 'torch loop'"),
        (lambda d: d.update(findings={}), "findings must be a list, got"),
        (lambda d: d["findings"].append(3), r"findings\[1\] must be an object with named parts"),
        (
            lambda d: d["findings"].append(d["findings"][0]),
            r"findings\[1\].name must be a name that no other",
        ),
        (_in_finding(lambda f: f.pop("seen")), r"the keys of findings\[0\] must be"),
        (_in_finding(lambda f: f.update(name="")), r"findings\[0\].name must be"),
        (_in_finding(lambda f: f.update(versions=[])), r"findings\[0\].versions must be an object"),
        (_in_finding(lambda f: f.update(versions={"jax": 1})), r"findings\[0\].versions\['jax'\] must be"),
        (_in_finding(lambda f: f.update(processor=3)), r"findings\[0\].processor must be"),
        (_in_finding(lambda f: f["case"].pop("names")), r"findings\[0\]: the keys of case must be"),
        (_in_finding(lambda f: f["case"]["variables"][0].update(bits="0")), r"\[0\]: variables\[0\]"),
        (_in_finding(lambda f: f["expected"].pop()), r"findings\[0\].expected must be 2 records, got"),
        (_in_finding(lambda f: f["expected"][0].update(extra=1)), r"findings\[0\]: the keys of record 0"),
        (
            _in_finding(lambda f: f["expected"][0]["variables"].pop()),
            r"the shapes of findings\[0\].expected\[0\].variables must be those of the variables",
        ),
        (_in_finding(lambda f: f.update(seen=[])), r"findings\[0\].seen must be at least one difference"),
        (_in_seen(1, call=2), r"findings\[0\].seen\[1\].call must be at least 0 and less than 2, got 2"),
        (_in_seen(1, call=True), r"findings\[0\].seen\[1\].call must be an integer, got True"),
        (_in_seen(1, quantity="velocities"), r"findings\[0\].seen\[1\].quantity must be one of"),
        (_in_seen(1, quantity=[]), r"findings\[0\].seen\[1\].quantity must be one of"),
        (_in_seen(1, variable=2), r"findings\[0\].seen\[1\].variable must be at least 0 and less than 2"),
        (_in_seen(1, variable=None), r"findings\[0\].seen\[1\].variable must be an integer"),
        (
            _in_finding(lambda f: f["seen"][1].update(value=f["expected"][1]["variables"][1])),
            r"findings\[0\].seen\[1\].value must be other bits than are expected",
        ),
        (_in_seen(0, variable=0), r"findings\[0\].seen\[0\].variable must be null, got 0"),
        (
            _in_seen(1, value={"dtype": "float64", "shape": [1], "bits": "0000000000000000"}),
            r"findings\[0\].seen\[1\].value must be float32 of shape \(2,\)",
        ),
        (_in_seen(2, value=1.5), r"findings\[0\].seen\[2\].value must be an integer, got 1.5"),
        (
            _in_seen(2, value=2),
            r"findings\[0\].seen\[2\].value must be another number than is expected, got 2",
        ),
        (_in_finding(lambda f: f["seen"].append(f["seen"][0])), r"seen\[3\] must be a place that no other"),
    ],
)
def test_malformed_files_are_refused(
    change: Callable[[Document], object], message: str, tmp_path: Path
) -> None:
    content = document()
    change(content)
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=message) as caught:
        storage.read(path, TARGET)
    assert str(caught.value).startswith(f"{path} holds no findings: ")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1, "format": 1}', b'{"format": NaN}', b"\xff"])
def test_what_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"findings\.json holds no findings"):
        storage.read(written(tmp_path, content), TARGET)


def test_a_trajectory_that_does_not_differ_is_no_finding() -> None:
    expected = reference.run(case())
    with pytest.raises(ValueError, match="observed must be a trajectory that differs"):
        finding("none", case(), expected, expected, {})


def test_a_target_without_a_file_has_no_findings() -> None:
    assert storage.kept("mine:run") == {}


WITH_FINDINGS = [target for target in names() if storage.kept(target)]


def test_targets_that_diverge_have_findings() -> None:
    assert {target.split()[0] for target in WITH_FINDINGS} >= {"keras", "torch", "optax", "sklearn"}


@pytest.mark.parametrize("target", WITH_FINDINGS)
def test_kept_findings_are_in_the_one_form_and_expect_what_the_reference_answers(target: str) -> None:
    found = storage.kept(target)
    assert storage.path_of(target).read_bytes() == storage.to_json(target, list(found.values()))
    for one in found.values():
        answers = reference.run(one.case)
        kept = [
            {"variables": [], **{key: answer[key] for key in reported(answer, record)}}
            for answer, record in zip(answers, one.expected, strict=True)
        ]
        for record in kept:
            for key in {"learning_rate", "loss_scale"} & record.keys():
                record[key] = np.float32(record[key])
        assert trajectory_to_json(kept) == trajectory_to_json(one.expected), one.name
