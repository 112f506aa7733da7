"""The programs in golden/consumers, graded through the protocol and by themselves."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sgd_ref import conformance
from sgd_ref.conformance.golden.format.document import FORMAT
from sgd_ref.conformance.protocol.worker import Worker

Check = Callable[[Sequence[str], Sequence[Path]], "subprocess.CompletedProcess[str]"]


def counts(output: str) -> dict[str, int]:
    last = output.strip().splitlines()[-1]
    return {grade: int(number) for number, grade in re.findall(r"(\d+) (\w+)", last)}


def entries(paths: Sequence[Path]) -> int:
    return sum(len(json.loads(path.read_text("utf-8"))["entries"]) for path in paths)


def test_every_case_is_exact_through_the_protocol(command: list[str], sweep: Any) -> None:
    tier = "standard" if sweep.complete else "smoke"
    with Worker(command) as run:
        report = conformance.check(run, conformance.cases(tier))
    assert report.count("exact") == len(report.verdicts), str(report)


@pytest.mark.parametrize("kind", ["first.json", "standard", "resume", "schedules"])
def test_every_entry_is_exact(
    consumer: Any, command: list[str], kind: str, golden: Path, checked: Check, sweep: Any
) -> None:
    paths = sorted((golden / kind).rglob("*.json")) or [golden / kind]
    if consumer.name != "c" and kind == "standard" and not sweep.complete:
        # R and JavaScript take half a minute for all of them where C takes a second.
        chosen = sweep.generator.choice(len(paths), len(paths) // 5, replace=False)
        paths = [paths[position] for position in sorted(chosen)]
    result = checked(command, paths)
    assert counts(result.stdout)["exact"] == entries(paths) > 0, result.stdout + result.stderr
    assert result.returncode == 0


def test_every_norm_is_exact(command: list[str], golden: Path, checked: Check) -> None:
    paths = [golden / "stages" / "norm.json"]
    result = checked(command, paths)
    assert counts(result.stdout)["exact"] == entries(paths) > 0, result.stdout + result.stderr


def test_everything_is_refused_that_must_be(
    consumer: Any, command: list[str], golden: Path, checked: Check
) -> None:
    paths = [golden / "rejections.json"]
    result = checked(command, paths)
    assert result.returncode == 0, result.stdout + result.stderr
    refuses = consumer.name != "r"
    assert counts(result.stdout)["exact" if refuses else "skipped"] == entries(paths) > 0


def test_the_exchange_in_the_readme_is_what_is_said(consumer: Any, command: list[str], golden: Path) -> None:
    lines = re.findall(r"^([<>]) (.*)$", (golden / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [direction for direction, _ in lines] == ["<", ">", "<"]
    handshake, request, answer = (line for _, line in lines)
    result = subprocess.run(
        command, input=f"{request}\n", capture_output=True, text=True, check=True, timeout=60
    )
    said = result.stdout.splitlines()
    assert len(said) == 2
    assert json.loads(said[1]) == json.loads(answer)
    if consumer.name == "c":
        assert said == [handshake, answer]


NUMBER = ("first/plain", 0, 0)
NAN = ("first/clipvalue", 1, 1)
"""Where the first element of a variable is a number and NaN: case, record, variable."""


@pytest.mark.parametrize(
    ("place", "expected", "bound", "grade"),
    [
        (NUMBER, "{above}", ("{itself}", "{itself}", []), "rounding"),
        (NUMBER, "{above}", ("{below}", "{above}", []), "rounding"),
        (NUMBER, "{above}", ("{above}", "{above}", []), "diverge"),
        (NUMBER, "{below}", ("{below}", "{below}", [0]), "diverge"),
        (NUMBER, "7fc00000", ("7fc00000", "7fc00000", [0]), "diverge"),
        (NUMBER, "{above}", None, "diverge"),
        (NAN, "ffc1", None, "exact"),
        (NAN, "3f80", ("3f80", "3f80", [0]), "rounding"),
        (NAN, "3f80", ("ff80", "7f80", [1]), "diverge"),
        (NAN, "3f80", None, "diverge"),
    ],
)
def test_a_value_is_graded_by_its_bits_and_then_by_its_bound(
    command: list[str],
    golden: Path,
    checked: Check,
    tmp_path: Path,
    place: tuple[str, int, int],
    expected: str,
    bound: tuple[str, str, list[int]] | None,
    grade: str,
) -> None:
    identity, record, variable = place
    document = json.loads((golden / "first.json").read_text("utf-8"))
    entry = next(entry for entry in document["entries"] if entry["case"]["id"] == identity)
    array = entry["expected"][record]["variables"][variable]
    first, *others = array["bits"].split()
    patterns = {
        name: f"{int(first, 16) + step:0{len(first)}x}"
        for name, step in (("below", -1), ("itself", 0), ("above", 1))
    }

    def bits(word: str) -> str:
        return " ".join([word.format(**patterns), *others])

    array["bits"] = bits(expected)
    for bounds in entry["bounds"]:
        for quantity in ("variables", "velocities", "averages", "accumulators"):
            bounds[quantity] = [None] * len(bounds[quantity])
    if bound is not None:
        lower, upper, nan = bound
        entry["bounds"][record]["variables"][variable] = {
            "lower": bits(lower),
            "upper": bits(upper),
            "nan": nan,
        }
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({**document, "format": FORMAT, "entries": [entry]}), "utf-8")
    result = checked(command, [path])
    assert counts(result.stdout)[grade] == 1, result.stdout + result.stderr
    assert result.returncode == (grade == "diverge")


@pytest.mark.parametrize(
    ("change", "grade"),
    [
        (lambda record: record.clear(), "exact"),
        (lambda record: record.pop("velocities"), "exact"),
        (lambda record: record.update(calls=99), "diverge"),
        (lambda record: record["velocities"].pop(), "diverge"),
    ],
    ids=["record-left-out", "state-left-out", "other-count", "velocity-missing"],
)
def test_what_a_record_leaves_out_is_not_compared(
    command: list[str],
    golden: Path,
    checked: Check,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], Any],
    grade: str,
) -> None:
    document = json.loads((golden / "first.json").read_text("utf-8"))
    entry = next(entry for entry in document["entries"] if entry["case"]["id"] == "first/momentum")
    change(entry["expected"][1])
    if not entry["expected"][1]:
        entry["bounds"][1].clear()
    path = tmp_path / "changed.json"
    path.write_text(json.dumps({**document, "format": FORMAT, "entries": [entry]}), "utf-8")
    result = checked(command, [path])
    assert counts(result.stdout)[grade] == 1, result.stdout + result.stderr


def test_what_is_no_golden_file_is_no_success(command: list[str], checked: Check, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"format": 3, "kind": "trajectory", "entries": []}', "utf-8")
    assert checked(command, [path]).returncode not in (0,)
    path.write_text("{", "utf-8")
    assert checked(command, [path]).returncode not in (0,)
