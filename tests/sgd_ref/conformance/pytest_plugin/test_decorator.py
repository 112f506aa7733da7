"""What is decorated knows its cases, and wrong arguments are refused."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Profile
from sgd_ref.conformance.pytest_plugin.decorator import Asked

FIRST = conformance.cases("first")


def test_the_cases_are_asked_as_they_are_by_check() -> None:
    profile = Profile(offers=("float32", "momentum", "filled"))
    found = Asked("smoke", None, profile).cases()
    report = conformance.check(lambda case: [], conformance.cases("smoke"), profile=profile)
    assert [case.id for case in found] == list(report.verdicts)
    assert "axes/momentum/filled" in report.verdicts


def test_given_cases_take_the_place_of_a_tier() -> None:
    assert Asked("smoke", tuple(FIRST[:2])).cases() == list(FIRST[:2])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tier": "full"}, ValueError, r"tier must be one of first, smoke, standard, got 'full'"),
        ({"profile": {}}, TypeError, r"profile must be a conformance.Profile, got"),
        ({"ledger": 3}, TypeError, r"ledger must be the path of a file, got"),
        ({"cases": []}, ValueError, r"cases must hold at least one case, got none"),
        ({"cases": ["first/plain"]}, TypeError, r"cases must be conformance.Case in it, got"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        conformance.parametrize_with_cases(**arguments)


def test_two_cases_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match="cases must have distinct ids, got 'first/plain' twice"):
        Asked("smoke", (FIRST[0], FIRST[0])).cases()


def test_a_function_is_decorated_once() -> None:
    decorate = conformance.parametrize_with_cases("first")
    with pytest.raises(TypeError, match="what is decorated must be a test function, decorated once, got"):
        decorate(decorate(lambda case: []))
