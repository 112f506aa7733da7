"""The files in golden/starters do all but the optimizer, and a mistake in the optimizer is seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sgd_ref import conformance
from sgd_ref.command import main as cli
from sgd_ref.command.options import AS_EXPECTED, DIVERGES
from sgd_ref.conformance.catalogue.suiting import lacking
from sgd_ref.conformance.targets.program import Program

CASES = {case.id: case for case in conformance.cases()}

OFFERS = (
    *("float32", "float64", "float16", "bfloat16", "mixed"),
    *("momentum", "piecewise", "callable", "missing", "sparse"),
)

SHARE = 40
"""Cases that are claimed, and as many that are not, unless all are run."""

WITH_ALL_THAT_IS_CLAIMED = (
    "axes/mixed/momentum",
    "axes/momentum/piecewise",
    "axes/momentum/missing",
    "axes/momentum/sparse",
    "axes/momentum/special",
    "axes/momentum/subnormal",
    "axes/momentum/callable",
    "exact/sparse/float16",
    "named/boundary-at-2147483648",
    "named/alone/count-passes-31-bits/bfloat16",
    "named/alone/rate-called/float64",
    "named/alone/momentum-decimal/float16",
    "named/alone/momentum-decimal/bfloat16",
    "named/alone/momentum-decimal/float64",
    "named/alone/momentum-decimal/float32",
    "structure/resumed/momentum/float32",
)


def share(claimed: list[str], others: list[str], sweep: Any) -> list[str]:
    """Return the ids of cases to run: all in a complete sweep."""
    if sweep.complete:
        return claimed + others
    drawn = [sweep.generator.choice(ids, SHARE, replace=False).tolist() for ids in (claimed, others)]
    return list(dict.fromkeys([*WITH_ALL_THAT_IS_CLAIMED, *drawn[0], *drawn[1]]))


def test_it_is_exact_in_what_it_claims_and_declines_the_rest(command: list[str], sweep: Any) -> None:
    with Program(command) as run:
        assert run.profile.offers == OFFERS
        offered = run.profile.offered()
        claimed = [i for i, case in CASES.items() if not lacking(case, offered) and case.made is None]
        others = [i for i in CASES if i not in claimed]
        report = conformance.check(run, [CASES[i] for i in share(claimed, others, sweep)])
    wrong = {
        i: (verdict.grade, verdict.message)
        for i, verdict in report.verdicts.items()
        if verdict.grade != ("exact" if i in claimed else "unsupported")
    }
    assert not wrong
    assert report.ok, report.unproven_claims()
    assert report.count("exact") > SHARE


@pytest.mark.share(3)
def test_a_mistake_is_rejected_and_named(
    starter: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(source: str) -> str:
        changed, times = re.subn(r"w\[i\] \+ v\[i\]", "w[i] - v[i]", source)
        assert times == 1
        return changed

    arguments = ["conform", "-k", "^axes/(momentum|float16/momentum|plain)$", "--"]
    assert cli.main([*arguments, *starter.built(tmp_path, change)]) == DIVERGES
    out = capsys.readouterr().out
    assert "1 exact, 0 rounding, 2 diverges" in out
    assert "moves-against-velocity" in out


def test_the_one_command_of_the_page(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["conform", "-k", "^axes/(momentum|nesterov)$", "--", *command]) == AS_EXPECTED
    assert "1 exact, 0 rounding, 0 diverges, 1 unsupported" in capsys.readouterr().out


@pytest.mark.share(3)
def test_an_error_has_its_own_message_and_its_call(starter: Any, tmp_path: Path) -> None:
    statement = starter.refusal.format(r'"no \"such\" thing"')

    def change(source: str) -> str:
        assert source.count(starter.body) == 1
        return source.replace(starter.body, statement + starter.body)

    with Program(starter.built(tmp_path, change)) as run:
        found = conformance.check(run, [CASES["axes/momentum"], CASES["axes/plain"]]).verdicts
    assert [verdict.grade for verdict in found.values()] == ["error", "error"]
    assert re.fullmatch(r'call 0: \w+: no "such" thing', found["axes/plain"].message), found["axes/plain"]
