"""Every contradiction of a target has a report, with a bug of its own or without."""

from __future__ import annotations

import pytest

from sgd_ref.conformance.targets.bugs.bug import bugs_of
from sgd_ref.conformance.targets.bugs.reporting import contradictions, releases_of, report
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.registry import names


@pytest.mark.parametrize("target", names())
def test_every_contradiction_has_a_report(target: str) -> None:
    known = contradictions(target)
    assert set(known) == {*kept(target), *bugs_of(target)}
    for contradiction in known:
        text = report(target, contradiction)
        assert text.startswith("# ")
        assert text.count("```python\n") == 1
        assert "## Versions\n" in text


def test_a_contradiction_without_a_bug_has_the_script_of_its_finding() -> None:
    text = report("keras jax eager", "subnormals-flushed")
    assert text.startswith("# keras jax eager: subnormals-flushed\n")
    assert "def compare(trajectory):" in text
    assert "Not searched." in text


def test_targets_whose_releases_cannot_be_asked() -> None:
    assert releases_of("libtorch") is None
