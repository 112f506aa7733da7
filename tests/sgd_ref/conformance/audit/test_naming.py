"""The table of how often mistakes are named."""

from __future__ import annotations

from itertools import islice

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.audit.naming import DTYPES, Draw, answer, draws, dtype_of, main
from sgd_ref.conformance.diagnosis import matching
from sgd_ref.conformance.diagnosis.exposing import cases_that_expose

BY_ID = {case.id: case for case in cases()}
PLAIN = BY_ID["axes/momentum"]


def test_the_same_seed_draws_the_same() -> None:
    one, same, other = (list(map(str, islice(draws(seed, 2), 20))) for seed in (1, 1, 2))
    assert one == same != other


def test_what_is_drawn_shows_and_is_of_every_dtype() -> None:
    drawn = list(islice(draws(3, 1), 40))
    assert {dtype_of(draw.case) for draw in drawn} == set(DTYPES)
    assert all(draw.case.id in cases_that_expose(name) for draw in drawn for name in draw.names)
    assert {bool(draw.variant) for draw in drawn} == {True, False}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("ascends",), "named"),
        (("rate-outside-velocity", "clip-adds-epsilon"), None),
        (("clip-adds-epsilon",), None),
    ],
)
def test_answers(names: tuple[str, ...], wanted: str | None) -> None:
    assert answer(Draw(names, "", PLAIN)) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (matching.Diagnosis(), "no name"),
        (matching.Diagnosis((("dampened",),), up_to=2), "up to a call"),
        (matching.Diagnosis((("dampened",),), is_exact=False), "other names"),
        (matching.Diagnosis((("dampened",),)), "others to the bit"),
        (matching.Diagnosis((("ascends",), ("dampened",))), "named"),
    ],
)
def test_what_a_diagnosis_counts_as(
    given: matching.Diagnosis, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgd_ref.conformance.audit.naming.diagnose", lambda *_: given)
    assert answer(Draw(("ascends",), "", PLAIN)) == wanted


def test_fewer_names(monkeypatch: pytest.MonkeyPatch) -> None:
    given = matching.Diagnosis((("ascends",),), is_exact=False)
    monkeypatch.setattr("sgd_ref.conformance.audit.naming.diagnose", lambda *_: given)
    assert answer(Draw(("ascends", "momentum-scales-gradient"), "", PLAIN)) == "fewer names"


def test_the_program_prints_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = list(islice(draws(0, 1), 3))
    monkeypatch.setattr("sgd_ref.conformance.audit.naming.draws", lambda *_: iter(few))
    monkeypatch.setattr("sgd_ref.conformance.audit.naming.answer", lambda _: "no name")
    assert main(["--seconds", "1e9"]) == 0
    printed = capsys.readouterr().out
    assert all(f"no name: {draw}" in printed for draw in few)
    assert "| dtype | beside a rounding | drawn | named |" in printed


def test_a_number_of_divergences_of_one_dtype(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([None, "no name", "named", "other names", "no name"])
    monkeypatch.setattr("sgd_ref.conformance.audit.naming.answer", lambda _: next(answers))
    assert main(["--seconds", "1e9", "--draws", "3", "--dtype", "bfloat16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| bfloat16")]
    assert sum(int(row[2]) for row in rows) == 3
    assert not any(line.startswith(("| float", "| mixed")) for line in lines)
