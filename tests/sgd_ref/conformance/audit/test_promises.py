"""Each case is for some known deviation, and exposes it."""

from __future__ import annotations

from dataclasses import replace

from sgd_ref.conformance import cases
from sgd_ref.conformance.audit.promises import broken_promises, cover
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.named.building import floats, named_case
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.golden.content.kill_matrix import exposed_by_case


def test_every_case_keeps_its_promise() -> None:
    assert list(broken_promises(cases(), exposed_by_case())) == []
    assert {name for case in cases() for name in case.exposes} <= set(DEVIATIONS)
    assert list(exposed_by_case()) == [case.id for case in cases()]


def test_every_deviation_is_what_some_case_is_for() -> None:
    rejected = {name for names in exposed_by_case().values() for name in names}
    promised = {name for case in cases() for name in case.exposes}
    # What only some cases of one function expose, the function does not promise.
    assert len(rejected - promised) <= 8, rejected - promised


def test_a_promise_that_is_not_kept_is_said() -> None:
    case, exposed = cases()[0], exposed_by_case()
    other = next(name for name in DEVIATIONS if name not in exposed[case.id])
    wrong = replace(case, exposes=(*case.exposes, other))
    assert list(broken_promises([wrong], exposed)) == [
        f"{case.id}: it promises to expose {other}, and does not"
    ]
    (line,) = broken_promises([replace(case, exposes=())], exposed)
    assert line.startswith(f"{case.id}: it is for no known deviation; it exposes ")
    unknown = named_case("unseen", "A case.", floats(1.0), lambda call: floats(0.5), exposes=("ascends",))
    assert list(broken_promises([unknown], exposed)) == ["named/unseen: the audit has not seen it"]


def test_the_smoke_tier_covers_all_that_is_exposed() -> None:
    exposed = exposed_by_case()
    # Big cases are for the mistakes that nothing smaller shows.
    uncontested = [case for case in cases() if not contested(case) and case.made is None]
    everything = {name for case in uncontested for name in exposed[case.id]}
    assert {name for case in cases("smoke") if not contested(case) for name in exposed[case.id]} == everything
    chosen = cover(uncontested, exposed)
    assert {name for case in chosen for name in exposed[case.id]} == everything
    assert len(chosen) < len(uncontested) / 5
    # Beside what is needed, it has plain cases that the simplest optimizer can answer.
    assert len(cases("smoke")) <= len(chosen) + 17
