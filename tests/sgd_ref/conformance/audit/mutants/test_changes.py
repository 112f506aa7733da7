"""The mutants of a module: one token each, none that nothing evaluates."""

from __future__ import annotations

import pytest

from sgd_ref.conformance.audit.mutants.changes import mutants_of

pytest.importorskip("cosmic_ray", reason="the changes are those of cosmic-ray, an extra")

SOURCE = '''
"""A module with 1 number in its text."""


def half(x: "int | float", by: int = 2) -> "int | None":
    """Return x / 2."""
    if x < 0:
        raise ValueError(f"x must be at least {0}, got {x + 1}")
    return x / by
'''


def test_they_are_changes_of_what_is_evaluated() -> None:
    found = list(mutants_of("module", SOURCE))
    after = {mutant.after for mutant in found}
    assert "return x * by" in after
    assert any("x <= 0" in line for line in after)
    assert any("by: int = 3" in line.replace("= ", "= ").replace("  ", " ") for line in after)
    assert not any("int & float" in line or "Return x" in line or "x - 1" in line for line in after)


def test_each_says_where_it_is() -> None:
    for mutant in mutants_of("module", SOURCE):
        assert mutant.place == "half"
        assert mutant.before in SOURCE
        assert SOURCE.splitlines()[mutant.line - 1].strip() in mutant.before
        compile(mutant.source, "mutant", "exec")


def test_no_two_are_equal() -> None:
    sources = [mutant.source for mutant in mutants_of("module", SOURCE)]
    assert len(set(sources)) == len(sources) > 20
